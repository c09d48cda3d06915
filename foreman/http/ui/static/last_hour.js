import { get } from "./api.js";
import { Chart } from "./charts.js";
import { h, say } from "./dom.js";
import { count, minute, plural, seconds } from "./format.js";

const MINUTE = 60_000; // ms
const ENDS = ["done", "failed", "cancelled", "expired"];
const COUNTS = [4, 10, 20, 40, 60, 100, 200, 400, 600, 1e3, 2e3, 4e3, 6e3, 1e4, 2e4, 4e4, 1e5, 2e5, 4e5, 1e6, 2e6, 4e6, 1e7, 1e8, 1e9];
const TIMES = [0.02, 0.1, 0.2, 0.4, 1, 2, 4, 10, 20, 60, 120, 240, 600, 1200, 3600, 7200, 14400, 43200, 86400, 864000];

/** The last hour as charts, from the figures that the server keeps of every minute. */
export class LastHour {
  constructor() {
    const compact = (value) => (value >= 10_000 ? value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 }) : count(value));
    const counts = { words: compact, tops: COUNTS };
    const ended = ENDS.map((name) => ({ name, shade: name, of: (row) => row[name], say: (value) => `${count(value)} ${name}` }));
    this.ended = new Chart("Jobs ended", "bars", { ...counts, series: ended });
    this.waiting = new Chart("Jobs waiting", "bars", { ...counts, series: [{ shade: "queued", of: (row) => row.waiting, say: (value) => `${count(value)} at once` }] });
    this.waits = new Chart("Wait before start", "lines", {
      words: seconds,
      tops: TIMES,
      series: [
        { name: "half within", shade: "half", of: (row) => row.wait_p50, say: (value) => `half within ${seconds(value)}` },
        { name: "95 % within", shade: "longest", of: (row) => row.wait_p95, say: (value) => `95 % within ${seconds(value)}` },
      ],
    });
    this.tokens = new Chart("Answer tokens", "bars", { ...counts, series: [{ shade: "working", of: (row) => row.answer_tokens, say: (value) => plural(value, "token") }] });
    this.charts = [this.ended, this.waiting, this.waits, this.tokens];
    this.note = h("p.muted.since", {});
  }

  /** Read the last hour and draw it. */
  async refresh() {
    const { rows, since } = await get("/usage?step=minute");
    const begun = Math.floor(Date.parse(since) / MINUTE) * MINUTE; // nothing was counted before
    this.draw(rows.map((row) => ({ at: Date.parse(row.from), figures: Date.parse(row.from) < begun ? null : row })));
  }

  /** `minutes` are those of charts.js. */
  draw(minutes) {
    const known = minutes.filter((one) => one.figures);
    const sum = (...names) => known.reduce((all, one) => all + names.reduce((total, name) => total + one.figures[name], 0), 0);
    this.ended.draw(minutes, known.length ? `${count(sum(...ENDS))} in all` : "–");
    const waiting = known.map((one) => one.figures.waiting).filter((value) => value !== null); // null: others' jobs are not told
    this.waiting.draw(minutes, waiting.length ? `${count(Math.max(...waiting))} at most` : "–");
    this.waits.draw(minutes, seconds(known.map((one) => one.figures.wait_p50).filter((value) => value !== null).at(-1) ?? null));
    this.tokens.draw(minutes, known.length ? `${count(sum("answer_tokens"))} in all` : "–");
    const whole = known.length === minutes.length;
    say(this.note, whole ? "The last hour, minute by minute." : known.length ? `Figures since ${minute(known[0].at)}; earlier ones are not known.` : "There are no figures yet.");
  }
}
