import { ask, lines } from "./api.js";
import { delta, whole } from "./answer.js";
import { h } from "./dom.js";

/** An element in which a job's text appears as it comes. `stop()` ends it. */
export class LiveText {
  constructor(id, { tail = false } = {}) {
    this.id = id;
    this.tail = tail; // show the end, in a box of fixed height
    this.thinking = h("p.thinking", { hidden: true });
    this.text = h("p.text", {});
    this.element = h(`div.answer${tail ? ".tail" : ""}`, { "aria-busy": "true" }, this.thinking, this.text);
    this.control = new AbortController();
    this.run().catch(() => {});
  }

  stop() {
    this.control.abort();
  }

  async run() {
    const response = await ask(`/jobs/${this.id}/stream`, { signal: this.control.signal });
    let streamed = false;
    for await (const line of lines(response)) {
      const chunk = JSON.parse(line);
      if (chunk.foreman?.attempt) {
        this.thinking.textContent = this.text.textContent = "";
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
      if (this.tail && (text || thinking)) this.element.scrollTop = this.element.scrollHeight;
    }
    this.element.removeAttribute("aria-busy");
  }
}

function some(first, second) {
  return first.text || first.thinking ? first : second;
}
