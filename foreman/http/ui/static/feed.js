import { ask, lines, AnswerError } from "./api.js";
import { pause, seen } from "./dom.js";

const SILENCE = 45_000; // ms without a word, pings included, after which the connection is taken for dead
const MOST = 10_000; // events kept until they are drawn
const PAUSES = [300, 1000, 2000, 2000]; // ms before connecting again

/**
 * Every change of state, once and in order, however often the connection breaks: it goes on after the last seq seen.
 * Sends "changes" with those of one frame together, and "reset" where the history has a hole (at the start, after
 * pruning, on another database) and all must be read anew; tells `link` whether it is connected. A page that nobody
 * sees lets go of its connection, of which a browser has six for one server, and catches up when it is seen again; unless
 * it is `need`ed for what hears each "event" at once.
 */
export class Feed extends EventTarget {
  constructor(link) {
    super();
    this.link = link;
    this.seq = null;
    this.waiting = [];
    this.scheduled = false;
    this.needed = false;
  }

  /** Tell whether events shall be heard even while nobody sees the page. */
  need(needed) {
    if (needed === this.needed) return;
    this.needed = needed;
    this.dispatchEvent(new Event("need"));
  }

  get idle() {
    return document.hidden && !this.needed;
  }

  async run() {
    for (let failures = 0; ; failures++) {
      while (this.idle) await Promise.race([seen(), new Promise((resolve) => this.addEventListener("need", resolve, { once: true }))]);
      try {
        await this.follow(() => (failures = 0));
      } catch (error) {
        if (error instanceof AnswerError && error.status >= 400 && error.status < 500) this.seq = null;
      }
      if (this.idle) continue;
      this.link.fed(false);
      await pause(PAUSES[Math.min(failures, PAUSES.length - 1)]);
    }
  }

  async follow(arrived) {
    const control = new AbortController();
    let alarm = setTimeout(() => control.abort(), SILENCE);
    const heard = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => control.abort(), SILENCE);
      this.link.heard = Date.now();
    };
    const rest = () => this.idle && control.abort();
    document.addEventListener("visibilitychange", rest, { signal: control.signal });
    this.addEventListener("need", rest, { signal: control.signal });
    try {
      const from = this.seq === null ? "" : `?after=${this.seq}`;
      const response = await ask(`/events${from}`, { headers: { Accept: "text/event-stream" }, signal: control.signal });
      for await (const line of lines(response, heard)) {
        if (line.startsWith("data: ")) this.take(JSON.parse(line.slice(6)), arrived);
      }
    } finally {
      clearTimeout(alarm);
      control.abort();
    }
  }

  take(event, arrived) {
    if (event.type === "hello") {
      arrived();
      this.link.fed(true);
      if (this.seq === null) {
        this.seq = event.seq;
        this.dispatchEvent(new Event("reset"));
      }
      return;
    }
    this.seq = event.seq;
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
    if (this.waiting.length >= MOST) this.missed = true; // of a page that nobody has seen for long
    else this.waiting.push(event);
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.flush());
  }

  flush() {
    this.scheduled = false;
    const changes = this.waiting;
    this.waiting = [];
    this.dispatchEvent(new CustomEvent("changes", { detail: changes }));
    if (this.missed) this.dispatchEvent(new Event("reset"));
    this.missed = false;
    document.documentElement.dataset.seq = this.seq;
  }
}
