import { ask, get } from "./api.js";
import { asked, whole } from "./answer.js";
import { fill, gently, h, say, toast } from "./dom.js";
import { ENDED, RUNNING, bytes, moment, pill, seconds } from "./format.js";
import { LiveText } from "./live.js";

const MOST_TEXT = 200_000; // characters of an artifact shown on the page

/** One job: what became of it, what was asked, what was answered. */
export function job(main, { jobs, id }) {
  const title = h("h1.row", {});
  const facts = h("dl.facts", {});
  const actions = h("div.row.actions", {});
  const fault = h("p.fault", { hidden: true, role: "alert" });
  const timeline = h("section.card", { "aria-label": "Timeline" });
  const request = h("section.card", { "aria-label": "Asked" }, h("h2", {}, "Asked"));
  const answer = h("section.card", { "aria-label": "Answered" });
  const artifacts = h("section.card", { "aria-label": "Artifacts", hidden: true });
  const deliveries = h("section.card", { "aria-label": "Webhooks", hidden: true });
  const urls = [];
  let alive = true;
  let live = null;
  let shown = null; // the state that the page shows

  fill(main, title, fault, actions, facts, timeline, request, answer, artifacts, deliveries);
  get(`/jobs/${id}/request`)
    .then((found) => alive && showRequest(found))
    .catch(() => {});

  const refresh = gently(async () => {
    try {
      const [found, events, log] = await Promise.all([get(`/jobs/${id}`), changes(id), get(`/jobs/${id}/deliveries`)]);
      if (alive) show(found, events, log.deliveries);
    } catch (problem) {
      if (!alive) return;
      if (problem.status === 404) fill(main, h("h1", {}, "No such job"), h("p", {}, `There is no job ${id}; it may have been removed. `, h("a", { href: "#/jobs" }, "All jobs")));
    }
  }, 300);

  function show(found, events, log) {
    fill(title, pill(found.state), h("span", {}, found.model));
    fault.hidden = !found.error;
    say(fault, found.error ? `${found.error}${found.error_code ? ` (${found.error_code})` : ""}` : "");
    showActions(found);
    showFacts(found);
    showTimeline(events);
    showDeliveries(log, new Map(events.map((event) => [event.seq, event.state])));
    if (RUNNING.has(found.state) || found.state === "queued") {
      if (!live) {
        live = new LiveText(id);
        fill(answer, h("h2", {}, "Answer"), live.element);
      }
    } else if (shown !== found.state) {
      live?.stop();
      live = null;
      showAnswer(found);
      showArtifacts(found.artifacts);
    }
    shown = found.state;
    document.title = `${found.state}: ${found.model} · Foreman`;
  }

  function showActions(found) {
    const act = (name, method, path, then) =>
      h("button", { onclick: () => ask(path, { method }).then(then ?? refresh, (problem) => toast(problem.message, "bad")) }, name);
    const gone = () => {
      jobs.forget(id);
      location.hash = "#/jobs";
    };
    fill(
      actions,
      !ENDED.has(found.state) && act("Cancel", "POST", `/jobs/${id}/cancel`),
      ENDED.has(found.state) && found.state !== "done" && act("Retry", "POST", `/jobs/${id}/retry`),
      ENDED.has(found.state) && act("Delete", "DELETE", `/jobs/${id}`, gone),
      h("button", { onclick: () => navigator.clipboard.writeText(id).then(() => toast("The id is copied.")) }, "Copy id"),
    );
  }

  function showFacts(found) {
    const rows = {
      Id: h("span.mono", {}, found.job_id),
      "Custom id": found.custom_id,
      Submitted: moment(found.created_at),
      By: found.owner,
      Endpoint: h("span.mono", {}, found.endpoint),
      Priority: found.priority,
      Attempt: `${found.attempt} of ${found.max_attempts}`,
      Position: found.queue_position && (found.queue_position >= 1000 ? "1,000 or more" : `${found.queue_position}`),
      "Ready in about": found.eta_seconds === null ? null : seconds(found.eta_seconds),
      "Not before": found.not_before && moment(found.not_before),
      "Kept until": found.expires_at && moment(found.expires_at),
      ...Object.fromEntries(Object.entries(found.metadata ?? {}).map(([key, value]) => [`metadata: ${key}`, value])),
    };
    fill(facts, Object.entries(rows).filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  /** The time in each state, drawn to scale; the last state lasts until now, or has no length. */
  function showTimeline(events) {
    const parts = events.map((event, place) => {
      const from = Date.parse(event.timestamp);
      const next = events[place + 1];
      const until = next ? Date.parse(next.timestamp) : ENDED.has(event.state) ? from : Date.now();
      return { event, lasted: Math.max(0, until - from) / 1000 };
    });
    const all = parts.reduce((sum, part) => sum + part.lasted, 0) || 1;
    const segments = parts.filter((part) => part.lasted > 0);
    fill(
      timeline,
      h("h2", {}, "Timeline"),
      h(
        "div.scale",
        { role: "img", "aria-label": segments.map((part) => `${part.event.state} ${seconds(part.lasted)}`).join(", ") },
        segments.map((part) => {
          const bar = h(`span.${part.event.state}`, { title: `${part.event.state}: ${seconds(part.lasted)}` }, part.lasted / all > 0.12 ? `${part.event.state} ${seconds(part.lasted)}` : "");
          bar.style.flexGrow = part.lasted / all;
          return bar;
        }),
      ),
      h(
        "ol.steps",
        {},
        parts.map(({ event, lasted }) =>
          h("li", {}, pill(event.state), h("span.muted", {}, moment(event.timestamp)), event.attempt > 0 && h("span.muted", {}, `attempt ${event.attempt}`), lasted > 0 && h("span", {}, seconds(lasted)), event.error && h("span.bad", {}, event.error)),
        ),
      ),
    );
  }

  function showRequest(found) {
    const said = asked(found);
    const { messages, prompt, input, system, instructions, ...rest } = found;
    const raw = (what) => h("pre", { tabIndex: 0 }, JSON.stringify(what, null, 2));
    fill(
      request,
      h("h2", {}, "Asked"),
      said.map((message) => h("div.message", {}, h("span.label", {}, message.role), h("p.text", {}, message.text), message.images > 0 && h("p.muted", {}, `with ${message.images} image${message.images > 1 ? "s" : ""}`))),
      said.length ? h("details", {}, h("summary", {}, "The rest of the request"), raw(rest)) : raw(found),
    );
  }

  function showAnswer(found) {
    if (!found.result) {
      fill(answer, h("h2", {}, "Answer"), h("p.muted", {}, "There is none."));
      return;
    }
    const { text, thinking, calls } = whole(found.result);
    fill(
      answer,
      h("h2", {}, "Answer"),
      thinking && h("p.thinking", {}, thinking),
      text && h("p.text", {}, text),
      calls.length > 0 && h("pre", { tabIndex: 0 }, JSON.stringify(calls, null, 2)),
      h("details", {}, h("summary", {}, "The whole result"), h("pre", { tabIndex: 0 }, JSON.stringify(found.result, null, 2))),
    );
  }

  function showArtifacts(list) {
    artifacts.hidden = !list.length;
    fill(
      artifacts,
      h("h2", {}, "Artifacts"),
      h(
        "ul.plain",
        {},
        list.map((one) => {
          const box = h("div", {});
          const item = h(
            "li",
            {},
            h("div.row", {}, h("span.mono", {}, one.name), h("span.muted", {}, `${one.content_type}, ${bytes(one.size)}`), h("button.small", { onclick: () => show(one, box) }, "Show"), h("button.small", { onclick: () => download(one) }, "Download")),
            box,
          );
          if (one.content_type.startsWith("image/")) show(one, box);
          return item;
        }),
      ),
    );

    async function blob(one) {
      return (await ask(`/jobs/${id}/artifacts/${encodeURIComponent(one.name)}`)).blob();
    }

    async function show(one, box) {
      if (one.content_type.startsWith("image/")) {
        const url = URL.createObjectURL(await blob(one));
        urls.push(url);
        fill(box, h("img.artifact", { src: url, alt: one.name }));
      } else {
        const text = await (await blob(one)).text();
        fill(box, h("pre", { tabIndex: 0 }, text.slice(0, MOST_TEXT)), text.length > MOST_TEXT && h("p.muted", {}, "The rest is in the download."));
      }
    }

    async function download(one) {
      const url = URL.createObjectURL(await blob(one));
      urls.push(url);
      h("a", { href: url, download: one.name }).click();
    }
  }

  function showDeliveries(log, states) {
    deliveries.hidden = !log.length;
    fill(
      deliveries,
      h("h2", {}, "Webhooks"),
      h(
        "ul.plain",
        {},
        log.map((one) =>
          h(
            "li.row",
            {},
            h("span.grow", {}, `${states.get(one.seq) ?? one.seq} to ${one.url}`),
            h("span.muted", {}, `${one.state}, ${one.attempts} attempt${one.attempts === 1 ? "" : "s"}${one.status ? `, last answer ${one.status}` : ""}${one.error ? `, ${one.error}` : ""}`),
            ENDED_DELIVERIES.has(one.state) &&
              h("button.small", { onclick: () => ask(`/jobs/${id}/deliveries/${one.delivery_id}/redeliver`, { method: "POST" }).then(refresh, (problem) => toast(problem.message, "bad")) }, "Redeliver"),
          ),
        ),
      ),
    );
  }

  const changed = (event) => {
    if (event.detail.some((change) => change.job_id === id)) refresh();
  };
  const again = () => refresh();
  jobs.addEventListener("changes", changed);
  jobs.addEventListener("reset", again);
  refresh();

  return () => {
    alive = false;
    live?.stop();
    urls.forEach((url) => URL.revokeObjectURL(url));
    jobs.removeEventListener("changes", changed);
    jobs.removeEventListener("reset", again);
    document.title = "Foreman";
  };
}

/** All changes of a job, page by page. */
async function changes(id) {
  const all = [];
  for (let after = 0; after !== null; ) {
    const { events, next } = await get(`/jobs/${id}/events?after=${after}`);
    all.push(...events);
    after = next;
  }
  return all;
}

const ENDED_DELIVERIES = new Set(["delivered", "dead", "stopped"]);
