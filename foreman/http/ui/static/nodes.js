import { get } from "./api.js";
import { fill, gently, h, keyed, say } from "./dom.js";
import { heard, seconds } from "./format.js";

const COLOURS = { up: "done", draining: "loading", gone: "failed" };

/** The Foremen that share the queue; a Foreman with a queue of its own takes no place. */
export class Nodes {
  constructor() {
    this.list = h("div.targets.full");
    this.element = h("section", { "aria-label": "Nodes", hidden: true }, h("h2", {}, "Nodes", heard()), this.list);
    this.read = gently(async () => this.show((await get("/nodes")).nodes), 1000);
  }

  show(nodes) {
    this.element.hidden = nodes.length < 2;
    keyed(this.list, this.element.hidden ? [] : nodes, { key: (one) => one.name, make: (one) => new NodeCard(one), update: (card, one) => card.show(one) });
  }
}

class NodeCard {
  constructor({ name, url }) {
    this.state = h("span.pill", {}, h("i.dot"), (this.word = h("span")));
    this.facts = h("p.muted.long");
    this.loaded = h("ul.tags", { "aria-label": `Models loaded at ${name}` });
    const title = url ? h("a", { href: url }, name) : name;
    this.element = h("article.card.node", { "aria-label": `Node ${name}` }, h("div.row", {}, h("b.grow.long", {}, title), this.state), this.loaded, this.facts);
  }

  show({ state, asked, coordinates, silent_seconds: silent, targets, version }) {
    say(this.word, state);
    this.state.className = `pill ${COLOURS[state] ?? ""}`;
    const models = [...new Set(targets.flatMap((target) => target.loaded))];
    this.loaded.classList.toggle("empty", !models.length);
    fill(this.loaded, models.map((model) => h("li.tag", {}, h("span.long", {}, model))));
    const running = targets.reduce((sum, target) => sum + target.running, 0);
    const slots = targets.reduce((sum, target) => sum + target.slots, 0);
    const told = [
      state === "gone" ? "" : `${running} of ${slots} slots in use`,
      asked ? "this one" : `wrote ${seconds(Math.round(silent))} ago`,
      coordinates ? "sends the webhooks" : "",
      `version ${version}`,
    ];
    say(this.facts, told.filter(Boolean).join(" · "));
  }
}
