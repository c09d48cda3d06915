import { get } from "./api.js";
import { h, say } from "./dom.js";

const LINES = [100, 300, 1000];

/** The log of a model's server, followed while it is open; it can be searched and held. */
export class EngineLog {
  constructor(model, target) {
    this.model = model;
    this.target = target;
    this.lines = [];
    this.held = false;
    this.find = h("input", { type: "search", placeholder: "only lines with …", "aria-label": `Find in the log of ${model}`, oninput: () => this.show() });
    this.most = h("select", { "aria-label": "Lines of the log", onchange: () => this.read(true) }, LINES.map((number) => h("option", { value: number }, `last ${number} lines`)));
    this.hold = h("button.small", { "aria-pressed": "false", onclick: () => this.toggle() }, "Hold");
    this.text = h("pre", { tabIndex: 0, "aria-label": `Log of ${model}` });
    this.element = h("details.log", { ontoggle: () => this.read(true) }, h("summary", {}, "Log of its server"), h("div.row.logging", {}, this.find, this.most, this.hold), this.text);
  }

  toggle() {
    this.held = !this.held;
    this.hold.setAttribute("aria-pressed", `${this.held}`);
    say(this.hold, this.held ? "Follow" : "Hold");
    if (!this.held) this.read(true);
  }

  /** Read it anew while it is open and not held, or `now` that somebody wants it. */
  async read(now = false) {
    if (!this.element.open || (this.held && !now) || this.reading) return;
    this.reading = true;
    try {
      const { logs } = await get(`/targets/${encodeURIComponent(this.target)}/log?lines=${this.most.value}`, { asks: now });
      this.lines = logs.find((one) => one.model === this.model)?.lines ?? [];
      this.show();
    } catch (error) {
      say(this.text, error.message);
    }
    this.reading = false;
  }

  show() {
    const word = this.find.value.toLowerCase();
    const lines = word ? this.lines.filter((line) => line.toLowerCase().includes(word)) : this.lines;
    const below = this.text.scrollTop + this.text.clientHeight >= this.text.scrollHeight - 4;
    say(this.text, lines.join("\n") || (word ? "No line has this." : "Nothing yet: its server has not been started."));
    if (below) this.text.scrollTop = this.text.scrollHeight;
  }
}
