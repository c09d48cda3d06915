import { get } from "./api.js";
import { ENDED } from "./format.js";

const PAGE = 200; // jobs read at a time
const KEPT = 20_000; // jobs; older ones are read again when somebody looks
const ID_PART = /^[0-9A-HJKMNP-TV-Z]{6,26}$/;

/** The jobs that the filters `{ state, priority, model, order, find, batch_id }` let through, kept true by the feed. */
export class Listing {
  constructor(filters) {
    this.filters = filters;
    this.jobs = new Map();
    this.ids = []; // in the order in which they are shown
    this.next = null; // where a further page begins
    this.asked = 0;
    this.loaded = false; // whether anything is known yet
  }

  /** Whether these are all jobs, newest first: then a new one is known from the feed at once. */
  get plain() {
    return !Object.values(this.filters).some(Boolean);
  }

  /** Read the first page anew; return whether it is still wanted. */
  async load() {
    const mine = ++this.asked;
    const [first, page] = await Promise.all([this.named(), this.page(null)]);
    if (mine !== this.asked) return false;
    this.add([...first, ...page.jobs]);
    const ids = unique([...first, ...page.jobs].map((job) => job.job_id));
    this.ids = [...this.newer(ids), ...ids];
    this.next = page.next;
    this.loaded = true;
    return true;
  }

  /** Read the first page anew and leave what was read behind it, where nothing came in between. */
  async refresh() {
    if (this.filters.find) return;
    const mine = this.asked;
    const page = await this.page(null);
    if (mine !== this.asked) return;
    this.add(page.jobs);
    const ids = page.jobs.map((job) => job.job_id);
    const place = this.ids.lastIndexOf(ids.at(-1));
    const behind = page.next === null || place < 0 ? [] : this.ids.slice(place + 1);
    if (!behind.length) this.next = page.next;
    this.ids = unique([...this.newer(ids), ...ids, ...behind]);
  }

  /** The jobs of which the feed has told since this page was read. */
  newer(ids) {
    return this.plain ? this.ids.filter((id) => id > (ids[0] ?? "")) : [];
  }

  async more() {
    const mine = this.asked;
    const page = await this.page(this.next);
    if (mine !== this.asked) return;
    this.add(page.jobs);
    this.ids = unique([...this.ids, ...page.jobs.map((job) => job.job_id)]);
    this.next = page.next;
  }

  page(after) {
    const { find } = this.filters;
    const begins = find ? { custom_id: find.endsWith("*") ? find : `${find}*` } : {};
    return this.read({ ...begins, limit: PAGE, ...(after ? { after } : {}) });
  }

  /** The jobs that are called what is looked for: by id, by its beginning or end, by custom id. */
  async named() {
    const { find } = this.filters;
    if (!find) return [];
    const part = find.toUpperCase().replace(/^…/, "");
    const [byId, byName] = await Promise.all([ID_PART.test(part) ? this.read({ id: part }) : { jobs: [] }, find.endsWith("*") ? { jobs: [] } : this.read({ custom_id: find })]);
    this.exact = byId.jobs.length + byName.jobs.length === 1 ? (byId.jobs[0] ?? byName.jobs[0]).job_id : null;
    return [...byName.jobs, ...byId.jobs];
  }

  read(more) {
    const { find, ...filters } = this.filters;
    const given = Object.entries({ ...filters, ...more }).filter(([, value]) => value);
    return get(`/jobs?${new URLSearchParams(given)}`);
  }

  add(jobs) {
    for (const job of jobs) {
      const old = this.jobs.get(job.job_id);
      // What was read may be older than what the feed has told since.
      if (old?.seq && ENDED.has(old.state) && !ENDED.has(job.state)) continue;
      this.jobs.set(job.job_id, { ...old, ...job });
    }
  }

  /** Take in changes of the feed; return whether the first page should be read anew. */
  apply(changes) {
    const { state, order } = this.filters;
    let stale = false;
    const fresh = [];
    for (const change of changes) {
      let job = this.jobs.get(change.job_id);
      stale ||= Boolean(state || order) || !job;
      if (!job) {
        if (!this.plain || change.previous_state !== "") continue;
        job = { job_id: change.job_id, model: change.model, custom_id: change.custom_id, attempt: 0, created_at: change.timestamp };
        this.jobs.set(job.job_id, job);
        fresh.push(job.job_id);
      }
      if ((job.seq ?? 0) < change.seq) follow(job, change);
    }
    if (fresh.length) {
      this.ids = unique([...fresh.reverse(), ...this.ids]).sort((a, b) => (a < b ? 1 : -1));
      for (const id of this.ids.splice(KEPT)) {
        this.jobs.delete(id);
        this.next = this.ids.at(-1);
      }
    }
    const states = state && new Set(state.split(","));
    if (states) this.ids = this.ids.filter((id) => states.has(this.jobs.get(id).state));
    return stale;
  }
}

function follow(job, change) {
  job.seq = change.seq;
  job.state = change.state;
  job.attempt = change.attempt;
  job.error = change.error;
  job.not_before = null;
  if (change.state === "queued") job.completed_at = null;
  if (change.state !== "queued" && !ENDED.has(change.state)) job.started_at ??= change.timestamp;
  if (ENDED.has(change.state)) job.completed_at = change.timestamp;
}

function unique(ids) {
  return [...new Set(ids)];
}
