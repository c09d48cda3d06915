import { cancelButton } from "./cancel_button.js";
import { fill, h, keyed, say } from "./dom.js";
import { age, called, count, moment, seconds } from "./format.js";

/** What waits: the jobs that may run, in their order, and under them those whose time is to come. */
export class Waiting {
  constructor() {
    this.list = h("ol.waiting", {});
    this.more = h("p.muted", {});
    this.summary = h("summary", {});
    this.later = h("ol.waiting", {});
    this.laterMore = h("p.muted", {});
    this.scheduled = h("details.scheduled", { hidden: true }, this.summary, this.later, this.laterMore);
    this.elements = [this.list, this.more, this.scheduled];
  }

  /** `queue` is the answer of /queue, `line` that of /queue/jobs. */
  show(queue, line) {
    keyed(this.list, line.jobs, { key: (job) => job.job_id, make: entry, update: turn });
    keyed(this.later, line.scheduled, { key: (job) => job.job_id, make: entry, update: time });
    this.scheduled.hidden = !queue.scheduled;
    say(this.summary, `${count(queue.scheduled)} ${queue.scheduled === 1 ? "waits for its time" : "wait for their time"}`);
    beyond(this.laterMore, queue.scheduled - line.scheduled.length);
    if (line.jobs.length) beyond(this.more, queue.queued - queue.scheduled - line.jobs.length);
    else say(this.more, queue.queued ? "" : "No jobs waiting.");
  }
}

function beyond(element, others) {
  fill(element, others > 0 && h("a", { href: "#/jobs?state=queued" }, `and ${count(others)} more`));
}

function entry(job) {
  const one = { position: h("span.position", {}), tag: h("span", {}), when: h("span.when.muted", {}) };
  const name = h("a.name", { href: `#/jobs/${job.job_id}` }, h("b", {}, job.model), " ", h("span.mono.muted", {}, called(job)), job.caller && h("span.muted", {}, ` by ${job.caller}`));
  if (job.priority !== "normal") one.tag = h(`span.tag.${job.priority}`, {}, job.priority);
  one.element = h("li.card", {}, one.position, name, one.tag, one.when, cancelButton(job));
  return one;
}

function turn(one, job) {
  say(one.position, job.queue_position >= 1000 ? "…" : `${job.queue_position}`);
  say(one.when, `for ${age(job.created_at)}${job.eta_seconds === null ? "" : `, ready in about ${seconds(job.eta_seconds)}`}`);
}

function time(one, job) {
  say(one.when, job.attempt ? `attempt ${job.attempt} of ${job.max_attempts} failed, again at ${moment(job.not_before)}` : `not before ${moment(job.not_before)}`);
}
