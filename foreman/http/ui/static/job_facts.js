import { h } from "./dom.js";
import { count, moment, seconds, short, speed } from "./format.js";

/** What is known of a job, by name, as elements; what is not known is left out. */
export function facts(job) {
  const rows = {
    Id: h("span.mono", {}, job.job_id),
    "Custom id": job.custom_id,
    Submitted: moment(job.created_at),
    By: job.caller && (job.owner && job.caller !== job.owner ? `${job.caller} (token ${job.owner})` : job.caller),
    Endpoint: h("span.mono", {}, job.endpoint),
    Priority: job.priority,
    Attempt: `${job.attempt} of ${job.max_attempts}`,
    Target: job.target && h("a", { href: "#/targets" }, job.target),
    Batch: job.batch_id && h("a.mono", { href: `#/batches/${job.batch_id}` }, short(job.batch_id)),
    "Not before": job.not_before && moment(job.not_before),
    ...used(job.usage),
    "Kept until": job.expires_at && moment(job.expires_at),
    ...Object.fromEntries(Object.entries(job.metadata ?? {}).map(([key, value]) => [`Metadata: ${key}`, value])),
  };
  return Object.entries(rows).filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}

/** Tokens and speed of a job, by name; nothing of what no target told. */
export function used(usage) {
  if (!usage) return {};
  const { prompt_tokens: prompt, cached_tokens: cached, answer_tokens: answer, first_token_seconds: first, tokens_per_second: rate } = usage;
  const known = (value) => value !== null && value !== undefined;
  return {
    "Tokens read": known(prompt) && `${count(prompt)}${cached ? `, ${count(cached)} of them from the cache` : ""}`,
    "Tokens written": known(answer) && count(answer),
    "First token after": known(first) && seconds(first),
    Speed: known(rate) && speed(rate),
  };
}
