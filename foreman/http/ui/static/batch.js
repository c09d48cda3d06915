import { ask, get } from "./api.js";
import { Bar, PARTS, batchPill, ended, furtherMetadata, isCancellable, isLate, isOpen, modelOf, named, pace, progress, showErrors, timeLeft, worded } from "./batch_parts.js";
import { now } from "./clock.js";
import { confirm } from "./confirm.js";
import { copy } from "./copy.js";
import { every, fill, gently, h, keyed, say, toast } from "./dom.js";
import { download } from "./download.js";
import { bytes, count, heard, moment, plural, seconds } from "./format.js";
import { walk } from "./neighbours.js";
import { notifySwitch } from "./notifications.js";

const EVERY = 2000; // ms between looks while it is open; changes of jobs may come before
const CONTENT = "/content"; // of a file that may be removed before its batch
const FILES = [
  ["output", "Output"],
  ["errors", "Errors"],
];

/** One batch: how far it is, what is wrong with it, its files. */
export function batchView(main, { control, feed, link, id }) {
  const path = `/batches/${encodeURIComponent(id)}`;
  const title = h("h1.row", {});
  const actions = h("div.row.actions", {});
  const errorLine = h("p.error-line", { hidden: true, role: "alert" });
  const late = h("p.late", { hidden: true });
  const bar = new Bar();
  const words = h("b");
  const speed = h("span.muted");
  const legend = h("ul.counts", {});
  const facts = h("dl.facts.wide", {});
  const steps = h("ol.steps", {});
  const files = h("ul.plain", {});
  const noFiles = h("p.muted", {}, "They are written once all lines have ended.");
  const errors = h("ol.errors", { tabIndex: 0 });
  const wrong = h("section.card", { "aria-label": "Errors of the input", hidden: true }, h("h2", {}, "Errors of the input"), errors);
  const progressed = h("section.card", { "aria-label": "Progress" }, h("div.row.between", {}, words, speed), bar.element, legend);
  const body = [
    progressed,
    wrong,
    h("section.card", { "aria-label": "Files" }, h("h2", {}, "Files"), files, noFiles),
    h("section", { "aria-label": "Facts" }, facts),
    h("section.card", { "aria-label": "States" }, h("h2", {}, "States"), steps),
  ];
  const { signal } = control;
  let going = true;
  let shown = "";

  fill(main, walk("Way back", "/batches"), title, errorLine, late, actions, body);
  for (const element of body) element.classList.add("pending");

  const refresh = gently(async () => {
    if (signal.aborted) return;
    try {
      const found = await get(path);
      if (!signal.aborted) show(found);
    } catch (error) {
      if (error.status !== 404) throw error;
      control.abort();
      fill(main, h("h1", {}, "No such batch"), h("p.long", {}, `There is no batch ${id}; it may have been removed. `, h("a", { href: "#/batches" }, "All batches")));
    }
  }, 1000);

  function show(found) {
    going = isOpen(found);
    for (const element of body) element.classList.remove("pending");
    progressed.hidden = found.state === "failed" && !found.total;
    bar.show(found);
    say(words, progress(found));
    const left = found.ended_at ? timeLeft(found) : found.eta_seconds === null ? "" : `${timeLeft(found)} left`;
    say(speed, [found.lines_per_minute === null ? "" : pace(found), left].filter(Boolean).join(" · "));
    late.hidden = !isLate(found);
    say(late, late.hidden ? "" : `At this speed its window ends first, ${moment(found.ends_by)}: what is left then expires. The setting batch_window is how long it is.`);
    errorLine.hidden = found.state !== "failed";
    say(errorLine, errorLine.hidden ? "" : !found.total ? `Nothing was run: its input has ${plural(found.errors.length, "error")}.` : (found.errors.at(-1)?.message ?? "It failed."));
    showCounts(found);
    showFacts(found);
    showTimes(found);
    const stage = `${found.state} ${ended(found) + found.queued > 0}`;
    if (shown === stage) return;
    shown = stage;
    fill(title, batchPill(found.state), h("span.long", {}, named(found)), going && heard());
    document.title = `${worded(found.state)}: ${named(found)} · Foreman`;
    showActions(found);
    showFiles(found);
    wrong.hidden = !found.errors.length;
    showErrors(errors, found.errors);
  }

  /** The parts of the bar, each with a link to its jobs. */
  function showCounts(found) {
    const jobs = (states) => `#/jobs?${new URLSearchParams({ batch_id: id, ...(states ? { state: states } : {}) })}`;
    const all = [...PARTS.map((name) => ({ name, value: found[name], href: jobs(name) })), { name: "waiting or running", shade: "now", value: found.queued, href: jobs("queued,loading,working") }, { name: "to come", shade: "later", value: found.total === null ? 0 : found.total - ended(found) - found.queued }];
    keyed(legend, all.filter((one) => one.value > 0), {
      key: (one) => one.name,
      make: (one) => {
        const number = h("b");
        const inside = [h(`i.${one.shade ?? one.name}`), number, ` ${one.name}`];
        return { number, element: h("li", {}, one.href ? h("a", { href: one.href }, inside) : inside) };
      },
      update: (entry, one) => say(entry.number, count(one.value)),
    });
  }

  function showFacts(found) {
    const tokens = found.prompt_tokens + found.answer_tokens;
    const rows = {
      Id: h("span.mono", {}, found.batch_id),
      Model: modelOf(found),
      Endpoint: found.endpoint && h("span.mono", {}, found.endpoint),
      By: found.owner,
      Tokens: tokens > 0 && `${count(found.prompt_tokens)} of prompts${found.cached_tokens ? ` (${count(found.cached_tokens)} cached)` : ""}, ${count(found.answer_tokens)} of answers`,
      "Window ends": going && found.ends_by && moment(found.ends_by),
      "Kept until": found.expires_at && moment(found.expires_at),
      ...Object.fromEntries(furtherMetadata(found).map(([key, value]) => [`Metadata: ${key}`, value])),
    };
    const mark = JSON.stringify({ ...rows, Id: "", Endpoint: "" });
    if (facts.mark === mark) return;
    facts.mark = mark;
    fill(facts, Object.entries(rows).filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  /** When it entered each state, and how long it was in it. */
  function showTimes(found) {
    const entered = [["validating", found.created_at], ...Object.entries(found.times)].sort((a, b) => Date.parse(a[1]) - Date.parse(b[1]));
    const all = entered.map(([state, at], place) => ({ state, at, until: entered[place + 1]?.[1] ?? (going ? new Date(now()).toISOString() : null) }));
    keyed(steps, all, {
      key: (one) => one.state,
      make: (one) => {
        const lasted = h("span");
        return { lasted, element: h("li", {}, h("span.place"), h("span.muted", {}, moment(one.at)), lasted) };
      },
      update: (entry, one) => {
        const pulses = going && one.state === found.state;
        if (entry.pulses !== pulses) {
          const pill = batchPill(one.state);
          pill.classList.toggle("goes", pulses);
          fill(entry.element.firstChild, pill);
          entry.pulses = pulses;
        }
        say(entry.lasted, one.until ? seconds(Math.max(0, Date.parse(one.until) - Date.parse(one.at)) / 1000) : "");
      },
    });
  }

  function showActions(found) {
    const focused = actions.contains(document.activeElement);
    fill(
      actions,
      ended(found) + found.queued > 0 && h("a.button", { href: `#/jobs?${new URLSearchParams({ batch_id: id })}` }, "Its jobs"),
      isCancellable(found) && h("button", { onclick: () => cancel(found) }, "Cancel"),
      h("button", { onclick: () => copy(id, "The id") }, "Copy id"),
      going && notifySwitch(`batches/${id}`, named(found)),
    );
    if (focused) actions.querySelector("a, button").focus();
  }

  async function cancel(found) {
    const sure = await confirm({
      title: "Cancel this batch?",
      words: `${named(found)}: running lines are stopped, the others never start. What is answered stays in its output file.`,
      verb: "Cancel the batch",
    });
    if (!sure) return;
    try {
      await ask(`${path}/cancel`, { method: "POST" });
    } catch (error) {
      toast(error.message, "bad");
    }
    refresh();
  }

  function showFiles(found) {
    const all = FILES.filter(([name]) => found.links[name]);
    const there = all.length || !ended(found) || !found.links.results ? all : [["results", "Results"]];
    noFiles.hidden = there.length > 0;
    say(noFiles, going ? "They are written once all lines have ended." : "There are none: no line was run.");
    const lines = { output: found.done, errors: ended(found) - found.done, results: ended(found) };
    fill(files, there.map(([name, label]) => file(label, found.links[name], lines[name])));
  }

  /** A file to download; how large it is, or that it is gone, is found out. */
  function file(label, link, lines) {
    const said = h("span.muted.long", {}, plural(lines, "line"));
    let name = `${id}_${label.toLowerCase()}.jsonl`;
    const save = () => download(link, name).catch((error) => toast(error.message, "bad"));
    const button = h("button.small", { "aria-label": `Download ${label.toLowerCase()}`, onclick: save }, "Download");
    if (link.endsWith(CONTENT)) {
      get(link.slice(0, -CONTENT.length)).then(
        (found) => {
          name = found.filename;
          say(said, `${plural(lines, "line")}, ${bytes(found.bytes)}`);
        },
        (error) => {
          if (error.status !== 404) return;
          say(said, "removed");
          button.hidden = true;
        },
      );
    }
    return h("li.row", {}, h("b", {}, label), said, button);
  }

  const changed = () => going && refresh();
  const again = () => link.state !== "dead" && refresh();
  every(EVERY, signal, () => going && !document.hidden && again());
  feed.addEventListener("changes", changed, { signal });
  feed.addEventListener("reset", again, { signal });
  link.addEventListener("change", again, { signal });
  refresh();
}
