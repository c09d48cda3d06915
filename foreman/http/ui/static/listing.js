import { ENDED, STATES } from "./format.js";
import { readJobs, resolve } from "./job_search.js";

const PAGE = 200; // jobs read at a time
const KEPT = 20_000; // jobs; older ones are read again when somebody looks

/** The jobs that filters let through, kept true by the feed. */
export class Listing {
  constructor(filters) {
    this.filters = filters;
    this.selected = {}; // what the API is asked for
    this.jobs = new Map();
    this.ids = []; // in the order in which they are shown
    this.next = null; // where a further page begins
    this.asked = 0;
    this.exact = null; // the id of the one job that is called what is looked for
    this.loaded = false; // whether anything is known yet
  }

  /** Whether these are all jobs, newest first: then a new one is known from the feed at once. */
  get plain() {
    return !Object.values(this.filters).some(Boolean);
  }

  /** What is known of the jobs found, `{ state, batch_id }` each: of all if all are read, else what the filters let through. */
  get possible() {
    if (this.next === null) return this.ids.map((id) => this.jobs.get(id));
    const { state = STATES.join(), batch_id } = this.selected;
    return state.split(",").map((one) => ({ state: one, batch_id }));
  }

  /** Read the first page anew; return whether it is still wanted. */
  async load() {
    const mine = ++this.asked;
    const { selected, exact } = await resolve(this.filters);
    if (mine !== this.asked) return false;
    this.selected = selected;
    this.exact = exact?.job_id ?? null;
    const page = await this.page(null);
    if (mine !== this.asked) return false;
    const first = exact ? [exact] : [];
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

  /** Read the jobs of these places anew if the feed has told of some since: what they took is not in it. */
  async reread(first, last) {
    const mine = this.asked;
    if (this.filters.order || !this.ids.slice(first, last).some((id) => this.jobs.get(id).told)) return;
    const page = await readJobs({ ...this.selected, limit: last - first, after: this.ids[first - 1] });
    if (mine === this.asked) this.add(page.jobs);
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
    const { order } = this.filters;
    return readJobs({ ...this.selected, order, limit: PAGE, after });
  }

  add(jobs) {
    for (const job of jobs) {
      const old = this.jobs.get(job.job_id);
      // What was read may be older than what the feed has told since.
      if (old?.seq && ENDED.has(old.state) && !ENDED.has(job.state)) continue;
      this.jobs.set(job.job_id, { ...old, ...job, told: false });
    }
  }

  /** Take in changes of the feed; return whether the first page should be read anew. */
  apply(changes) {
    const { state, order } = this.filters;
    let stale = false;
    const fresh = [];
    for (const change of changes) {
      let job = this.jobs.get(change.job_id);
      stale ||= Boolean(state || order) || !job || ENDED.has(change.state);
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
  job.told = true;
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
