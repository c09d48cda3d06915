import { get } from "./api.js";
import { fill, h, once, say } from "./dom.js";
import { called, moment, pill, short } from "./format.js";
import { readJobs, searches } from "./job_search.js";
import { walk } from "./neighbours.js";

const LOOKED = 100; // jobs among which one is looked for
const SHOWN = 12;

/** A choice of the job that another one is compared with: by its id or custom id, or from the latest jobs. */
export function compareChoice(main, { control, link, id }) {
  const { signal } = control;
  const errorLine = h("p.error-line", { role: "alert", hidden: true });
  const input = h("input", { type: "search", required: true, autocomplete: "off", placeholder: "id, part of it, or custom id" });
  const list = h("ul.plain.choices", {});
  const about = h("p.muted", {}, "Looking …");
  fill(main, walk("Way back"), h("h1", {}, "Compare with"), h("p.long", {}, "Beside job ", h("a.mono", { href: `#/jobs/${id}` }, short(id)), "."), h("form.compare-choice", { onsubmit: find, role: "search" }, h("label", {}, "Job", input), h("button.primary", {}, "Compare")), errorLine, about, list);

  const readOffers = once(
    () => offer(id),
    (jobs) => {
      if (signal.aborted) return;
      say(about, jobs.length ? "Or one of these: those with the same prompt first, then the latest." : "There is no other job yet.");
      fill(list, jobs.map((job) => h("li.card", {}, h("a", { href: `#/compare/${id}/${job.job_id}` }, h("span.row", {}, pill(job.state), h("b", {}, job.model), h("span.mono.muted", {}, called(job)), h("span.muted", {}, moment(job.created_at)), job.same && h("span.tag", {}, "same prompt")), job.prompt_excerpt && h("span.long", {}, job.prompt_excerpt)))));
    },
    (error) => !signal.aborted && say(about, error.status === 404 ? `There is no job ${id}.` : error.message),
  );
  link.addEventListener("change", () => link.state !== "dead" && readOffers(), { signal });
  readOffers();
  input.focus();

  async function find(event) {
    event.preventDefault();
    const name = input.value.trim();
    errorLine.hidden = true;
    try {
      const found = await named(name, id);
      if (found) location.hash = `#/compare/${id}/${found}`;
      else tell(`There is no other job “${name}”.`);
    } catch (error) {
      tell(error.message);
    }
  }

  function tell(words) {
    errorLine.hidden = false;
    say(errorLine, words);
  }
}

async function named(name, id) {
  const { byId } = searches(name);
  for (const search of [byId, { custom_id: name }].filter(Boolean)) {
    const { jobs } = await readJobs({ ...search, limit: 2 });
    const other = jobs.find((job) => job.job_id !== id);
    if (other) return other.job_id;
  }
  return null;
}

/** The latest jobs, those first that were asked the same. */
async function offer(id) {
  const [{ jobs }, { prompt_excerpt: prompt }] = await Promise.all([get(`/jobs?limit=${LOOKED}`), get(`/jobs/${encodeURIComponent(id)}`)]);
  const others = jobs.filter((job) => job.job_id !== id).map((job) => ({ ...job, same: Boolean(prompt) && job.prompt_excerpt === prompt }));
  return [...others.filter((job) => job.same), ...others.filter((job) => !job.same)].slice(0, SHOWN);
}
