import { ask, get } from "./api.js";
import { fill, h, keyed, say, toast } from "./dom.js";
import { age, count, plural, seconds, speed } from "./format.js";

const SQUARES = 32; // slots drawn one by one; more are a bar
const LINES = 60; // of a log

/** How a target is, in a word and its colour. */
function state(target) {
  if (!target.up) return ["away", "failed"];
  if (target.draining) return target.running ? ["draining", "loading"] : ["drained", "loading"];
  return target.running ? ["at work", "working"] : ["up", "done"];
}

/** A target with its slots as they fill; `full` adds what is known besides, and the buttons. */
export class TargetCard {
  constructor(target, { full = false, changed = () => {} } = {}) {
    this.name = target.name;
    this.changed = changed;
    this.dot = h("i.dot");
    this.state = h("span.pill", {}, this.dot, (this.word = h("span")));
    this.speed = h("span.muted.speed");
    this.slots = h("div.slots", { role: "img" });
    this.loaded = h("ul.tags", { "aria-label": "Loaded models" });
    this.errorLine = h("p.bad.long", { hidden: true });
    this.element = h("article.card.target", { "aria-label": `Target ${target.name}` }, h("div.row", {}, h("b.grow.long", {}, target.name), this.state), h("div.row", {}, this.slots, this.speed), this.loaded, this.errorLine);
    if (full) this.complete(target);
  }

  complete(target) {
    this.facts = h("p.muted.long");
    this.drain = h("button.small", { onclick: () => this.order(this.target.draining ? "resume" : "drain") });
    this.buttons = h("div.row.orders", {}, this.drain);
    if (target.kind !== "openai") {
      this.model = h("select", { "aria-label": `Model for ${target.name}` });
      this.load = h("button.small", { onclick: () => this.order("load", this.model.value) }, "Load");
      this.pick = h("span.row.grow.pick", {}, this.model, this.load);
      this.buttons.append(this.pick);
    }
    this.element.append(this.facts, this.buttons);
    if (target.kind !== "managed") return;
    this.text = h("pre", { tabIndex: 0 });
    this.log = h("details", { ontoggle: () => this.readLog({ asks: true }) }, h("summary", {}, "Log"), this.text);
    this.element.append(this.log);
  }

  show(target) {
    this.target = target;
    const [word, colour] = state(target);
    say(this.word, word);
    this.state.className = `pill ${colour}${word === "at work" || word === "draining" ? " goes" : ""}`;
    say(this.speed, this.doing ? this.doing : target.tokens_per_second === null ? "" : speed(target.tokens_per_second));
    this.fill(target);
    const names = [...new Map(target.loaded.map((one) => [one.model, one])).values()];
    keyed(this.loaded, names, { key: (one) => one.model, make: (one) => this.tag(one), update: (tag, one) => (tag.element.title = `loaded for ${age(one.since)}`) });
    this.loaded.classList.toggle("empty", !names.length);
    this.errorLine.hidden = target.up;
    const since = typeof target.away_seconds === "number" ? `Away for ${seconds(target.away_seconds)}: ` : "";
    say(this.errorLine, `${since}${target.error ?? "it cannot be reached"}`);
    if (this.facts) this.showFacts(target);
  }

  fill({ running, slots, slots_auto }) {
    this.slots.setAttribute("aria-label", `${running} of ${slots} slots in use`);
    this.slots.title = `${count(running)} of ${count(slots)} slots in use${slots_auto ? "; Foreman finds their number" : ""}`;
    const squares = Math.min(slots, SQUARES);
    if (this.slots.children.length !== squares) fill(this.slots, Array.from({ length: squares }, () => h("i")));
    const full = slots > SQUARES ? Math.ceil((running * SQUARES) / slots) : running;
    [...this.slots.children].forEach((square, place) => square.classList.toggle("full", place < full));
  }

  tag({ model }) {
    const name = h("span.long", {}, model);
    const unload = this.load && h("button", { "aria-label": `Unload ${model} from ${this.name}`, title: "Unload", onclick: () => this.order("unload", model) }, "×");
    return { element: h("li.tag", {}, name, unload) };
  }

  showFacts(target) {
    const kind = { ollama: "Ollama", openai: "OpenAI-compatible", managed: "managed models" }[target.kind] ?? target.kind;
    say(this.facts, [kind, target.url, `${plural(target.jobs_done, "job")} done`].filter(Boolean).join(" · "));
    say(this.drain, target.draining ? "Resume" : "Drain");
    this.drain.classList.toggle("primary", target.draining);
    if (this.model) this.pick.hidden = !target.up || !target.models.length;
    if (!this.model || String(this.listed) === String(target.models)) return;
    this.listed = target.models;
    const chosen = this.model.value;
    fill(this.model, target.models.map((name) => h("option", { value: name, selected: name === chosen }, name)));
  }

  /** Send an order; until it has been obeyed, which may take as long as a load, its buttons rest. */
  async order(verb, model) {
    const buttons = [...this.element.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    this.doing = model ? `${verb}ing ${model} …` : "";
    say(this.speed, this.doing);
    try {
      await ask(`/targets/${encodeURIComponent(this.name)}/${verb}`, { method: "POST", ...(model ? { json: { model } } : {}) });
    } catch (error) {
      toast(error.message, "bad");
    }
    this.doing = "";
    for (const button of buttons) button.disabled = false;
    this.changed();
  }

  /** Read the log anew while it is open. */
  async readLog({ asks = false } = {}) {
    if (!this.log?.open) return;
    try {
      const { logs } = await get(`/targets/${encodeURIComponent(this.name)}/log?lines=${LINES}`, { asks });
      const parts = logs.map((one) => (logs.length > 1 ? `== ${one.model}\n` : "") + one.lines.join("\n"));
      const below = this.text.scrollTop + this.text.clientHeight >= this.text.scrollHeight - 4;
      say(this.text, parts.join("\n\n") || "Nothing yet.");
      if (below) this.text.scrollTop = this.text.scrollHeight;
    } catch (error) {
      say(this.text, error.message);
    }
  }
}
