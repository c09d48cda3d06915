import { getJob } from "./api.js";
import { compareChoice } from "./compare_choice.js";
import { answered, textOf } from "./conversation.js";
import { copy } from "./copy.js";
import { differences, wordwise } from "./differences.js";
import { fill, gently, h, once } from "./dom.js";
import { ENDED, called, moment, pill, seconds, took, waited } from "./format.js";
import { used } from "./job_facts.js";
import { requestOf } from "./job_request.js";
import { walk } from "./neighbours.js";
import { Parts } from "./parts.js";
import { Pictures } from "./pictures.js";
import { plainSwitch } from "./written.js";

const LONGEST = 20_000; // characters of a value that are compared word by word

/** Two jobs side by side: their figures, in what their requests differ, their answers. With one id, a choice of the other. */
export function compareView(main, { control, feed, link, ids }) {
  if (ids.length < 2) {
    compareChoice(main, { control, link, id: ids[0] });
    return;
  }
  const { signal } = control;
  let shown = "";
  let parts = [];
  const title = h("h1.row", {}, "Two jobs");
  const actions = h("div.row.actions", {}, h("a.button", { href: `#/compare/${ids[1]}/${ids[0]}` }, "Swap sides"), h("a.button", { href: `#/compare/${ids[0]}` }, "Choose another"));
  const figures = h("section.card", { "aria-label": "Figures" });
  const requests = h("section.card", { "aria-label": "Asked" }, h("h2", {}, "Asked"));
  const answers = h("section.sides", { "aria-label": "Answered" });
  fill(main, walk("Way back"), title, actions, figures, requests, answers);
  document.title = "Two jobs · Foreman";

  const readRequests = once(
    () => Promise.all(ids.map(requestOf)),
    (found) => !signal.aborted && fill(requests, h("h2", {}, "Asked"), asked(differences(...found))),
    (error) => !signal.aborted && fill(requests, h("h2", {}, "Asked"), h("p.muted", {}, error.status === 404 ? "The request of one of them is no longer kept." : "The requests cannot be compared.")),
  );
  readRequests();

  const refresh = gently(async () => {
    if (signal.aborted) return;
    try {
      const jobs = await Promise.all(ids.map(getJob));
      if (!signal.aborted) show(jobs);
      readRequests();
    } catch (error) {
      if (error.status !== 404) throw error;
      control.abort();
      fill(main, h("h1", {}, "No such job"), h("p.long", {}, "One of these jobs does not exist; it may have been removed. ", h("a", { href: "#/jobs" }, "All jobs")));
    }
  }, 300);

  function show(jobs) {
    fill(figures, h("h2", {}, "Figures"), table(jobs));
    const states = jobs.map((job) => `${job.state} ${job.attempt}`).join();
    if (states === shown) return; // the answers are as they were
    shown = states;
    for (const one of parts) one.stop();
    parts = jobs.map(() => new Parts(new Pictures()));
    fill(answers, jobs.map((job, place) => side(job, parts[place])));
    const row = answers.querySelector(".row");
    if (parts.some((one) => one.marked)) row.append(plainSwitch());
  }

  const changed = (event) => event.detail.some((change) => ids.includes(change.job_id)) && refresh();
  const again = () => link.state !== "dead" && refresh();
  signal.addEventListener("abort", () => parts.forEach((one) => one.stop()));
  feed.addEventListener("changes", changed, { signal });
  feed.addEventListener("reset", again, { signal });
  link.addEventListener("change", again, { signal });
  refresh();
}

function table(jobs) {
  const rows = jobs.map((job) => ({
    Model: job.model,
    Endpoint: job.endpoint,
    Target: job.target,
    Submitted: moment(job.created_at),
    Waited: waited(job) !== null && seconds(waited(job)),
    Took: took(job) !== null && seconds(took(job)),
    Attempt: `${job.attempt} of ${job.max_attempts}`,
    ...used(job.usage),
    Error: job.error,
  }));
  const names = [...new Set(rows.flatMap((row) => Object.keys(row).filter((name) => row[name])))];
  const order = Object.keys({ ...rows[0], ...rows[1] }).filter((name) => names.includes(name));
  const line = (name) => h(rows[0][name] === rows[1][name] ? "tr" : "tr.other", {}, h("th", { scope: "row" }, name), rows.map((row) => h("td", {}, row[name] || "–")));
  const head = jobs.map((job) => h("th", { scope: "col" }, pill(job.state), " ", h("a.mono", { href: `#/jobs/${job.job_id}` }, called(job))));
  return h("table.against", {}, h("thead", {}, h("tr", {}, h("td"), head)), h("tbody", {}, order.map(line)));
}

function asked(found) {
  if (!found.length) return h("p.muted", {}, "Both were asked the same.");
  const row = ({ path, one, other }) => h("tr", {}, h("th.mono", { scope: "row" }, path), values(one, other));
  return h("table.against", {}, h("tbody", {}, found.map(row)));
}

/** Two cells: each value, with the words marked that the other has not. */
function values(one, other) {
  const cell = (value, kind, tag) => {
    if (value === undefined) return h("td.muted", {}, "–");
    const parts = one === undefined || other === undefined || one.length + other.length > LONGEST ? [{ kind: "same", text: value.slice(0, LONGEST) }] : wordwise(one, other);
    return h("td", {}, h("div.said", { tabIndex: 0 }, parts.filter((part) => part.kind === "same" || part.kind === kind).map((part) => (part.kind === kind ? h(tag, {}, part.text) : part.text))));
  };
  return [cell(one, "gone", "del"), cell(other, "new", "ins")];
}

function side(job, parts) {
  const choices = job.result ? answered(job.result) : [];
  const text = choices.map(textOf).join("\n\n");
  const none = ENDED.has(job.state) ? "No answer" : "No answer yet";
  return h(
    "section.card",
    { "aria-label": `Answer of ${called(job)}` },
    h("div.row", {}, h("h2", {}, job.model), text && h("button.small", { onclick: () => copy(text, "The answer") }, "Copy answer")),
    choices.length ? choices.map((choice) => h("div.message", {}, parts.show(choice, { model: true }))) : h("p.muted", {}, none),
  );
}
