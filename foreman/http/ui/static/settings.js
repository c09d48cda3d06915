import { changes } from "./access.js";
import { get } from "./api.js";
import { reloaded } from "./commands.js";
import { fill, h, say, toast } from "./dom.js";
import { heard, plural } from "./format.js";
import { fit } from "./match.js";

const ORIGINS = { flag: "an option of the command", environment: "the environment", "secret file": "a secret file", ".env": ".env", file: "the file", default: "default" };

/** The settings in force: what differs from its default first, the others under it. */
export function settingsView(main, { control, query }) {
  const search = h("input", { type: "search", value: query.get("find") ?? "", placeholder: "name or words", oninput: () => draw() });
  const total = h("span", { role: "status" }, "Looking …");
  const file = h("span.long");
  const reload = h("button", { onclick: readAgain }, "Read again");
  const look = h("form.row.settings-find", { role: "search", onsubmit: (event) => event.preventDefault() }, h("label.find.grow", {}, "Find", search));
  const list = h("div.settings");
  let found = null;
  const { signal } = control;

  fill(
    main,
    h("div.row.titled", {}, h("h1", {}, "Settings", heard()), reload),
    look,
    h("p.muted", {}, total, " ", file),
    list,
  );

  /** Read the settings; a caller without rights may be asked for an admin token, once and not again on its own. */
  async function read(asks = false) {
    try {
      found = await get("/settings", { asks });
    } catch (error) {
      if (signal.aborted) return;
      say(total, error.code === "admin_required" ? "" : error.message);
      if (error.code === "admin_required") refuse();
      return;
    }
    if (!signal.aborted) draw();
  }

  function refuse() {
    look.hidden = reload.hidden = true;
    fill(list, h("section.card.empty", {}, h("h2", {}, "Settings are for admins"), h("p", {}, "They name addresses, folders and programs of the machine, and your token has no admin rights."), h("button.primary", { onclick: () => read(true) }, "Use an admin token")));
  }

  function draw() {
    if (!found) return;
    look.hidden = reload.hidden = false;
    const asked = search.value.trim();
    history.replaceState(null, "", `#/settings${asked ? `?${new URLSearchParams({ find: asked })}` : ""}`);
    const fitting = found.settings.filter((one) => !asked || fit(asked, one.name.replaceAll("_", " ")) || fit(asked, one.name) || exact(asked, one));
    const changed = fitting.filter((one) => !one.is_default);
    const others = fitting.filter((one) => one.is_default);
    say(total, fitting.length ? `${plural(changed.length, "setting differs", "settings differ")} from the default, ${others.length} ${others.length === 1 ? "does" : "do"} not.` : `No setting fits “${asked}”.`);
    say(file, found.file ? `They were read from ${found.file}.` : "There is no settings file.");
    fill(list, part("Different from the default", changed), part("As by default", others));
  }

  async function readAgain() {
    reload.disabled = true;
    try {
      toast(reloaded(await get("/reload", { method: "POST" })));
      await read();
    } catch (error) {
      toast(error.message, "bad");
    }
    reload.disabled = false;
  }

  const again = () => read();
  changes.addEventListener("change", again, { signal });
  read();
}

/** Whether all words stand in the description or the value, as they are. */
function exact(asked, one) {
  const text = `${one.name} ${one.description} ${one.text}`.toLowerCase();
  return asked.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function part(title, entries) {
  return entries.length > 0 && h("section", { "aria-label": title }, h("h2", {}, title), h("dl.card.settings-list", {}, entries.map(entry)));
}

function entry(one) {
  const tables = one.value !== null && typeof one.value === "object" && JSON.stringify(one.value).includes("{");
  const notes = [
    one.is_default ? "" : `from ${ORIGINS[one.from] ?? one.from}`,
    one.is_default ? "" : `default: ${one.default || "empty"}`,
    one.changes_at_reload ? "" : "a change needs a restart",
  ].filter(Boolean);
  return h(
    "div.setting",
    { id: `setting-${one.name}` },
    h("dt", {}, h("code", {}, one.name)),
    h("dd", {}, h("b.mono.long", {}, one.text || "empty"), notes.length > 0 && h("span.muted", {}, notes.join(" · ")), h("p.muted", {}, one.description), tables && h("details", {}, h("summary", {}, "As JSON"), h("pre", { tabIndex: 0 }, JSON.stringify(one.value, null, 2)))),
  );
}
