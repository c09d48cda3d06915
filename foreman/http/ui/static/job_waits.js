import { get } from "./api.js";
import { now } from "./clock.js";
import { fill, h } from "./dom.js";
import { called, count, reason, seconds } from "./format.js";

const MOST = 50; // jobs of the line that are read
const SHOWN = 5; // links of each kind

/** Why a queued job waits: the reason in words, what runs meanwhile, and what goes before it. */
export class Waits {
  constructor() {
    this.element = h("div", {});
  }

  async show(job) {
    this.queued = job.state === "queued";
    if (!this.queued) return void fill(this.element);
    const later = job.not_before && Date.parse(job.not_before) > now(); // then it has no place in the line yet
    const place = later ? null : job.queue_position;
    const [queue, line] = place ? await Promise.all([get("/queue"), get(`/queue/jobs?limit=${Math.min(MOST, place)}`)]) : [null, null];
    const mine = line?.jobs.findIndex((one) => one.job_id === job.job_id) ?? -1;
    const before = mine < 0 ? (line?.jobs ?? []) : line.jobs.slice(0, mine).reverse(); // the nearest, else the first of all
    const running = queue?.running ?? [];
    if (!this.queued) return; // it began meanwhile
    const section = h(
      "section.card",
      { "aria-label": "Waits" },
      h("h2", {}, "Waits"),
      job.why && h("p.long", {}, `Waits because ${reason(job.why)}.`),
      h(
        "dl.waits",
        {},
        entry("Position", place && (place >= 1000 ? "1,000 or more" : `${place}`)),
        entry("Ready in about", place && job.eta_seconds !== null && seconds(job.eta_seconds)),
        entry("Runs now", running.length > 0 && links(running, running.length)),
        entry("Before it", before.length > 0 && links(before, Math.max(before.length, place - 1))),
      ),
    );
    const focused = this.element.contains(document.activeElement) && document.activeElement.getAttribute("href");
    fill(this.element, section);
    if (focused) this.element.querySelector(`[href="${focused}"]`)?.focus();
  }
}

function entry(name, value) {
  return value && h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

/** Links to the first jobs, and how many more there are. */
function links(jobs, all) {
  const more = all - Math.min(jobs.length, SHOWN);
  const list = jobs.slice(0, SHOWN).map((job) => h("li", {}, h("a", { href: `#/jobs/${job.job_id}` }, `${job.model} ${called(job)}`), job.target && h("span.muted", {}, ` on ${job.target}`)));
  return h("ul.plain", {}, list, more > 0 && h("li", {}, h("a", { href: "#/" }, `and ${count(more)} more`)));
}
