import { delta, whole } from "./answer.js";
import { ask, lines, AnswerError } from "./api.js";
import { h, pause } from "./dom.js";

const AGAIN = 1000; // ms before following again what broke off

/** An element in which a job's text appears as it comes. `stop()` ends it. */
export class LiveText {
  constructor(id, { tail = false } = {}) {
    this.id = id;
    this.thinking = h("p.thinking", { hidden: true });
    this.text = h("p.text", {});
    this.element = h(`div.answer${tail ? ".tail" : ""}`, { "aria-busy": "true" }, this.thinking, this.text);
    this.control = new AbortController();
    this.run();
  }

  stop() {
    this.control.abort();
  }

  async run() {
    while (!this.control.signal.aborted) {
      try {
        await this.follow();
        this.element.removeAttribute("aria-busy");
        return;
      } catch (error) {
        if (error instanceof AnswerError && error.status >= 400) return; // there is no such job any more
        await pause(AGAIN);
      }
    }
  }

  async follow() {
    const response = await ask(`/jobs/${this.id}/stream`, { signal: this.control.signal });
    this.clear();
    let streamed = false;
    for await (const line of lines(response)) {
      const chunk = JSON.parse(line);
      if (chunk.foreman?.attempt) {
        this.clear();
        streamed = false;
        continue;
      }
      // The last chunk of a stream may be the whole answer, when the job had ended before this came.
      const { text, thinking } = streamed || chunk.done === false || chunk.object?.endsWith(".chunk") ? delta(chunk) : some(delta(chunk), whole(chunk));
      streamed = true;
      if (thinking) {
        this.thinking.hidden = false;
        this.thinking.append(thinking);
      }
      if (text) this.text.append(text);
    }
  }

  clear() {
    this.thinking.textContent = this.text.textContent = "";
    this.thinking.hidden = true;
  }
}

function some(first, second) {
  return first.text || first.thinking ? first : second;
}
