import { ask, lines, Fault } from "./api.js";

const SILENCE = 45_000; // ms without a word, pings included, after which the connection is taken for dead
const PAUSES = [300, 1000, 2000, 5000]; // ms before connecting again

/**
 * Every change of state, once and in order, however often the connection breaks: it goes on after the last seq seen.
 * `onchanges` gets those of one frame together, `onlink` "live" or "reconnecting", `onreset` is called where the
 * history has a hole (at the start, after pruning, on another database) and all must be read anew. A page that nobody
 * sees lets go of its connection, of which a browser has six for one server, and catches up when it is seen again.
 */
export class Feed {
  constructor({ onchanges, onlink, onreset }) {
    Object.assign(this, { onchanges, onlink, onreset });
    this.seq = null;
    this.waiting = [];
    this.scheduled = false;
  }

  async run() {
    for (let failures = 0; ; failures++) {
      await seen();
      try {
        await this.follow(() => (failures = 0));
      } catch (error) {
        if (error instanceof Fault && error.status >= 400 && error.status < 500) this.seq = null;
      }
      if (document.hidden) continue;
      this.onlink("reconnecting");
      await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(failures, PAUSES.length - 1)]));
    }
  }

  async follow(arrived) {
    const control = new AbortController();
    let alarm = setTimeout(() => control.abort(), SILENCE);
    document.addEventListener("visibilitychange", () => document.hidden && control.abort(), { signal: control.signal });
    try {
      const from = this.seq === null ? "" : `?after=${this.seq}`;
      const response = await ask(`/events${from}`, { headers: { Accept: "text/event-stream" }, signal: control.signal });
      for await (const line of lines(response)) {
        clearTimeout(alarm);
        alarm = setTimeout(() => control.abort(), SILENCE);
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
      this.onlink("live");
      if (this.seq === null) {
        this.seq = event.seq;
        this.onreset();
      }
      return;
    }
    this.seq = event.seq;
    this.waiting.push(event);
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.flush());
  }

  flush() {
    this.scheduled = false;
    const changes = this.waiting;
    this.waiting = [];
    this.onchanges(changes);
    document.documentElement.dataset.seq = this.seq;
  }
}

async function seen() {
  while (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}
