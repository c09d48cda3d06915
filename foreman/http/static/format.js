import { h } from "./dom.js";

export const STATES = ["queued", "loading", "working", "done", "failed", "cancelled", "expired"];
export const ENDED = new Set(["done", "failed", "cancelled", "expired"]);
export const RUNNING = new Set(["loading", "working"]);

/** Seconds in words: 40 ms, 1.5 s, 12 s, 3 min 20 s, 2 h 5 min, 4 d. */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 1) return `${Math.max(0, Math.round(value * 1000))} ms`;
  if (value < 10) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

export function bytes(value) {
  if (value < 1000) return `${value} bytes`;
  if (value < 1e6) return `${(value / 1000).toFixed(1)} kB`;
  return `${(value / 1e6).toFixed(1)} MB`;
}

export function count(value) {
  return value.toLocaleString("en");
}

export function age(time, now = Date.now()) {
  return seconds((now - Date.parse(time)) / 1000);
}

/** A moment: the time of day, with the date when it is not today. */
export function moment(time) {
  if (!time) return "–";
  const date = new Date(time);
  const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString()} ${clock}`;
}

/** How long a job took, or takes. */
export function took(job, now = Date.now()) {
  if (!job.started_at) return null;
  return ((job.completed_at ? Date.parse(job.completed_at) : now) - Date.parse(job.started_at)) / 1000;
}

export function pill(state) {
  return h(`span.pill.${state}`, {}, h("i.dot"), state);
}

/** The last letters of an id tell jobs apart; the first ones are the time. */
export function short(id) {
  return `…${id.slice(-8)}`;
}
