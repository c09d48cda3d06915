import { now } from "./clock.js";
import { h } from "./dom.js";

export const STATES = ["queued", "loading", "working", "done", "failed", "cancelled", "expired"];
export const ENDED = new Set(["done", "failed", "cancelled", "expired"]);
const NAME_END = 8; // characters of a name that are shown whatever the room
export const RUNNING = new Set(["loading", "working"]);

/** Seconds in words: 40 ms, 1.5 s, 12 s, 3 min 20 s, 2 h 5 min, 4 d. */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0 s";
  if (value < 1) return `${Math.max(0, Math.round(value * 1000))} ms`;
  if (value < 10) return `${Number(value.toFixed(1))} s`;
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
  if (value < 1e9) return `${(value / 1e6).toFixed(1)} MB`;
  return `${(value / 1e9).toFixed(1)} GB`;
}

/** How fast a target writes: 0.4 tokens/s, 35 tokens/s. */
export function speed(value) {
  return `${value < 10 ? Number(value.toFixed(1)) : count(Math.round(value))}\u00a0tokens/s`;
}

export function count(value) {
  return value.toLocaleString("en");
}

/** A number and its noun: 1 job, 3,000 jobs. */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Seconds since a time, in words. */
export function age(time) {
  return seconds(Math.max(0, (now() - Date.parse(time)) / 1000));
}

/** A moment: the time of day, with the date when it is not today. */
export function moment(time) {
  if (!time) return "–";
  const date = new Date(time);
  const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return date.toDateString() === new Date(now()).toDateString() ? clock : `${date.toLocaleDateString()} ${clock}`;
}

/** Why a queued job waits, with times of here instead of UTC. */
export function reason({ text }) {
  return text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, moment);
}

/** The time of day of today, the date of any other day of this year, the month of another year. */
export function day(time) {
  const [date, today] = [new Date(time), new Date(now())];
  if (date.toDateString() === today.toDateString()) return minute(time);
  const other = date.getFullYear() === today.getFullYear() ? { day: "numeric" } : { year: "numeric" };
  return date.toLocaleDateString([], { month: "short", ...other });
}

/** The time of day to the minute. */
export function minute(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** How many seconds a job waited for its first start; null before that. */
export function waited(job) {
  if (!job.started_at || !job.created_at) return null;
  return Math.max(0, Date.parse(job.started_at) - Date.parse(job.created_at)) / 1000;
}

/** How many seconds a job took, or takes; null while it waits. */
export function took(job) {
  if (!job.started_at || job.state === "queued") return null;
  return Math.max(0, (job.completed_at ? Date.parse(job.completed_at) : now()) - Date.parse(job.started_at)) / 1000;
}

/** A state; one that goes on now pulses, one that is over never does. */
export function pill(state, { goes = RUNNING.has(state) } = {}) {
  return h(`span.pill.${state}${goes ? ".goes" : ""}`, {}, h("i.dot"), state);
}

/** Words that show beside what was known when Foreman answered last, while it does not. */
export function heard() {
  return h("span.heard", {}, " when last heard");
}

/** The last letters of an id tell jobs apart; the first ones are the time. */
export function short(id) {
  return `…${id.slice(-8)}`;
}

/** A name whose middle is left out where it has no room: names of a series differ at their end. */
export function middleCut(text) {
  const letters = [...text];
  if (letters.length <= NAME_END + 1) return text;
  return [h("span", {}, letters.slice(0, -NAME_END).join("")), h("span", {}, letters.slice(-NAME_END).join(""))];
}

/** A job's own name: the caller's for it, or the end of its id. */
export function called(job) {
  return job.custom_id ?? short(job.job_id);
}
