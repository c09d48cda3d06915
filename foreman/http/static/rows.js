import { h } from "./dom.js";
import { moment, pill, seconds, short, took } from "./format.js";

const COLUMNS = ["State", "Job", "Model", "Submitted", "Waited", "Took", "Attempt"];

export function head() {
  return h("div.tr.th", { role: "row" }, COLUMNS.map((name) => h(`span.${name.toLowerCase()}`, { role: "columnheader" }, name)));
}

/** One job as a row that leads to it. */
export function row(job) {
  const waited = job.started_at && job.created_at ? (Date.parse(job.started_at) - Date.parse(job.created_at)) / 1000 : null;
  return h(
    "div.tr",
    { role: "row", "data-id": job.job_id },
    h("span.state", { role: "cell" }, pill(job.state)),
    h("span.job", { role: "cell" }, h("a.mono", { href: `#/jobs/${job.job_id}`, title: job.job_id }, job.custom_id ?? short(job.job_id))),
    h("span.model", { role: "cell", title: job.model }, job.model),
    h("span.submitted", { role: "cell" }, moment(job.created_at)),
    h("span.waited", { role: "cell" }, seconds(waited)),
    h("span.took", { role: "cell" }, seconds(took(job))),
    h("span.attempt", { role: "cell" }, job.attempt ? `${job.attempt}` : "–"),
  );
}
