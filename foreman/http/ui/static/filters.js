/** The filters of the list of jobs: as the page's address has them, in words, and as the API takes them. */
import { now } from "./clock.js";
import { ENDED, STATES, moment, short } from "./format.js";
import { ENDPOINTS } from "./payload.js";

const HOUR = 3_600_000; // ms
const SPANS = {
  hour: { words: "in the last hour", length: HOUR },
  day: { words: "in the last 24 hours", length: 24 * HOUR },
  week: { words: "in the last 7 days", length: 168 * HOUR },
  month: { words: "in the last 30 days", length: 720 * HOUR },
};
const GROUPS = [
  ["loading,working", "running"],
  [[...ENDED].join(","), "ended"],
  ["failed,expired,cancelled", "ended badly"],
];
const self = (names) => names.map((name) => [name, name]);
const spans = Object.entries(SPANS).map(([name, span]) => [name, span.words]);

/** Each filter by its name in the address, in the order of the form; those with `values` are chosen from, others written. */
export const FIELDS = {
  state: { label: "State", values: [...self(STATES), ...GROUPS] },
  model: { label: "Model" },
  within: { label: "Submitted", any: "at any time", values: spans },
  order: { label: "Order", any: "newest first", values: [["ended", "last ended first"]] },
  find: { label: "Job", hint: "id, part of it, or custom id" },
  q: { label: "Words", more: true, hint: "in prompts and answers; word* for its beginning" },
  priority: { label: "Priority", more: true, values: self(["high", "normal", "low"]) },
  caller: { label: "Caller", more: true },
  endpoint: { label: "Endpoint", more: true, values: self(ENDPOINTS) },
  target: { label: "Target", more: true },
  error_code: { label: "Error code", more: true },
  metadata: { label: "Metadata", more: true, hint: "NAME=VALUE", form: "[^=]+=.*" },
  ended: { label: "Ended", more: true, any: "at any time", values: spans },
  created_after: { label: "Submitted after", more: true, time: true },
  created_before: { label: "Submitted before", more: true, time: true },
  batch_id: { label: "Batch", unseen: true }, // only a link sets it
};

/** The filters of an address's query. */
export function read(query) {
  return Object.fromEntries(Object.keys(FIELDS).map((name) => [name, query.get(name) ?? ""]));
}

/** The page's address with these filters; equal ones have equal addresses. */
export function address(filters) {
  const given = new URLSearchParams(chosen(filters));
  return `#/jobs${given.size ? `?${given}` : ""}`;
}

/** The filters that are set, as `[name, value]`. */
export function chosen(filters) {
  return Object.keys(FIELDS).flatMap((name) => (filters[name] ? [[name, filters[name]]] : []));
}

/** A filter's value in words. */
export function words(name, value) {
  const { values = [], time } = FIELDS[name];
  if (time) return Number.isNaN(Date.parse(value)) ? value : moment(value);
  if (name === "batch_id") return short(value);
  return values.find(([one]) => one === value)?.[1] ?? value;
}

/**
 * What the API is asked for, without `find`, which is several searches, and `order`. What is not understood here is passed
 * on, and refused there: a filter that is left out would select more than the page says.
 */
export function asked({ find, order, within, ended, metadata, ...filters }) {
  if (order === "ended") filters.state ||= [...ENDED].join(","); // no others are listed then
  if (within) filters.created_after ||= Object.hasOwn(SPANS, within) ? ago(SPANS[within]) : within;
  if (ended) filters.ended_after = Object.hasOwn(SPANS, ended) ? ago(SPANS[ended]) : ended;
  const set = Object.fromEntries(Object.entries(filters).filter(([, value]) => value));
  if (!metadata) return set;
  const [, name, value] = metadata.match(/^([^=]+)=(.*)$/s) ?? [];
  return { ...set, ...(name ? { [`metadata.${name}`]: value } : { metadata }) };
}

function ago({ length }) {
  return new Date(now() - length).toISOString();
}
