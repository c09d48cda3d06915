import { ask, get } from "./api.js";
import { Chart } from "./charts.js";
import { fill, gently, h, say, toast } from "./dom.js";
import { RUNNING, age, count, pill, seconds, took } from "./format.js";
import { LiveText } from "./live.js";
import { head, row } from "./rows.js";

const STREAMS = 3; // texts shown at a time: a browser opens six connections to one server
const WAITING = 20;
const RECENT = 10;

/** What the box is doing. */
export function now(main, { jobs, history }) {
  const cards = Object.fromEntries(["Target", "Model", "Running", "Waiting", "Longest wait"].map((name) => [name, card(name)]));
  const pause = h("button", { onclick: toggle }, "Pause");
  const charts = [new Chart("Jobs ended a minute", "bars"), new Chart("Jobs waiting", "line"), new Chart("Median wait", "line")];
  const running = h("div.running", {});
  const waiting = h("ol.waiting", {});
  const waitingTitle = h("h2", {}, "Waiting");
  const more = h("p.muted", {});
  const recent = h("div", { role: "rowgroup" });
  const shown = new Map(); // id -> { element, live, … } of what runs
  let queue = null;
  let alive = true;

  fill(
    main,
    h("h1.hidden", {}, "Now"),
    h("section.cards", { "aria-label": "State" }, Object.values(cards).map((one) => one.element)),
    h("section.charts", { "aria-label": "The last ten minutes" }, charts.map((chart) => chart.element)),
    h("section", { "aria-label": "Running" }, h("h2", {}, "Running"), running),
    h("section", { "aria-label": "Waiting" }, h("div.row", {}, waitingTitle, pause), waiting, more),
    h("section", { "aria-label": "Recent" }, h("div.row", {}, h("h2", {}, "Recent"), h("a", { href: "#/jobs" }, "All jobs")), h("div.table", { role: "table", "aria-label": "Recent jobs" }, head(), recent)),
  );

  async function toggle() {
    try {
      await ask(queue?.paused ? "/queue/resume" : "/queue/pause", { method: "POST" });
      refresh();
    } catch (fault) {
      toast(fault.message, "bad");
    }
  }

  const refresh = gently(async () => {
    try {
      const [found, line, health, ps] = await Promise.all([get("/queue"), get(`/queue/jobs?limit=${WAITING}`), get("/healthz"), get("/api/ps").catch(() => null)]);
      if (!alive) return;
      queue = found;
      history.at(Date.now()).depth = queue.queued;
      showState(health, ps);
      showWaiting(line.jobs);
    } catch {
      // The link says that Foreman is away; the next refresh is not far.
    }
  }, 1000);

  function showState(health, ps) {
    const away = queue.degraded;
    cards.Target.show(away ? "away" : "up", health.target_error ?? "answers", away ? "bad" : "good");
    const loaded = ps?.models?.map((model) => model.name) ?? [];
    const resident = queue.resident ?? loaded[0] ?? null;
    cards.Model.show(resident ?? "none", resident ? "loaded" : "loaded with the first job");
    cards.Running.show(`${queue.running.length} of ${queue.slots}`, queue.slots === 1 ? "slot" : "slots");
    cards.Waiting.show(count(queue.queued), queue.paused ? "paused" : models(queue.by_model), queue.paused ? "warn" : "");
    cards["Longest wait"].show(queue.oldest_seconds === null ? "–" : seconds(queue.oldest_seconds), "of those that may run");
    say(pause, queue.paused ? "Resume" : "Pause");
    pause.classList.toggle("primary", queue.paused);
  }

  function showWaiting(line) {
    say(waitingTitle, queue.paused ? "Waiting, paused" : "Waiting");
    fill(
      waiting,
      line.map((job) =>
        h(
          "li.card",
          {},
          h("span.position", {}, `${job.queue_position}`),
          h("a.grow", { href: `#/jobs/${job.job_id}` }, h("b", {}, job.model), h("span.mono.muted", {}, ` ${job.custom_id ?? `…${job.job_id.slice(-8)}`}`)),
          job.priority !== "normal" && h(`span.tag.${job.priority}`, {}, job.priority),
          h("span.when.muted", {}, `for ${age(job.created_at)}`, job.eta_seconds !== null && `, ready in about ${seconds(job.eta_seconds)}`),
          h("button.small", { "aria-label": `Cancel job ${job.job_id}`, onclick: () => ask(`/jobs/${job.job_id}/cancel`, { method: "POST" }).catch((fault) => toast(fault.message, "bad")) }, "Cancel"),
        ),
      ),
    );
    const others = queue.queued - line.length;
    say(more, line.length ? (others > 0 ? `and ${count(others)} more` : "") : queue.queued ? `${count(queue.queued)} wait for their time` : "Nothing waits.");
  }

  function showRunning() {
    const active = document.hidden ? [] : jobs.order.map((id) => jobs.known.get(id)).filter((job) => RUNNING.has(job.state));
    const ids = new Set(active.map((job) => job.job_id));
    for (const [id, one] of shown) {
      if (ids.has(id)) continue;
      one.live?.stop();
      one.element.remove();
      shown.delete(id);
    }
    for (const job of active) {
      let one = shown.get(job.job_id);
      if (!one) {
        const following = [...shown.values()].filter((other) => other.live).length < STREAMS;
        one = { live: following ? new LiveText(job.job_id, { tail: true }) : null, state: h("span", {}), time: h("span.muted", {}) };
        one.element = h(
          "article.card.job",
          {},
          h("div.row", {}, one.state, h("a.grow", { href: `#/jobs/${job.job_id}` }, h("b", {}, job.model), h("span.mono.muted", {}, ` ${job.custom_id ?? `…${job.job_id.slice(-8)}`}`)), one.time),
          one.live ? one.live.element : h("p.muted", {}, "Open it to follow its text."),
        );
        shown.set(job.job_id, one);
        running.append(one.element);
      }
      if (one.shown !== job.state) fill(one.state, pill((one.shown = job.state)));
      say(one.time, `${job.attempt > 1 ? `attempt ${job.attempt}, ` : ""}${seconds(took(job))}`);
    }
    running.classList.toggle("empty", active.length === 0);
  }

  function showRecent() {
    const ended = jobs.order.slice(0, 200).map((id) => jobs.known.get(id)).filter((job) => !RUNNING.has(job.state) && job.state !== "queued");
    fill(recent, ended.length ? ended.slice(0, RECENT).map((job) => row(job)) : h("div.pad.muted", { role: "row" }, h("span", { role: "cell" }, "No job has ended yet. ", h("a", { href: "#/new" }, "Submit one"), ".")));
  }

  function showCharts() {
    const { ended, depths, waits } = history;
    const perMinute = ended.slice(-7, -1).reduce((sum, value) => sum + value, 0);
    charts[0].draw(ended.map((value) => value * 6), count(perMinute), (top) => count(Math.round(top)));
    charts[1].draw(depths, count(queue?.queued ?? depths.at(-1)), count);
    charts[2].draw(waits, seconds(waits.filter((value) => value !== null).at(-1) ?? null), seconds);
  }

  const drawAll = gently(() => {
    if (!alive) return;
    showRunning();
    showRecent();
    showCharts();
  }, 250);

  const changed = () => {
    drawAll();
    refresh();
  };
  jobs.addEventListener("changes", changed);
  jobs.addEventListener("reset", changed);
  const clock = setInterval(changed, 2000);
  document.addEventListener("visibilitychange", showRunning); // a page that nobody sees follows no texts
  changed();

  return () => {
    alive = false;
    clearInterval(clock);
    document.removeEventListener("visibilitychange", showRunning);
    jobs.removeEventListener("changes", changed);
    jobs.removeEventListener("reset", changed);
    for (const one of shown.values()) one.live?.stop();
  };
}

function card(name) {
  const value = h("strong", {}, "…");
  const note = h("span.muted", {});
  const element = h("div.card", {}, h("span.label", {}, name), value, note);
  return {
    element,
    show(text, words, kind = "") {
      say(value, text);
      value.title = text;
      say(note, words);
      note.title = words;
      element.dataset.kind = kind;
    },
  };
}

function models(byModel) {
  const names = Object.keys(byModel);
  if (!names.length) return "nothing";
  return names.length === 1 ? `for ${names[0]}` : `for ${names.length} models`;
}
