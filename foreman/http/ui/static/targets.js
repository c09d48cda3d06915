import { get } from "./api.js";
import { every, fill, gently, h, keyed } from "./dom.js";
import { heard } from "./format.js";
import { Nodes } from "./nodes.js";
import { TargetCard } from "./target_card.js";

/** All targets, with orders to each, and the Foremen that share the queue. */
export function targetsView(main, { control, feed, link }) {
  const list = h("div.targets.full", { hidden: true });
  const nodes = new Nodes();
  let cards = new Map();
  const { signal } = control;

  fill(main, h("h1", {}, "Targets", heard()), list, nodes.element);

  const read = gently(async () => {
    const found = await get("/targets");
    if (signal.aborted) return;
    cards = keyed(list, found.targets, { key: (one) => `${one.name} ${one.kind}`, make: (one) => new TargetCard(one, { full: true, changed: read }), update: (card, one) => card.show(one) });
    list.hidden = false;
  }, 500);

  every(1000, signal, () => {
    if (document.hidden || link.state === "dead") return;
    read();
    nodes.read();
    for (const card of cards.values()) card.readLog();
  });
  feed.addEventListener("changes", read, { signal });
  link.addEventListener("change", read, { signal });
  read();
  nodes.read();
}
