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
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The same for SVG; every prop is an attribute. */
export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Put these children in place of the ones there are. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set text only where it differs, so that nothing is laid out anew for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function toast(text, kind = "") {
  const note = h(`div.toast${kind ? `.${kind}` : ""}`, {}, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 6000);
}

/** Run `work` one at a time and at most once in `pause` ms, the last wish included. */
export function gently(work, pause) {
  let busy = false;
  let again = false;
  return async function wish() {
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      await work();
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    busy = false;
  };
}
