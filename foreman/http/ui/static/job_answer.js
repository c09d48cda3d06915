import { answered, textOf } from "./conversation.js";
import { copy } from "./copy.js";
import { fill, h } from "./dom.js";
import { Parts, folded } from "./parts.js";
import { Pictures } from "./pictures.js";
import { plainSwitch } from "./written.js";

const NONE = { failed: "No answer: the job failed.", cancelled: "No answer: the job was cancelled.", expired: "No answer: the job expired before it started." };

/** What was answered: text, thinking, calls of tools or embeddings, of each choice. */
export class Answered {
  constructor() {
    this.element = h("section.card", { "aria-label": "Answered" });
    this.parts = new Parts(new Pictures());
  }

  /** Show the text of a job that has not ended. */
  follow(live) {
    this.live = live;
    this.nothing = h("p.muted", { hidden: true }, "No answer yet: the job waits.");
    fill(this.element, h("h2", {}, "Answer"), this.nothing, live.element);
  }

  /** Tell whether that job waits, and writes nothing. */
  wait(waits) {
    this.nothing.hidden = !waits;
    this.live.element.hidden = waits;
  }

  show(job) {
    this.stop();
    this.parts = new Parts(new Pictures());
    if (!job.result) return fill(this.element, h("h2", {}, "Answer"), h("p.muted", {}, NONE[job.state] ?? "No answer"));
    const choices = answered(job.result);
    const text = choices.map(textOf).join("\n\n");
    const shown = choices.map((parts, place) => h("div.message", {}, choices.length > 1 && h("span.label", {}, `choice ${place + 1}`), this.parts.show(parts, { model: true })));
    return fill(
      this.element,
      h("div.row", {}, h("h2", {}, "Answer"), this.parts.marked && plainSwitch(), text && h("button.small", { onclick: () => copy(text, "The answer") }, "Copy answer")),
      shown,
      folded("The whole result", job.result),
    );
  }

  stop() {
    this.parts.stop();
  }
}
