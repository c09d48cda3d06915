import { ask, get } from "./api.js";
import { every, fill, gently, h, keyed, say, toast } from "./dom.js";
import { Figures } from "./figures.js";
import { heard } from "./format.js";
import { LastHour } from "./last_hour.js";
import { OpenBatches } from "./open_batches.js";
import { head, row } from "./rows.js";
import { Running } from "./running.js";
import { TargetCard } from "./target_card.js";
import { Waiting } from "./waiting.js";

const WAITING = 20; // jobs listed
const RECENT = 10;

/** What the box is doing. */
export function nowView(main, { control, feed, link }) {
  const figures = new Figures();
  const cards = h("div.targets");
  const fleet = h("section", { "aria-label": "Targets", hidden: true }, h("div.row", {}, h("h2", {}, "Targets", heard()), h("a", { href: "#/targets" }, "All of them")), cards);
  const hour = new LastHour();
  const running = new Running();
  const batches = new OpenBatches();
  const waiting = new Waiting();
  const pause = h("button", { onclick: toggle }, "Pause");
  const title = h("span", {}, "Waiting");
  const recent = h("div", { role: "rowgroup" });
  const ended = h("div.table.jobs", { role: "table", "aria-label": "Recent jobs" }, head("Ended"), recent);
  const nothing = h("p.muted", { hidden: true }, "No job has ended yet. ", h("a", { href: "#/new" }, "Submit one"), ".");
  let queue = null; // the last answer of /queue
  let several = false; // whether there is more than one target
  let loaded = null; // the names of the models that the target has loaded
  const { signal } = control;

  fill(
    main,
    h("h1.hidden", {}, "Now"),
    h("section.cards", { "aria-label": "State" }, figures.elements),
    fleet,
    h("section", { "aria-label": "The last hour" }, h("div.charts", {}, hour.charts.map((chart) => chart.element)), hour.note),
    h("section", { "aria-label": "Running" }, h("h2", {}, "Running", heard()), running.list, running.more),
    batches.element,
    h("section", { "aria-label": "Waiting" }, h("div.row", {}, h("h2", {}, title, heard()), pause), waiting.elements),
    h("section", { "aria-label": "Recent" }, h("div.row", {}, h("h2", {}, "Recent"), h("a", { href: "#/jobs" }, "All jobs")), ended, nothing),
  );

  async function toggle() {
    try {
      await ask(queue?.paused ? "/queue/resume" : "/queue/pause", { method: "POST" });
      readQueue();
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  const readQueue = gently(async () => {
    const [found, line] = await Promise.all([get("/queue"), get(`/queue/jobs?limit=${WAITING}`)]);
    if (signal.aborted) return;
    queue = found;
    figures.show(link, queue, loaded);
    several = queue.targets.length > 1;
    running.show(queue.running, several);
    waiting.show(queue, line);
    fleet.hidden = !several;
    if (several) readTargets();
    say(title, queue.paused ? "Waiting, paused" : "Waiting");
    say(pause, queue.paused ? "Resume" : "Pause");
    pause.classList.toggle("primary", queue.paused);
  }, 500);

  const readTargets = gently(async () => {
    const { targets } = await get("/targets");
    if (!signal.aborted) keyed(cards, targets, { key: (one) => one.name, make: (one) => new TargetCard(one), update: (card, one) => card.show(one) });
  }, 1000);

  const readLoaded = gently(async () => {
    loaded = await get("/api/ps", { signal: AbortSignal.timeout(2000) }).then((found) => found.models.map((model) => model.name), () => null);
    if (!signal.aborted) figures.show(link, queue, loaded);
  }, 2000);

  const readRecent = gently(async () => {
    const { jobs } = await get(`/jobs?order=ended&limit=${RECENT}`);
    if (signal.aborted) return;
    keyed(recent, jobs, { key: (job) => `${job.job_id} ${job.state} ${job.completed_at}`, make: (job) => ({ element: row(job, "completed_at") }) });
    nothing.hidden = jobs.length > 0;
    ended.hidden = !nothing.hidden;
  }, 1000);

  const readUsage = gently(() => hour.refresh(), 3000);

  const changed = () => {
    readQueue();
    readRecent();
    readUsage();
    batches.read();
    if (link.state !== "away") readLoaded();
  };
  const judged = () => {
    figures.show(link, queue, loaded);
    if (link.state !== "dead") changed();
  };
  every(1000, signal, () => {
    if (document.hidden || link.state === "dead") return;
    running.tick();
    batches.tick();
    readQueue();
    readUsage();
    if (link.state !== "away") readLoaded();
  });
  const looked = () => running.show(queue?.running ?? [], several);
  feed.addEventListener("changes", changed, { signal });
  feed.addEventListener("reset", changed, { signal });
  link.addEventListener("change", judged, { signal });
  document.addEventListener("visibilitychange", looked, { signal });
  signal.addEventListener("abort", () => running.stop());
  changed();
}
