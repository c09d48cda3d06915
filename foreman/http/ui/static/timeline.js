import { now } from "./clock.js";
import { fill, h } from "./dom.js";
import { ENDED, moment, pill, seconds } from "./format.js";

/** The time in each state, drawn to scale; the last state lasts until now, or has no length. */
export function timeline(element, events) {
  const parts = events.map((event, place) => {
    const from = Date.parse(event.timestamp);
    const next = events[place + 1];
    const until = next ? Date.parse(next.timestamp) : ENDED.has(event.state) ? from : now();
    return { event, lasted: Math.max(0, until - from) / 1000, last: !next };
  });
  const several = new Set(events.map((event) => event.target).filter(Boolean)).size > 1;
  const where = (event) => (several && event.target ? ` on ${event.target}` : "");
  const all = parts.reduce((sum, part) => sum + part.lasted, 0) || 1;
  const segments = parts.filter((part) => part.lasted > 0);
  fill(
    element,
    h("h2", {}, "Timeline"),
    h(
      "div.scale",
      { role: "img", "aria-label": segments.map((part) => `${part.event.state} ${seconds(part.lasted)}`).join(", ") },
      segments.map((part) => {
        const bar = h(`span.${part.event.state}`, { title: `${part.event.state}: ${seconds(part.lasted)}` }, h("b", {}, `${part.event.state} ${seconds(part.lasted)}`));
        bar.style.flexGrow = part.lasted / all;
        return bar;
      }),
    ),
    h(
      "ol.steps",
      {},
      parts.map(({ event, lasted, last }) =>
        h("li", {}, pill(event.state, { goes: last && !ENDED.has(event.state) && event.state !== "queued" }), h("span.muted", {}, moment(event.timestamp)), event.attempt > 0 && h("span.muted", {}, `attempt ${event.attempt}${where(event)}`), lasted > 0 && h("span", {}, seconds(lasted)), event.error && h(event.error.startsWith("gave way") ? "span.muted" : "span.bad", {}, event.error)),
      ),
    ),
  );
}
