import { delta, whole } from "./answer.js";
import { AnswerError, ask, lines } from "./api.js";
import { pause } from "./dom.js";

const AGAIN = 1000; // ms before following again what broke off
const TOGETHER = 60; // ms of output that are shown at once

/**
 * The output of a job as it comes. `take({ text, thinking })` gets the pieces of a moment together, `clear()` is
 * called where it begins anew. A page that nobody sees lets go of its connection, of which a browser has six for one
 * server, and follows again from the start when it is seen.
 */
export class ChatStream {
  constructor(id, { take, clear }) {
    this.id = id;
    this.take = take;
    this.clear = clear;
    this.over = false;
    this.text = this.thinking = "";
    this.moment = null;
    this.run();
  }

  stop() {
    this.over = true;
    this.control?.abort();
    this.flush();
  }

  async run() {
    while (!this.over) {
      while (document.hidden && !this.over) await pause(AGAIN / 4);
      this.control = new AbortController();
      const hide = () => document.hidden && this.control.abort();
      document.addEventListener("visibilitychange", hide);
      try {
        await this.follow();
        this.over = true;
      } catch (error) {
        if (error instanceof AnswerError && error.status >= 400) this.over = true; // there is no such job any more
        else if (!document.hidden && !this.over) await pause(AGAIN);
      }
      document.removeEventListener("visibilitychange", hide);
    }
  }

  async follow() {
    const response = await ask(`/jobs/${this.id}/stream`, { signal: this.control.signal });
    this.begin();
    let streamed = false;
    for await (const line of lines(response)) {
      const chunk = JSON.parse(line);
      if (chunk.foreman?.attempt) {
        this.begin();
        streamed = false;
        continue;
      }
      const part = streamed || chunk.done === false ? delta(chunk) : { ...whole(chunk) }; // the whole, where it had ended before this came
      streamed = true;
      this.text += part.text;
      this.thinking += part.thinking;
      if (part.text || part.thinking) this.moment ??= setTimeout(() => this.flush(), TOGETHER);
    }
    this.flush();
  }

  begin() {
    this.text = this.thinking = "";
    this.clear();
  }

  flush() {
    clearTimeout(this.moment);
    this.moment = null;
    const { text, thinking } = this;
    this.text = this.thinking = "";
    if (text || thinking) this.take({ text, thinking });
  }
}
