export { toast } from "./toast.js";

/** Elements from a short description: `h("p.muted", { title: "…" }, "text", child)`. Text is never read as markup. */
export function h(what, props = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && name !== "role") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...some(children));
  return element;
}

/** The same for SVG; every prop is an attribute. */
export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  element.append(...some(children));
  return element;
}

function some(children) {
  return children.flat().filter((child) => child !== null && child !== undefined && child !== false);
}

/** Put these children in place of the ones there are. */
export function fill(element, ...children) {
  element.replaceChildren(...some(children));
  return element;
}

/**
 * Show `items` as the children of `parent`, in their order, one element for each key. `make` returns an object with an
 * `element`, which lives as long as its key is there, `update` brings it up to date, and `drop` hears of its end: so
 * the focus stays where it is while the list changes around it.
 */
export function keyed(parent, items, { key, make, update = () => {}, drop = () => {} }) {
  const known = (parent.known ??= new Map());
  const wanted = new Set(items.map(key));
  for (const [id, one] of known) {
    if (wanted.has(id)) continue;
    drop(one);
    one.element.remove();
    known.delete(id);
  }
  items.forEach((item, place) => {
    const id = key(item);
    let one = known.get(id);
    if (!one) known.set(id, (one = make(item)));
    update(one, item);
    if (parent.children[place] !== one.element) parent.insertBefore(one.element, parent.children[place] ?? null);
  });
  return known;
}

/** Set text only where it differs, so that nothing is laid out anew for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}

/** Call `work` every `time` ms until the signal is aborted. */
export function every(time, signal, work) {
  const beat = setInterval(work, time);
  signal.addEventListener("abort", () => clearInterval(beat));
}

/** Return when somebody can see the page. */
export async function seen() {
  while (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Run `work` one at a time and at most once in `time` ms, the last wish included. A call that failed is let go. */
export function gently(work, time) {
  let busy = false;
  let again = false;
  return async function wish() {
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      try {
        await work();
      } catch (error) {
        const ofCall = error.status !== undefined || error.name === "AbortError" || error.name === "TimeoutError";
        if (!ofCall) reportError(error);
      }
      await pause(time);
    }
    busy = false;
  };
}

/**
 * A function that reads something once: `read` returns it, `show` gets it, `refuse` the error. Called again it reads anew
 * where nobody answered before.
 */
export function once(read, show, refuse) {
  let asked = false;
  return async function ask() {
    if (asked) return;
    asked = true;
    let found;
    try {
      found = await read();
    } catch (error) {
      asked = error.status !== 0;
      return refuse(error);
    }
    return show(found);
  };
}
