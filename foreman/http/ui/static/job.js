import { ask, get, getJob } from "./api.js";
import { Artifacts } from "./artifacts.js";
import { cancelJob } from "./cancel.js";
import { confirm } from "./confirm.js";
import { copy } from "./copy.js";
import { Deliveries } from "./deliveries.js";
import { every, fill, gently, h, once, say, toast } from "./dom.js";
import { ENDED, called, heard, pill } from "./format.js";
import { Answered } from "./job_answer.js";
import { facts } from "./job_facts.js";
import { Neighbours } from "./job_neighbours.js";
import { Asked, requestOf } from "./job_request.js";
import { Waits } from "./job_waits.js";
import { LiveText } from "./live.js";
import { notifySwitch } from "./notifications.js";
import { timeline } from "./timeline.js";

/** One job: what became of it, what was asked, what was answered. */
export function jobView(main, { control, feed, link, id }) {
  const others = new Neighbours();
  const title = h("h1.row", {});
  const known = h("dl.facts", {});
  const actions = h("div.row.actions", {});
  const errorLine = h("p.error-line", { hidden: true, role: "alert" });
  const steps = h("section.card", { "aria-label": "Timeline" });
  const waits = new Waits();
  const request = new Asked();
  const answer = new Answered();
  const artifacts = new Artifacts(id);
  const deliveries = new Deliveries(id, () => refresh());
  const { signal } = control;
  let live = null;
  let shown = null; // the state that the page shows
  let ended = false;

  fill(main, others.element, title, errorLine, actions, known, waits.element, steps, request.element, answer.element, artifacts.element, deliveries.element);
  const readRequest = once(() => requestOf(id), (found) => !signal.aborted && request.show(found), (error) => !signal.aborted && request.say(unread(error)));
  readRequest();

  const refresh = gently(async () => {
    if (signal.aborted) return;
    try {
      const path = `/jobs/${encodeURIComponent(id)}`;
      const [found, events, log] = await Promise.all([getJob(id), pages(path, "events"), pages(path, "deliveries")]);
      if (!signal.aborted) show(found, events, log);
      readRequest();
    } catch (error) {
      if (![404, 405, 422].includes(error.status)) throw error; // 405 and 422: this is no id
      control.abort();
      fill(main, h("h1", {}, "No such job"), h("p.long", {}, `There is no job ${id}; it may have been removed. `, h("a", { href: "#/jobs" }, "All jobs")));
    }
  }, 300);

  function show(found, events, log) {
    ended = ENDED.has(found.state);
    say(errorLine, found.error ? `${found.error}${found.error_code ? ` (${found.error_code})` : ""}` : "");
    errorLine.hidden = !found.error;
    fill(known, facts(found));
    request.of(found);
    waits.show(found).catch(() => {}); // it is asked again with the next beat
    timeline(steps, events);
    deliveries.show(log, new Map(events.map((event) => [event.seq, event.state])));
    if (!shown) others.find(found);
    if (shown === found.state) return;
    shown = found.state;
    fill(title, pill(found.state), h("span.long", {}, found.model), !ended && heard());
    document.title = `${found.state}: ${found.model} · Foreman`;
    showActions(found);
    if (ended) {
      live?.stop();
      live = null;
      answer.show(found);
      artifacts.show(found.artifacts);
    } else if (!live) {
      live = new LiveText(id);
      answer.follow(live);
    }
    if (live) answer.wait(found.state === "queued");
  }

  function showActions(found) {
    const focused = actions.contains(document.activeElement);
    fill(
      actions,
      !ended && h("button", { onclick: () => cancelJob(found).then(refresh, (error) => toast(error.message, "bad")) }, "Cancel"),
      ended && found.state !== "done" && !found.batch_id && h("button", { onclick: () => act("POST", "/retry").then((done) => done && refresh()) }, "Retry"),
      ended && !found.batch_id && h("button", { onclick: () => remove(found) }, "Delete"),
      h("a.button", { href: `#/new?from=${id}` }, "Edit and run again"),
      h("a.button", { href: `#/compare/${id}` }, "Compare"),
      h("button", { onclick: () => copy(id, "The id") }, "Copy id"),
      !ended && notifySwitch(`jobs/${id}`, called(found)),
    );
    if (focused) actions.querySelector("button").focus();
  }

  async function act(method, step) {
    try {
      await ask(`/jobs/${id}${step}`, { method });
      return true;
    } catch (error) {
      toast(error.message, "bad");
      return false;
    }
  }

  async function remove(found) {
    const sure = await confirm({ title: "Delete this job?", words: `${found.model} ${called(found)}, with its answer, artifacts and events. This cannot be undone.`, verb: "Delete" });
    if (sure && (await act("DELETE", ""))) location.hash = "#/jobs";
  }

  const changed = (event) => {
    if (event.detail.some((change) => change.job_id === id)) refresh();
  };
  const again = () => link.state !== "dead" && refresh();
  every(2000, signal, () => !ended && !document.hidden && again()); // its place in the line, and the time it takes
  feed.addEventListener("changes", changed, { signal });
  feed.addEventListener("reset", again, { signal });
  link.addEventListener("change", again, { signal });
  signal.addEventListener("abort", () => {
    live?.stop();
    request.stop();
    answer.stop();
    artifacts.stop();
  });
  refresh();
}

/** Why a request cannot be shown. */
function unread(error) {
  if (error.status === 404) return "The request is no longer kept.";
  return error instanceof SyntaxError ? "The request is not JSON." : error.message;
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
