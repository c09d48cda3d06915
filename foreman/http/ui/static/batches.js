import { get } from "./api.js";
import { OPEN, OVER, isOpen, worded } from "./batch_parts.js";
import { Row, head } from "./batch_rows.js";
import { every, fill, gently, h, keyed, say } from "./dom.js";
import { heard, plural } from "./format.js";

const PAGE = 50; // batches read at a time
const BUSY = 2000; // ms between looks while a batch is open; changes of jobs may come before
const IDLE = 10_000; // ms between looks for new ones, of which no event tells before they have jobs
const GROUPS = [
  ["open", OPEN.join(",")],
  ["ended", OVER.join(",")],
];

/** All batches, newest first. The filter is in the page's address. */
export function batchesView(main, { control, feed, link, query }) {
  let wanted = query.get("state") ?? "";
  const state = h("select", { onchange: choose }, h("option", { value: "" }, "any"), [...GROUPS, ...[...OPEN, ...OVER].map((name) => [worded(name), name])].map(([words, value]) => h("option", { value }, words)));
  state.value = wanted;
  if (state.selectedIndex < 0) state.append(h("option", { value: wanted, selected: true }, wanted)); // as the address has it
  const body = h("div", { role: "rowgroup" });
  const table = h("div.table.batches", { role: "table", "aria-label": "Batches", hidden: true }, head(), body);
  const more = h("button", { hidden: true, onclick: () => (pages++, load()) }, "Show more");
  const total = h("span", { role: "status" }, "Looking …");
  const nothing = h("section.card.empty", { hidden: true });
  let pages = 1;
  const { signal } = control;
  let going = false; // whether one of them is open
  let looked = 0;

  fill(main, h("div.row.titled", {}, h("h1", {}, "Batches"), h("label.inline", {}, "State", state)), h("p.muted", {}, total, heard()), table, nothing, more);

  /** Take the filter into the address, and the batches from the server; the focus stays where it is. */
  function choose() {
    wanted = state.value;
    pages = 1;
    history.pushState(null, "", `#/batches${wanted ? `?${new URLSearchParams({ state: wanted })}` : ""}`);
    say(total, "Looking …");
    load();
  }

  async function load() {
    if (signal.aborted) return;
    looked = Date.now();
    const asked = wanted;
    const found = [];
    let next = null;
    try {
      do {
        const page = await get(`/batches?${new URLSearchParams({ limit: PAGE, ...(asked ? { state: asked } : {}), ...(next ? { after: next } : {}) })}`);
        found.push(...page.batches);
        next = page.next;
      } while (next && found.length < pages * PAGE);
    } catch (error) {
      if (error.status === undefined) throw error;
      if (!signal.aborted && asked === wanted && (error.status || table.hidden)) fill(total, h("span.bad", {}, error.message));
      return;
    }
    if (!signal.aborted && asked === wanted) draw(found, next);
  }
  const read = gently(load, 1000);

  function draw(found, next) {
    going = found.some(isOpen);
    keyed(body, found, { key: (one) => one.batch_id, make: (one) => new Row(one), update: (row, one) => row.show(one) });
    table.hidden = !found.length;
    more.hidden = !next;
    say(total, found.length ? (next ? `The newest ${plural(found.length, "batch", "batches")}` : plural(found.length, "batch", "batches")) : wanted ? "No batches match." : "No batches yet.");
    nothing.hidden = found.length > 0 || Boolean(wanted);
    if (!nothing.hidden && !nothing.firstChild) fill(nothing, ...hint());
  }

  const changed = () => read();
  const judged = () => link.state !== "dead" && read();
  every(1000, signal, () => {
    if (document.hidden || link.state === "dead" || Date.now() - looked < (going ? BUSY : IDLE)) return;
    read();
  });
  feed.addEventListener("changes", changed, { signal });
  feed.addEventListener("reset", changed, { signal });
  link.addEventListener("change", judged, { signal });
  document.addEventListener("visibilitychange", judged, { signal });
  read();
}

/** What a batch is, and how to make the first one. */
function hint() {
  return [
    h("h2", {}, "Run many requests as one"),
    h("p", {}, "A batch takes a file with one request a line, and gives back a file of answers. Its lines wait behind all other work, and go on after restarts."),
    h("p", {}, "In a terminal: ", h("code", {}, "foreman batch submit lines.jsonl"), ". Any program for OpenAI's Batch API can send one, too: give it this address, with ", h("code", {}, "/v1"), "."),
    h("pre", { tabIndex: 0 }, `client = OpenAI(base_url="${location.origin}/v1", api_key="…")\nfile = client.files.create(file=open("lines.jsonl", "rb"), purpose="batch")\nclient.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")`),
  ];
}
