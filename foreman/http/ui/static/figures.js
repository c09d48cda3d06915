import { h, say } from "./dom.js";
import { count, plural, seconds } from "./format.js";

const NAMES = ["Target", "Model", "Running", "Waiting", "Longest wait"];

/** The state of the box in five figures. */
export class Figures {
  constructor() {
    this.cards = Object.fromEntries(NAMES.map((name) => [name, new Card(name)]));
    this.elements = NAMES.map((name) => this.cards[name].element);
  }

  /** `link` says how Foreman and its target are, `queue` is the last answer of /queue, `loaded` are the target's models. */
  show(link, queue, loaded) {
    const cards = this.cards;
    if (link.state === "dead") {
      for (const card of Object.values(cards)) card.show("–", "Foreman does not answer", "bad");
      return;
    }
    if (!queue || !link.target) return;
    const { state, target } = link;
    const fleet = queue.targets;
    const up = fleet.filter((one) => one.up).length;
    say(cards.Target.label, fleet.length > 1 ? "Targets" : "Target");
    if (fleet.length > 1) {
      const less = fleet.filter((one) => !one.up || one.draining);
      const words = less.map((one) => `${one.name} is ${one.up ? (one.running ? "draining" : "drained") : "away"}`).join(", ");
      cards.Target.show(`${up} of ${fleet.length} up`, words || "all reachable", up ? (less.length ? "warn" : "good") : "bad");
      loaded = [...new Set(fleet.filter((one) => one.up).flatMap((one) => one.loaded))];
    } else if (state === "away") cards.Target.show("away", target.target_error ?? "cannot be reached", "bad");
    else if (state === "silent") cards.Target.show("silent", "does not answer", "warn");
    else cards.Target.show("up", "reachable", "good");
    if ((state === "away" && fleet.length < 2) || !loaded) cards.Model.show("–", "not known");
    else if (loaded.length > 1) cards.Model.show(`${loaded.length} models`, `${loaded.join(", ")}`);
    else cards.Model.show(loaded[0] ?? "none", loaded.length ? "loaded" : "no model loaded");
    cards.Running.show(`${count(queue.running.length)} of ${count(queue.slots)}`, queue.slots === 1 ? "slot" : "slots");
    cards.Waiting.show(count(queue.queued), queue.paused ? "paused" : models(queue.by_model), queue.paused ? "warn" : "");
    cards["Longest wait"].show(seconds(queue.oldest_seconds), "oldest job ready to run");
  }
}

class Card {
  constructor(name) {
    this.label = h("span.label", {}, name);
    this.value = h("strong", {}, "…");
    this.note = h("span.muted", {});
    this.element = h("div.card", {}, this.label, this.value, this.note);
  }

  show(text, words, kind = "") {
    say(this.value, text);
    say(this.note, words);
    this.element.dataset.kind = kind;
  }
}

function models(byModel) {
  const names = Object.keys(byModel);
  if (!names.length) return "nothing waits";
  return names.length === 1 ? `for ${names[0]}` : `for ${plural(names.length, "model")}`;
}
