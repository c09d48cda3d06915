import { Chart } from "./charts.js";
import { count, plural, seconds } from "./format.js";
import { ENDS, whenOf } from "./usage_figures.js";

const NAMES = 6; // drawn in colours of their own; the rest is one part
const COUNTS = [4, 10, 20, 40, 60, 100, 200, 400, 600, ...[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9].flatMap((unit) => [unit, 2 * unit, 4 * unit, 6 * unit]), 1e10];
const TIMES = [0.02, 0.1, 0.2, 0.4, 1, 2, 4, 10, 20, 60, 120, 240, 600, 1200, 3600, 7200, 14400, 43200, 86400, 864000];
const SHARES = [2, 10, 20, 50, 100, 200, 1000];
const SPEEDS = [2, 4, 10, 20, 40, 100, 200, 400, 1000, 2000, 4000, 10_000, 100_000];

/** The charts of a period, split by the names of a dimension if one is given. */
export function charts(period, by) {
  return by ? new Split(period) : new Whole(period);
}

class Charts {
  constructor(period, brief) {
    this.when = whenOf(period);
    this.brief = brief;
    this.said = { slots: 1, now: 0 };
    const compact = (value) => (value >= 10_000 ? value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 }) : count(value));
    this.scales = {
      counts: { words: compact, tops: COUNTS },
      times: { words: seconds, tops: TIMES },
      shares: { words: (value) => `${count(Number(value.toFixed(1)))} %`, tops: SHARES },
      speeds: { words: (value) => count(Number(value.toFixed(1))), tops: SPEEDS },
    };
  }

  chart(title, kind, scale, series) {
    return new Chart(title, kind, { ...this.scales[scale], series, when: this.when, brief: this.brief });
  }

  get elements() {
    return this.every.map(([chart]) => chart.element);
  }

  /** `slots` are those of now: nobody knows how many there were. */
  draw({ steps, all, sums, slots, now }) {
    this.said = { slots: Math.max(1, slots), now };
    this.named(sums);
    for (const [chart, headline] of this.every) chart.draw(steps, steps.some((one) => one.figures) ? headline(all, steps) : "–");
  }

  named() {}

  /** Percent of the slots' time; a step that is under way has had less of it. */
  share(row, step) {
    const took = Math.min(step.length, Math.max(1000, this.said.now - step.at)) / 1000;
    return row ? (100 * row.busy_seconds) / (took * this.said.slots) : 0;
  }

  headlines(all, steps) {
    const known = steps.filter((one) => one.figures);
    const spans = known.reduce((sum, one) => sum + Math.min(one.length, Math.max(1000, this.said.now - one.at)), 0) / 1000;
    const ended = ENDS.reduce((sum, name) => sum + all[name], 0);
    return {
      ended: `${count(ended)} in all`,
      tokens: `${count(all.prompt_tokens + all.answer_tokens)} in all`,
      speed: all.busy_seconds >= 1 ? `${this.scales.speeds.words(all.answer_tokens / all.busy_seconds)} on average` : "–",
      busy: spans ? `${this.scales.shares.words((100 * all.busy_seconds) / (spans * this.said.slots))} on average` : "–",
      loads: `${count(all.loads)} in all`,
    };
  }
}

