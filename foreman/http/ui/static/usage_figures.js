import { AnswerError, get } from "./api.js";
import { now } from "./clock.js";
import { minute } from "./format.js";

export const ENDS = ["done", "failed", "cancelled", "expired"];
export const DIMENSIONS = ["model", "caller", "target", "endpoint"];
const LENGTHS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }; // ms
const SUMS = [...ENDS, "submitted", "prompt_tokens", "cached_tokens", "answer_tokens", "busy_seconds", "loads"];
const WHEN = {
  minute,
  hour: (at) => new Date(at).toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit" }),
  day: (at) => new Date(at).toLocaleDateString([], { day: "numeric", month: "short", timeZone: "UTC" }), // days are those of UTC
};

/** Periods back from now, by their names in the page's address. */
export const PERIODS = {
  minutes: { words: "10 minutes", step: "minute", steps: 10 },
  hour: { words: "Hour", step: "minute", steps: 60 },
  day: { words: "Day", step: "hour", steps: 24 },
  week: { words: "Week", step: "hour", steps: 168 },
  month: { words: "30 days", step: "day", steps: 30 },
  quarter: { words: "90 days", step: "day", steps: 90 },
  year: { words: "400 days", step: "day", steps: 400 },
};

/** The time of a period's step in words. */
export function whenOf(period) {
  return WHEN[period.step];
}

/**
 * Read the figures of a period: `steps` are `{ at, length, figures }`, oldest first, with `figures.names` by the name
 * of `by`, and `figures` null for the time before counting began; `sums` are those of the names, the busiest first, and
 * `all` those of all. `only` are names by dimension whose figures count.
 */
export async function read(period, by, only) {
  const length = LENGTHS[period.step];
  const begin = Math.floor(now() / length - period.steps + 1) * length;
  const [all, named] = await Promise.all([rows(period.step, begin, null, only), rowsBy(period.step, begin, null, { ...only, by })]);
  const since = Math.floor(Date.parse(all.since) / length) * length;
  const steps = all.rows.map((row) => ({ at: Date.parse(row.from), length, figures: Date.parse(row.from) < since ? null : { ...row, names: {} } }));
  const places = new Map(steps.map((one) => [one.at, one]));
  const sums = new Map();
  for (const row of named) {
    const step = places.get(Date.parse(row.from));
    if (step?.figures) step.figures.names[row.by] = row;
    if (!sums.has(row.by)) sums.set(row.by, nothing(row.by));
    add(sums.get(row.by), row);
  }
  const total = nothing(null);
  for (const row of all.rows) add(total, row);
  const order = (one, other) => other.busy_seconds - one.busy_seconds || other.submitted - one.submitted || one.by.localeCompare(other.by);
  return { steps, all: total, sums: [...sums.values()].sort(order) };
}

function rows(step, begin, end, query) {
  const given = { step, from: new Date(begin).toISOString(), ...(end === null ? {} : { to: new Date(end).toISOString() }), ...query };
  return get(`/usage?${new URLSearchParams(given)}`);
}

/** The rows of all names; in two halves where they are too many for one answer. */
async function rowsBy(step, begin, end, query) {
  try {
    return (await rows(step, begin, end, query)).rows;
  } catch (error) {
    const until = end ?? Math.ceil(now() / LENGTHS[step]) * LENGTHS[step];
    const half = begin + Math.floor((until - begin) / LENGTHS[step] / 2) * LENGTHS[step];
    if (!(error instanceof AnswerError) || error.status !== 422 || half <= begin) throw error;
    return [...(await rowsBy(step, begin, half, query)), ...(await rowsBy(step, half, end, query))];
  }
}

function nothing(by) {
  return { by, cost: null, ...Object.fromEntries(SUMS.map((name) => [name, 0])) };
}

function add(sums, row) {
  for (const name of SUMS) sums[name] += row[name];
  if (row.cost !== null) sums.cost = (sums.cost ?? 0) + row.cost;
}
