/** Which job comes before and after another: in the list that the reader came from, with its filters, else by time. */
import { get } from "./api.js";
import { now } from "./clock.js";
import { h } from "./dom.js";
import { read } from "./filters.js";
import { readJobs, resolve } from "./job_search.js";

const KEYS = { "/jobs": "foreman-list", "/batches": "foreman-batches" }; // of the session: the query of the list that the reader came from
const WITHIN = { "/jobs": /^\/jobs\/.|^\/compare/, "/batches": /^\/batches\/./ }; // addresses that are on the way from a list
const SIZES = [50, 500]; // jobs of the first page of a list, and of each further one
const MOST = 5000; // jobs of a list that are looked through; further down the order is that of all jobs
const PAGES = 10; // of jobs that came within one span of time

let known = null; // { query, selected, ids, next }: what has been read of that list

/** Take note of the page's address before this one: from a list its jobs are walked through, from elsewhere all jobs. */
export function cameFrom(address) {
  const [path, query = ""] = address.slice(1).split("?");
  for (const [list, key] of Object.entries(KEYS)) {
    if (WITHIN[list].test(path)) continue;
    if (list === "/jobs") known = null;
    if (path === list) sessionStorage.setItem(key, query);
    else sessionStorage.removeItem(key);
  }
}

/** The query of the list that the reader came from; null for none. */
export function listed(list = "/jobs") {
  return sessionStorage.getItem(KEYS[list]);
}

/** A link to the list that the reader came from, with its filters; else to all that it lists. */
export function backToList(list = "/jobs") {
  const query = listed(list);
  return h("a.grow", { href: `#${list}${query ? `?${query}` : ""}` }, "Back to the list");
}

/** The row above one entry of a list: the way back to it. */
export function walk(label, list) {
  return h("div.row.walk", { role: "navigation", "aria-label": label }, backToList(list));
}

/** `{ previous, next }`: the ids of the jobs above and below in the list, newest first; null where it ends. */
export async function neighbours(job) {
  const query = listed();
  const found = query && (await inList(job.job_id, query));
  if (found) return found;
  const [previous, next] = await Promise.all([newer(job), older(job)]);
  return { previous, next };
}

async function inList(id, query) {
  if (known?.query !== query) known = { query, selected: null, ids: [], next: "" };
  const list = known;
  const filters = read(new URLSearchParams(query));
  try {
    if (!list.selected) await begin(list, filters);
    for (;;) {
      const place = list.ids.indexOf(id);
      const beyond = list.next === null || list.ids.length >= MOST;
      if (place >= 0 && (place + 1 < list.ids.length || beyond)) return { previous: list.ids[place - 1] ?? null, next: list.ids[place + 1] ?? null };
      if (beyond) return null;
      const page = await readJobs({ ...list.selected, order: filters.order, limit: SIZES[list.next ? 1 : 0], after: list.next });
      list.ids = [...new Set([...list.ids, ...page.jobs.map((one) => one.job_id)])];
      list.next = page.next;
    }
  } catch (error) {
    if (error.status >= 400 && error.status < 500) return null; // the list knows filters that the API does not
    throw error;
  }
}

async function begin(list, filters) {
  const { selected, exact } = await resolve(filters);
  list.selected = selected;
  if (exact && !list.ids.length) list.ids = [exact.job_id];
}

async function older(job) {
  const { jobs } = await get(`/jobs?limit=1&after=${job.job_id}`);
  return jobs[0]?.job_id ?? null;
}

/** The API lists the newest first, so the next newer one is the last of those in a span of time, which grows. */
async function newer(job) {
  const from = Date.parse(job.created_at);
  for (let span = 1000; ; span *= 10) {
    const query = new URLSearchParams({ created_after: new Date(from).toISOString(), created_before: new Date(from + span).toISOString(), limit: SIZES[1] });
    let last = null;
    for (let after = "", page = 0; after !== null && page < PAGES; page += 1) {
      const found = await get(`/jobs?${query}${after && `&after=${after}`}`);
      last = found.jobs.filter((one) => one.job_id > job.job_id).at(-1)?.job_id ?? last;
      after = found.next;
    }
    if (last || from + span > now() + 1000) return last;
  }
}
