import { Bar, batchPill, isLate, modelOf, named, pace, progress, timeLeft, warn } from "./batch_parts.js";
import { fill, h, say } from "./dom.js";
import { age, middleCut, moment } from "./format.js";

const COLUMNS = { state: "State", batch: "Batch", lines: "Progress", speed: "Speed", "time-left": "Time left", owner: "Owner", age: "Age" };

/** The head of a table of batches. */
export function head() {
  return h("div.tr.th", { role: "row" }, Object.entries(COLUMNS).map(([name, words]) => h(`span.${name}`, { role: "columnheader" }, words)));
}

/** One batch as a row that leads to it. */
export class Row {
  constructor(batch) {
    this.bar = new Bar();
    this.model = h("span.muted.model");
    this.words = h("span.muted.words");
    const cell = (name, ...inside) => (this[name] = h(`span.${name}`, { role: "cell" }, inside));
    this.name = h("a", { href: `#/batches/${batch.batch_id}`, title: `${named(batch)}\n${batch.batch_id}`, "aria-label": named(batch) }, h("b.middle-cut", {}, middleCut(named(batch))));
    this.element = h("div.tr", { role: "row", "data-id": batch.batch_id }, cell("state"), cell("batch", this.name, this.model), cell("lines", this.bar.element, this.words), cell("speed"), cell("time-left"), cell("owner", batch.owner ?? "–"), cell("age"));
    this.age.title = moment(batch.created_at);
  }

  show(batch) {
    if (this.shown !== batch.state) fill(this.state, batchPill((this.shown = batch.state)));
    say(this.model, [modelOf(batch), batch.endpoint].filter(Boolean).join(" · "));
    this.bar.show(batch);
    say(this.words, progress(batch));
    say(this.speed, pace(batch));
    const late = isLate(batch);
    warn(this["time-left"], timeLeft(batch), late);
    this["time-left"].title = late ? `its window ends ${moment(batch.ends_by)}` : "";
    say(this.age, age(batch.created_at));
  }
}
