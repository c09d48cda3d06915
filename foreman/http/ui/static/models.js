import { get } from "./api.js";
import { every, fill, gently, h, keyed, say } from "./dom.js";
import { heard, plural } from "./format.js";
import { Facts, allModels, plainName } from "./model_facts.js";
import { ModelRow } from "./model_row.js";

const OFTEN = 1000; // ms between looks at what is loaded and what works
const SELDOM = 30_000; // ms between looks at sizes and speeds
const ORDERS = { name: "name", size: "size, largest first", loaded: "loaded first" };

/** Every model that a target has. Order and search are in the page's address. */
export function modelsView(main, { control, feed, link, query }) {
  const order = Object.hasOwn(ORDERS, query.get("sort")) ? query.get("sort") : "name";
  const sort = h("select", { onchange: () => keep({ sort: sort.value }) }, Object.entries(ORDERS).map(([value, words]) => h("option", { value }, words)));
  const find = h("input", { type: "search", value: query.get("find") ?? "", placeholder: "part of a name", oninput: () => keep({ find: find.value }) });
  const note = h("p.muted.note", { role: "status" }, "Looking …");
  const list = h("ul.models");
  const empty = h("p.card.empty", { hidden: true });
  const facts = new Facts(() => draw());
  let found = null;
  const { signal } = control;
  let looked = 0;
  sort.value = order;

  fill(main, h("h1", {}, "Models", heard()), h("div.row.sorted", {}, h("label.grow", {}, "Find", find), h("label", {}, "Sort by", sort)), note, list, empty);

  function keep(change) {
    const given = Object.entries({ sort: sort.value, find: find.value, ...change }).filter(([name, value]) => value && !(name === "sort" && value === "name"));
    history.replaceState(null, "", `#/models${given.length ? `?${new URLSearchParams(given)}` : ""}`);
    draw();
  }

  const read = gently(async () => {
    if (signal.aborted) return;
    try {
      const [targets, queue, memory] = await Promise.all([get("/targets"), get("/queue"), get("/api/ps").catch(() => ({ models: [] }))]);
      if (signal.aborted) return;
      found = { targets: targets.targets, queue, memory: memory.models ?? [] };
      const known = found.targets.map((one) => one.models.length).join();
      if (facts.listed !== known || Date.now() - looked > SELDOM) {
        looked = Date.now();
        await facts.read(known);
      }
      if (!signal.aborted) draw();
    } catch (error) {
      if (!signal.aborted && !found) say(note, error.message);
      throw error;
    }
  }, 500);

  function draw() {
    if (!found || signal.aborted) return;
    const all = allModels(found, facts);
    const word = find.value.trim().toLowerCase();
    const shown = all.filter((one) => one.name.toLowerCase().includes(word)).sort(BY[sort.value]);
    keyed(list, shown, { key: (one) => one.key, make: (one) => new ModelRow(one, () => read(), facts), update: (row, one) => row.show(one), drop: (row) => row.drop() });
    const loaded = all.filter((one) => one.loaded).length;
    say(note, all.length ? `${plural(all.length, "model")}, ${loaded} loaded${word ? `, ${shown.length} with this name` : ""}.` : "");
    empty.hidden = shown.length > 0;
    if (!all.length) fill(empty, noModel(found.targets));
    else if (!shown.length) say(empty, `No model's name contains “${find.value.trim()}”.`);
  }

  every(OFTEN, signal, () => {
    if (document.hidden || link.state === "dead") return;
    read();
    for (const row of list.known?.values() ?? []) row.beat();
  });
  feed.addEventListener("changes", read, { signal });
  link.addEventListener("change", read, { signal });
  signal.addEventListener("abort", () => facts.stop());
  read();
}

const byName = (one, other) => plainName(one.name).localeCompare(plainName(other.name), "en", { numeric: true });

const BY = {
  name: byName,
  size: (one, other) => other.size - one.size || byName(one, other),
  loaded: (one, other) => other.loaded - one.loaded || byName(one, other),
};

function noModel(targets) {
  const away = targets.filter((one) => !one.up).map((one) => one.name);
  if (away.length) return h("p.long", {}, `No model is known: ${away.join(", ")} cannot be reached. `, h("a", { href: "#/targets" }, "See the targets"), " for the reason.");
  return h("p.long", {}, "No target has a model. For Ollama: ", h("code", {}, "ollama pull MODEL"), "; it shows here a moment later. See also the ", h("a", { href: "#/targets" }, "targets"), ".");
}
