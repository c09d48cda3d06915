import { now } from "./clock.js";
import { fill, h, say } from "./dom.js";
import { count, pill, plural, seconds, short } from "./format.js";

export const OPEN = ["validating", "in_progress", "finalizing", "cancelling"];
export const OVER = ["completed", "failed", "cancelled", "expired"];
export const PARTS = ["done", "failed", "cancelled", "expired"];
const COLOURS = { validating: "loading", in_progress: "working", finalizing: "loading", cancelling: "cancelled", completed: "done" };
const AT_ONCE = 50; // errors drawn in a frame
const CANCELLABLE = new Set(["validating", "in_progress"]);

export function isOpen(batch) {
  return OPEN.includes(batch.state);
}

export function isCancellable(batch) {
  return CANCELLABLE.has(batch.state);
}

/** A state in words: in progress. */
export function worded(state) {
  return state.replaceAll("_", " ");
}

export function batchPill(state) {
  const shown = pill(COLOURS[state] ?? state, { goes: OPEN.includes(state) });
  shown.lastChild.textContent = worded(state);
  return shown;
}

/** A batch's own name, or the end of its id. */
export function named(batch) {
  return batch.name ?? batch.metadata?.name ?? batch.metadata?.description ?? short(batch.batch_id);
}

/** The metadata of a batch but for what names it. */
export function furtherMetadata(batch) {
  return Object.entries(batch.metadata ?? {}).filter(([, value]) => value !== named(batch));
}

/** The model of all lines, or that there are several. */
export function modelOf(batch) {
  return batch.model ?? (batch.total ? "several models" : "");
}

export function ended(batch) {
  return PARTS.reduce((sum, part) => sum + batch[part], 0);
}

/** How far it is: 900 of 1,000 lines, 12 failed. */
export function progress(batch) {
  if (!batch.total) return batch.state === "validating" ? "its input is checked" : batch.errors.length ? `${plural(batch.errors.length, "error")} in its input` : "nothing was run";
  const worse = PARTS.slice(1).filter((part) => batch[part]);
  const ran = worse.map((part) => `${count(batch[part])} ${part}`);
  return [`${count(ended(batch))} of ${plural(batch.total, "line")}`, ...ran].join(", ");
}

/** Lines a minute, or a day where they are few. */
export function pace(batch) {
  const speed = batch.lines_per_minute;
  if (speed === null) return "–";
  if (speed >= 1) return `${speed < 10 ? Number(speed.toFixed(1)) : count(Math.round(speed))} lines/min`;
  if (speed * 60 >= 1) return `${Number((speed * 60).toFixed(1))} lines/h`;
  return `${Number((speed * 1440).toFixed(1))} lines/d`;
}

/** Whether its window ends before its lines do, by the estimate. */
export function isLate(batch) {
  return batch.eta_seconds !== null && batch.ends_by !== null && now() + 1000 * batch.eta_seconds > Date.parse(batch.ends_by);
}

/** How long it will take yet, or took. */
export function timeLeft(batch) {
  if (batch.ended_at) return `took ${seconds((Date.parse(batch.ended_at) - Date.parse(batch.created_at)) / 1000)}`;
  return batch.eta_seconds === null ? "–" : `about ${seconds(batch.eta_seconds)}`;
}

/** The progress of a batch as a bar of parts: those done, and those that ended in other ways. */
export class Bar {
  constructor() {
    this.parts = Object.fromEntries(PARTS.map((part) => [part, h(`span.${part}`)]));
    this.rest = h("span.rest");
    this.element = h("div.meter", { role: "progressbar", "aria-label": "Lines that have ended" }, Object.values(this.parts), this.rest);
  }

  show(batch) {
    const all = batch.total ?? 0;
    for (const part of PARTS) {
      this.parts[part].style.flexGrow = batch[part];
      this.parts[part].hidden = !batch[part];
    }
    this.rest.style.flexGrow = all ? Math.max(0, all - ended(batch)) : 1;
    this.rest.hidden = all > 0 && ended(batch) >= all;
    this.element.classList.toggle("going", batch.state === "validating");
    this.element.setAttribute("aria-valuetext", progress(batch));
    if (!batch.total) {
      this.element.removeAttribute("aria-valuenow");
      return;
    }
    this.element.setAttribute("aria-valuemin", 0);
    this.element.setAttribute("aria-valuemax", all);
    this.element.setAttribute("aria-valuenow", ended(batch));
  }
}

/** Set text that may be a warning. */
export function warn(element, text, isBad) {
  say(element, text);
  element.classList.toggle("warn", isBad);
}

/** What is wrong with a batch, line by line; so many a frame that the page stays quick. */
export function showErrors(element, errors) {
  fill(element);
  const some = (begin) => {
    element.append(...errors.slice(begin, begin + AT_ONCE).map(errorRow));
    if (begin + AT_ONCE < errors.length) requestAnimationFrame(() => some(begin + AT_ONCE));
  };
  some(0);
}

function errorRow({ line, message, code, param }) {
  return h("li", {}, h("b", {}, line === null ? "Whole input" : `Line ${count(line)}`), h("span.long", {}, message), h("span.mono.muted", {}, [code, param].filter(Boolean).join(" · ")));
}
