import { get } from "./api.js";
import { ENDED } from "./format.js";

const KEPT = 20_000; // jobs; older ones are read again when somebody looks

/** The jobs this page knows, newest first, kept up to date by the feed. */
export class Jobs extends EventTarget {
  constructor() {
    super();
    this.known = new Map();
    this.order = []; // ids, newest first: they sort by time
  }

  /** Forget all and read the newest. */
  async reset() {
    const { jobs } = await get("/jobs?limit=500");
    this.known.clear();
    this.order = [];
    this.add(jobs);
    this.dispatchEvent(new CustomEvent("reset"));
  }

  add(jobs) {
    let fresh = false;
    for (const job of jobs) {
      const old = this.known.get(job.job_id);
      // What was read may be older than what the feed has told since.
      if (old && (old.seq ?? 0) > 0 && ENDED.has(old.state) && !ENDED.has(job.state)) continue;
      fresh ||= !old;
      this.known.set(job.job_id, { ...old, ...job });
    }
    if (fresh) this.sort();
  }

  /** Apply changes of the feed; each carries what happened before it too. */
  apply(changes) {
    const fresh = [];
    for (const change of changes) {
      let job = this.known.get(change.job_id);
      if (!job) {
        job = { job_id: change.job_id, model: change.model, custom_id: change.custom_id, attempt: 0 };
        if (change.previous_state === "") job.created_at = change.timestamp;
        this.known.set(job.job_id, job);
        fresh.push(job.job_id);
      }
      if ((job.seq ?? 0) >= change.seq) continue;
      job.seq = change.seq;
      job.state = change.state;
      job.attempt = change.attempt;
      job.error = change.error;
      if (change.state === "queued") job.completed_at = null;
      if (change.state !== "queued" && !ENDED.has(change.state)) job.started_at ??= change.timestamp;
      if (ENDED.has(change.state)) job.completed_at = change.timestamp;
    }
    if (fresh.length) this.sort();
    this.dispatchEvent(new CustomEvent("changes", { detail: changes }));
  }

  forget(id) {
    this.known.delete(id);
    this.order = this.order.filter((other) => other !== id);
    this.dispatchEvent(new CustomEvent("reset"));
  }

  sort() {
    this.order = [...this.known.keys()].sort((a, b) => (a < b ? 1 : -1));
    for (const id of this.order.splice(KEPT)) this.known.delete(id);
  }
}
