import { ask, get } from "./api.js";
import { asked, whole } from "./answer.js";
import { Artifacts } from "./artifacts.js";
import { cancelJob } from "./cancel.js";
import { now } from "./clock.js";
import { confirm } from "./confirm.js";
import { copy } from "./copy.js";
import { Deliveries } from "./deliveries.js";
import { fill, gently, h, say, toast } from "./dom.js";
import { ENDED, called, heard, moment, pill, plural, seconds, short } from "./format.js";
import { LiveText } from "./live.js";
import { tellMe } from "./tell.js";
import { timeline } from "./timeline.js";

/** One job: what became of it, what was asked, what was answered. */
export function job(main, { feed, link, id }) {
  const title = h("h1.row", {});
  const facts = h("dl.facts", {});
  const actions = h("div.row.actions", {});
  const fault = h("p.fault", { hidden: true, role: "alert" });
  const steps = h("section.card", { "aria-label": "Timeline" });
  const request = h("section.card", { "aria-label": "Asked" }, h("h2", {}, "Asked"));
  const answer = h("section.card", { "aria-label": "Answered" });
  const artifacts = new Artifacts(id);
  const deliveries = new Deliveries(id, () => refresh());
  let alive = true;
  let live = null;
  let shown = null; // the state that the page shows
  let ended = false;

  fill(main, title, fault, actions, facts, steps, request, answer, artifacts.element, deliveries.element);
  get(`/jobs/${encodeURIComponent(id)}/request`)
    .then((found) => alive && showRequest(found))
    .catch(() => {});

  const refresh = gently(async () => {
    if (!alive) return;
    try {
      const path = `/jobs/${encodeURIComponent(id)}`;
      const [found, events, log] = await Promise.all([get(path), pages(path, "events"), pages(path, "deliveries")]);
      if (alive) show(found, events, log);
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      stop();
      fill(main, h("h1", {}, "No such job"), h("p.long", {}, `There is no job ${id}; it may have been removed. `, h("a", { href: "#/jobs" }, "All jobs")));
    }
  }, 300);

  function show(found, events, log) {
    ended = ENDED.has(found.state);
    say(fault, found.error ? `${found.error}${found.error_code ? ` (${found.error_code})` : ""}` : "");
    fault.hidden = !found.error;
    showFacts(found);
    timeline(steps, events);
    deliveries.show(log, new Map(events.map((event) => [event.seq, event.state])));
    if (shown === found.state) return;
    shown = found.state;
    fill(title, pill(found.state), h("span.long", {}, found.model), !ended && heard());
    document.title = `${found.state}: ${found.model} · Foreman`;
    showActions(found);
    if (ended) {
      live?.stop();
      live = null;
      showAnswer(found);
      artifacts.show(found.artifacts);
    } else if (!live) {
      live = new LiveText(id);
      fill(answer, h("h2", {}, "Answer"), live.element);
    }
  }

  function showActions(found) {
    const focused = actions.contains(document.activeElement);
    fill(
      actions,
      !ended && h("button", { onclick: () => cancelJob(found).then(refresh, (problem) => toast(problem.message, "bad")) }, "Cancel"),
      ended && found.state !== "done" && !found.batch_id && h("button", { onclick: () => act("POST", "/retry").then((done) => done && refresh()) }, "Retry"),
      ended && !found.batch_id && h("button", { onclick: () => remove(found) }, "Delete"),
      h("button", { onclick: () => copy(id, "The id") }, "Copy id"),
      !ended && tellMe(`jobs/${id}`, called(found)),
    );
    if (focused) actions.querySelector("button").focus();
  }

  async function act(method, step) {
    try {
      await ask(`/jobs/${id}${step}`, { method });
      return true;
    } catch (problem) {
      toast(problem.message, "bad");
      return false;
    }
  }

  async function remove(found) {
    const sure = await confirm({ title: "Delete this job?", words: `${found.model} ${called(found)}, with its answer, artifacts and events. This cannot be undone.`, verb: "Delete" });
    if (sure && (await act("DELETE", ""))) location.hash = "#/jobs";
  }

  function showFacts(found) {
    const later = found.not_before && Date.parse(found.not_before) > now(); // then it has no place in the line yet
    const place = later ? null : found.queue_position;
    const eta = later ? null : found.eta_seconds;
    const rows = {
      Id: h("span.mono", {}, found.job_id),
      "Custom id": found.custom_id,
      Submitted: moment(found.created_at),
      By: found.caller && (found.owner && found.caller !== found.owner ? `${found.caller} (token ${found.owner})` : found.caller),
      Endpoint: h("span.mono", {}, found.endpoint),
      Priority: found.priority,
      Attempt: `${found.attempt} of ${found.max_attempts}`,
      Target: found.target,
      Batch: found.batch_id && h("a.mono", { href: `#/batches/${found.batch_id}` }, short(found.batch_id)),
      "Not before": found.not_before && moment(found.not_before),
      Position: place && (place >= 1000 ? "1,000 or more" : `${place}`),
      "Waits because": found.why?.text,
      "Ready in about": eta === null ? null : seconds(eta),
      "Kept until": found.expires_at && moment(found.expires_at),
      ...Object.fromEntries(Object.entries(found.metadata ?? {}).map(([key, value]) => [`metadata: ${key}`, value])),
    };
    fill(facts, Object.entries(rows).filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  function showRequest(found) {
    const said = asked(found);
    const { messages, prompt, input, system, instructions, ...rest } = found;
    const raw = (what) => h("pre", { tabIndex: 0 }, JSON.stringify(what, null, 2));
    fill(
      request,
      h("h2", {}, "Asked"),
      said.map((message) => h("div.message", {}, h("span.label", {}, message.role), h("p.text", {}, message.text), message.images > 0 && h("p.muted", {}, `with ${plural(message.images, "image")}`))),
      said.length ? h("details", {}, h("summary", {}, "The rest of the request"), raw(rest)) : raw(found),
    );
  }

  function showAnswer(found) {
    if (!found.result) {
      fill(answer, h("h2", {}, "Answer"), h("p.muted", {}, "No answer"));
      return;
    }
    const { text, thinking, calls } = whole(found.result);
    fill(
      answer,
      h("div.row", {}, h("h2", {}, "Answer"), text && h("button.small", { onclick: () => copy(text, "The answer") }, "Copy answer")),
      thinking && h("p.thinking", {}, thinking),
      text && h("p.text", {}, text),
      calls.length > 0 && h("pre", { tabIndex: 0 }, JSON.stringify(calls, null, 2)),
      h("details", {}, h("summary", {}, "The whole result"), h("pre", { tabIndex: 0 }, JSON.stringify(found.result, null, 2))),
    );
  }

  const changed = (event) => {
    if (event.detail.some((change) => change.job_id === id)) refresh();
  };
  const again = () => link.state !== "dead" && refresh();
  const beat = setInterval(() => !ended && !document.hidden && again(), 2000); // its place in the line, and the time it takes
  feed.addEventListener("changes", changed);
  feed.addEventListener("reset", again);
  link.addEventListener("change", again);
  refresh();

  function stop() {
    alive = false;
    clearInterval(beat);
    live?.stop();
    artifacts.stop();
    feed.removeEventListener("changes", changed);
    feed.removeEventListener("reset", again);
    link.removeEventListener("change", again);
  }
  return stop;
}

/** All changes of a job, page by page. */
async function pages(path, name) {
  const all = [];
  for (let after = 0; after !== null; ) {
    const page = await get(`${path}/${name}?after=${after}`);
    all.push(...page[name]);
    after = page.next;
  }
  return all;
}
