import { h } from "./dom.js";
import { called, count, day, middleCut, moment, pill, seconds, speed, took, waited } from "./format.js";

/** The head of a table of jobs; `when` is the column of times. */
export function head(when = "Submitted") {
  const columns = ["State", "Job", "Prompt", "Model", when, "Waited", "Took", "Tokens", "Speed", "Attempt"];
  return h("div.tr.th", { role: "row" }, columns.map((name) => h(`span.${name === when ? "when" : name.toLowerCase()}`, { role: "columnheader" }, name)));
}

/** One job as a row that leads to it; `when` is the time that it shows. */
export function row(job, when = "created_at") {
  const later = job.state === "queued" && job.not_before; // what it waits for
  const { answer_tokens: written = null, tokens_per_second: fast = null } = job.usage ?? {};
  return h(
    "div.tr",
    { role: "row", "data-id": job.job_id },
    h("span.state", { role: "cell" }, pill(job.state)),
    h("span.job", { role: "cell" }, h("a.mono.middle-cut", { href: `#/jobs/${job.job_id}`, title: [job.custom_id, job.job_id].filter(Boolean).join("\n"), "aria-label": called(job) }, middleCut(called(job)))),
    h("span.prompt", { role: "cell", title: job.prompt_excerpt }, job.prompt_excerpt ?? ""),
    h("span.model", { role: "cell", title: job.model }, job.model),
    h("span.when", { role: "cell" }, moment(job[when])),
    h("span.waited", { role: "cell", title: later ? `not before ${moment(later)}` : null }, later ? `till ${day(later)}` : seconds(waited(job))),
    h("span.took", { role: "cell" }, seconds(took(job))),
    h("span.tokens", { role: "cell", title: spent(job.usage) }, written === null ? "–" : count(written)),
    h("span.speed", { role: "cell" }, fast === null ? "–" : speed(fast)),
    h("span.attempt", { role: "cell" }, job.attempt ? `${job.attempt}` : "–"),
  );
}

/** What changes how a row is drawn. */
export function mark(job, when = "created_at") {
  return [job.seq, job.state, job.not_before, job[when], job.prompt_excerpt, job.usage?.answer_tokens].join(" ");
}

/** The tokens of an answer in words. */
function spent(usage) {
  const parts = [["prompt_tokens", "read"], ["cached_tokens", "of them from the cache"], ["answer_tokens", "written"]];
  return parts.flatMap(([name, said]) => (usage?.[name] ? [`${count(usage[name])} ${said}`] : [])).join(", ") || null;
}