/** All names together. */
class Whole extends Charts {
  constructor(period) {
    super(period, false);
    const ended = ENDS.map((name) => ({ name, shade: name, of: (row) => row[name], say: (value) => `${count(value)} ${name}` }));
    const tokens = [
      { name: "read", shade: "name0", of: (row) => row.prompt_tokens - row.cached_tokens, say: (value) => `${count(value)} read` },
      { name: "from the cache", shade: "name1", of: (row) => row.cached_tokens, say: (value) => `${count(value)} from the cache` },
      { name: "written", shade: "name2", of: (row) => row.answer_tokens, say: (value) => `${count(value)} written` },
    ];
    const waits = [
      { name: "half within", shade: "half", of: (row) => row.wait_p50, say: (value) => `half within ${seconds(value)}` },
      { name: "95 % within", shade: "longest", of: (row) => row.wait_p95, say: (value) => `95 % within ${seconds(value)}` },
    ];
    const speed = [{ shade: "half", of: speedOf, say: (value) => `${this.scales.speeds.words(value)} tokens` }];
    const busy = [{ shade: "working", of: (row, step) => this.share(row, step), say: (value) => this.scales.shares.words(value) }];
    const loads = [{ shade: "loading", of: (row) => row.loads, say: (value) => plural(value, "load") }];
    this.every = [
      [this.chart("Jobs ended", "bars", "counts", ended), (all, steps) => this.headlines(all, steps).ended],
      [this.chart("Tokens", "bars", "counts", tokens), (all, steps) => this.headlines(all, steps).tokens],
      [this.chart("Tokens written a second", "lines", "speeds", speed), (all, steps) => this.headlines(all, steps).speed],
      [this.chart("Wait before start", "lines", "times", waits), (all, steps) => latest(steps)],
      [this.chart("Busy share of the slots", "bars", "shares", busy), (all, steps) => this.headlines(all, steps).busy],
      [this.chart("Models loaded", "bars", "counts", loads), (all, steps) => this.headlines(all, steps).loads],
    ];
  }
}

/** One part for each of the busiest names, and one for the rest. */
class Split extends Charts {
  constructor(period) {
    super(period, true); // a line for every name would be long
    this.names = [];
    const part = (of, words, rest) => [
      ...Array.from({ length: NAMES }, (_, place) => ({ shade: `name${place}`, of: (row, step) => (this.names[place] === undefined ? null : of(row.names[this.names[place]], step)), say: (value) => `${words(value)} ${this.names[place] || "(no name)"}` })),
      ...(rest ? [{ shade: "others", of: (row, step) => this.others(row).reduce((sum, one) => sum + of(one, step), 0), say: (value) => `${words(value)} others` }] : []),
    ];
    const sum = (...names) => (row) => (row ? names.reduce((total, name) => total + row[name], 0) : 0);
    this.every = [
      [this.chart("Jobs ended", "bars", "counts", part(sum(...ENDS), count, true)), (all, steps) => this.headlines(all, steps).ended],
      [this.chart("Tokens", "bars", "counts", part(sum("prompt_tokens", "answer_tokens"), count, true)), (all, steps) => this.headlines(all, steps).tokens],
      [this.chart("Tokens written a second", "lines", "speeds", part((row) => (row ? speedOf(row) : null), this.scales.speeds.words, false)), (all, steps) => this.headlines(all, steps).speed],
      [this.chart("Wait, 95 % within", "lines", "times", part((row) => row?.wait_p95 ?? null, seconds, false)), () => ""],
      [this.chart("Busy share of the slots", "bars", "shares", part((row, step) => this.share(row, step), this.scales.shares.words, true)), (all, steps) => this.headlines(all, steps).busy],
      [this.chart("Models loaded", "bars", "counts", part(sum("loads"), count, true)), (all, steps) => this.headlines(all, steps).loads],
    ];
  }

  named(sums) {
    this.names = sums.slice(0, NAMES).map((one) => one.by);
    const more = sums.length > NAMES;
    for (const [chart] of this.every) chart.name([...this.names.map((name) => name || "(no name)"), ...Array(NAMES - this.names.length).fill(null), ...(chart.kind === "bars" && more ? ["others"] : [])]);
  }

  others(row) {
    return Object.entries(row.names).flatMap(([name, one]) => (this.names.includes(name) ? [] : [one]));
  }
}

function speedOf(row) {
  return row.busy_seconds >= 0.5 && row.answer_tokens ? row.answer_tokens / row.busy_seconds : null;
}

function latest(steps) {
  const wait = steps.map((one) => one.figures?.wait_p50 ?? null).filter((value) => value !== null).at(-1);
  return wait === undefined ? "–" : `half within ${seconds(wait)}`;
}
