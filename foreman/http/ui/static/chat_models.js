import { fill, h } from "./dom.js";

const MOST = 4;

/** The models that answer side by side, as `chosen`: `{ column, model }`; a column keeps its number for good. */
export class ChatModels {
  constructor(model) {
    this.names = [];
    this.chosen = [{ column: 0, model }];
    this.highest = 0; // of all columns there were
    this.element = h("div.row.chat-models", { role: "group", "aria-label": "Models" });
    this.draw();
  }

  list(names) {
    this.names = names;
    if (!this.chosen[0].model && names.length) this.chosen[0].model = names[0];
    this.draw();
  }

  take(chosen, highest) {
    this.chosen = chosen;
    this.highest = highest;
    this.draw();
  }

  draw() {
    const { chosen, names } = this;
    fill(
      this.element,
      chosen.map((one, place) => {
        const known = !one.model || names.includes(one.model) ? names : [one.model, ...names];
        const select = h("select", { "aria-label": chosen.length > 1 ? `Model ${place + 1}` : "Model", onchange: () => (one.model = select.value) }, known.map((name) => h("option", { value: name, selected: name === one.model }, name)), !known.length && h("option", { value: "" }, "no model"));
        const away = chosen.length > 1 && h("button.small", { type: "button", "aria-label": `Take ${one.model} away`, onclick: () => this.change(chosen.filter((other) => other !== one)) }, "×");
        return h("span.row.one", {}, select, away);
      }),
      chosen.length < MOST && h("button.small.more", { type: "button", onclick: () => this.add() }, "Compare with another model"),
    );
  }

  add() {
    const model = this.names.find((name) => this.chosen.every((one) => one.model !== name)) ?? this.chosen[0].model;
    this.highest += 1;
    this.change([...this.chosen, { column: this.highest, model }]);
  }

  change(chosen) {
    this.chosen = chosen;
    this.draw();
    [...this.element.querySelectorAll("select")].at(-1).focus();
  }
}
