import { get } from "./api.js";
import { now } from "./clock.js";
import { every, fill, gently, h, say } from "./dom.js";
import { count, heard, plural, seconds } from "./format.js";
import { charts } from "./usage_charts.js";
import { DIMENSIONS, ENDS, PERIODS, read, whenOf } from "./usage_figures.js";

const OFTEN = 5000; // ms between looks at minutes
const SELDOM = 60_000; // and at longer steps
const ADDED = 400; // a frame's worth of rows

/** What was done in a period, for whom, how fast. The choice is in the page's address. */
export function usageView(main, { control, feed, link, query }) {
  const chosen = Object.hasOwn(PERIODS, query.get("period")) ? query.get("period") : "day";
  const period = PERIODS[chosen];
  const by = DIMENSIONS.includes(query.get("by")) ? query.get("by") : "";
  const only = Object.fromEntries(DIMENSIONS.filter((name) => query.has(name)).map((name) => [name, query.get(name)]));
  const dimension = by || DIMENSIONS.find((name) => !(name in only)) || "model";
  const split = h("select", { onchange: () => go({ by: split.value }) }, h("option", { value: "" }, "nothing"), DIMENSIONS.map((name) => h("option", { value: name }, name)));
  split.value = by;
  const periods = h("div.periods", { role: "group", "aria-label": "Period" }, Object.entries(PERIODS).map(([name, one]) => h("a.button.small", { href: address({ period: name }), "aria-current": name === chosen ? "true" : null }, one.words)));
  const drawn = charts(period, by);
  const note = h("p.muted.since", { role: "status" }, "Looking …");
  const body = h("tbody");
  const table = h("div.scroll", { tabIndex: 0, role: "region", "aria-label": `By ${dimension}` }, h("table.sums", {}, h("thead", {}, h("tr", {}, [dimension, "Done", "Not done", "Read", "Cached", "Written", "Busy", "Share", "Cost"].map((name, place) => h("th", { scope: "col", className: place ? "number" : "" }, capital(name))))), body));
  const sums = h("section", { "aria-label": "Sums", hidden: true }, h("h2", {}, `By ${dimension}`), table);
  let looked = 0;
  const { signal } = control;

  fill(
    main,
    h("div.row.titled", {}, h("h1", {}, "Usage", heard()), h("label.inline", {}, "Split by", split)),
    periods,
    Object.entries(only).map(([name, value]) => h("p.row.chosen", {}, h("span", {}, `Only ${name} `, h("b", {}, called(value))), h("a.button.small", { href: address({ [name]: null }) }, "All of them"))),
    note,
    h("section.charts.wide", { "aria-label": "Charts" }, drawn.elements),
    sums,
  );

  function address(change) {
    const given = Object.entries({ period: chosen, by, ...only, ...change }).filter(([name, value]) => value !== null && (value || DIMENSIONS.includes(name)));
    return `#/usage?${new URLSearchParams(given)}`;
  }

  function go(change) {
    location.hash = address(change);
  }

  const look = gently(async () => {
    if (signal.aborted) return;
    looked = Date.now();
    try {
      const [found, queue] = await Promise.all([read(period, dimension, only), get("/queue")]);
      if (!signal.aborted) draw(found, queue.slots);
    } catch (error) {
      if (!signal.aborted) say(note, error.message);
      throw error;
    }
  }, 500);

  function draw({ steps, all, sums: named }, slots) {
    const known = steps.filter((one) => one.figures);
    drawn.draw({ steps, all, sums: named, slots, now: now() });
    const ended = ENDS.reduce((sum, name) => sum + all[name], 0);
    const paid = all.cost === null ? "" : ` Cost: ${amount(all.cost)}.`;
    const whole = known.length === steps.length ? "" : known.length ? ` Counting began ${whenOf(period)(known[0].at)}.` : "";
    say(note, `${ended ? `${plural(ended, "job")} ended` : "No job ended"} in this period.${paid}${whole}`);
    sums.hidden = !named.length;
    table.classList.toggle("free", all.cost === null);
    const busy = all.busy_seconds;
    fill(body, named.slice(0, ADDED).map((one) => line(one, busy)));
  }

  function line(one, busy) {
    const share = busy ? one.busy_seconds / busy : 0;
    const name = h("a", { href: address({ [dimension]: one.by, by: by && by !== dimension ? by : "" }) }, called(one.by));
    const bad = ENDS.slice(1).reduce((sum, end) => sum + one[end], 0);
    const numbers = [count(one.done), bad ? count(bad) : "–", count(one.prompt_tokens), count(one.cached_tokens), count(one.answer_tokens), seconds(one.busy_seconds)];
    const bar = h("meter", { min: 0, max: 1, value: share, "aria-hidden": "true" });
    return h("tr", {}, h("th", { scope: "row" }, name), numbers.map((value) => h("td.number", {}, value)), h("td.number.share", {}, `${Math.round(100 * share)} % `, bar), h("td.number", {}, one.cost === null ? "–" : amount(one.cost)));
  }

  const judged = () => link.state !== "dead" && look();
  every(1000, signal, () => {
    if (document.hidden || link.state === "dead" || Date.now() - looked < (period.step === "minute" ? OFTEN : SELDOM)) return;
    look();
  });
  feed.addEventListener("reset", judged, { signal });
  link.addEventListener("change", judged, { signal });
  document.addEventListener("visibilitychange", judged, { signal });
  look();
}

/** An amount of money, in whatever currency the prices are. */
function amount(value) {
  return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

function called(name) {
  return name || "(no name)";
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}
