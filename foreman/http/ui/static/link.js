import { get } from "./api.js";
import * as clock from "./clock.js";
import { pause, seen } from "./dom.js";

export const EVERY = 1000; // ms between two questions
export const TIMEOUT = 3000; // ms without an answer after which Foreman is taken for dead
export const SILENT = 1.5; // seconds that the target may owe an answer before the page says so

/**
 * How Foreman, its target and the feed are doing, asked every second while the page is visible. Sends "change" when any
 * of it is different. `state` is "connecting", "live", "reconnecting" (no feed), "silent" or "away" (the target), or
 * "dead" (Foreman); `words` is a sentence about the last three.
 */
export class Link extends EventTarget {
  constructor() {
    super();
    this.alive = null; // null until the first answer, or the first one missed
    this.target = null; // the last answer of /healthz
    this.feed = null; // null until it was connected once
    this.heard = 0; // ms; when the feed last said something
    this.shown = "";
  }

  get state() {
    if (this.alive === false) return "dead";
    if (this.target?.degraded) return "away";
    if (this.target?.target_silent_seconds >= SILENT) return "silent";
    if (this.feed === null || this.alive === null) return "connecting";
    return this.feed ? "live" : "reconnecting";
  }

  get words() {
    const { state, target } = this;
    if (state === "dead") return target ? `Foreman does not answer. What you see is from ${new Date(clock.now()).toLocaleTimeString()}.` : "Foreman does not answer.";
    if (state === "away" && /^each call of /.test(target.target_error)) return `A target does not answer: ${target.target_error}. Their jobs wait until it does.`;
    if (state === "away") return `A target is away: ${target.target_error ?? "it cannot be reached"}. The jobs that only it can run wait until it is back.`;
    if (state === "silent") return "A target does not answer.";
    return "";
  }

  /** Tell whether the feed is connected. */
  fed(connected) {
    this.feed = connected || (this.feed === null ? null : false);
    this.tell();
  }

  async run() {
    for (;;) {
      await seen();
      await this.ask();
      await pause(EVERY);
    }
  }

  async ask() {
    try {
      this.target = await get("/healthz", { signal: AbortSignal.timeout(TIMEOUT) });
      this.alive = true;
    } catch (error) {
      const slow = error.name === "TimeoutError" && Date.now() - this.heard < TIMEOUT; // busy, but the feed goes on
      if (!slow) this.alive = false;
    }
    if (this.alive) clock.go();
    else clock.stop();
    this.tell();
  }

  tell() {
    const now = `${this.state} ${this.words}`;
    if (now === this.shown) return;
    this.shown = now;
    this.dispatchEvent(new Event("change"));
  }
}
