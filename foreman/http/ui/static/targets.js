import { get } from "./api.js";
import { fill, gently, h, keyed } from "./dom.js";
import { heard } from "./format.js";
import { Nodes } from "./nodes.js";
import { TargetCard } from "./target_card.js";

/** All targets, with orders to each, and the Foremen that share the queue. */
export function targets(main, { feed, link }) {
  const list = h("div.targets.full", { hidden: true });
  const nodes = new Nodes();
  let cards = new Map();
  let alive = true;

  fill(main, h("h1", {}, "Targets", heard()), list, nodes.element);

  const read = gently(async () => {
    const found = await get("/targets");
    if (!alive) return;
    cards = keyed(list, found.targets, { key: (one) => `${one.name} ${one.kind}`, make: (one) => new TargetCard(one, { full: true, changed: read }), update: (card, one) => card.show(one) });
    list.hidden = false;
  }, 500);

  const beat = setInterval(() => {
    if (document.hidden || link.state === "dead") return;
    read();
    nodes.read();
    for (const card of cards.values()) card.readLog();
  }, 1000);
  feed.addEventListener("changes", read);
  link.addEventListener("change", read);
  read();
  nodes.read();

  return () => {
    alive = false;
    clearInterval(beat);
    feed.removeEventListener("changes", read);
    link.removeEventListener("change", read);
  };
}
