/** Who the caller is, in the head of the page, and what concerns the caller and this browser alone. */
import { changes, forget, kept, signOut } from "./access.js";
import { get, rise } from "./api.js";
import { fill, h, say } from "./dom.js";
import { count } from "./format.js";
import { THEMES, paint, theme } from "./theme.js";

const QUOTAS = { waiting: "Waiting jobs", running: "Running jobs", tokens_per_hour: "Tokens an hour", max_files: "Files", rate: "Jobs and calls at once" };

/** Keep the button and the panel of the caller up to date; `entries` are further lines of the panel. */
export function callerPanel(entries = []) {
  const name = document.getElementById("caller-name");
  const panel = document.getElementById("caller-panel");
  const facts = h("div");
  const limits = h("ul.plain.quotas", { "aria-label": "Quotas" });
  const admin = h("div.caller-admin");
  const out = h("button", { hidden: true, onclick: signOut }, "Sign out");
  const about = h("p.muted.small");
  fill(panel, facts, limits, admin, themes(), h("div.entries", {}, entries, out), about);

  async function read() {
    const me = await get("/me").catch(() => null); // nobody answers: what is shown stays
    if (!me) return;
    const elevated = Boolean(kept("admin"));
    say(name, `${called(me)}${elevated ? " + admin" : ""}`);
    fill(facts, h("h2", {}, caller(me)), h("p.muted", {}, rights(me)));
    fill(limits, Object.entries(QUOTAS).filter(([key]) => me.quotas[key]).map(([key, words]) => quota(words, me.quotas[key])));
    fill(admin, elevation(me, elevated));
    out.hidden = !kept("token");
    say(about, `${me.node} · version ${me.version}`);
  }

  changes.addEventListener("change", read);
  panel.addEventListener("toggle", (event) => event.newState === "open" && read());
  panel.addEventListener("click", (event) => event.target.closest(".entries :is(a, button)") && panel.hidePopover());
  read();
}

function called(me) {
  return me.name ?? (me.token ? "unnamed" : "no token");
}

function caller(me) {
  if (me.token === null) return "No token is needed here";
  return me.name ?? "A token without a name";
}

/** What the caller may do, in a sentence. */
function rights(me) {
  if (me.token === null && !me.admin_token_set) return "All who reach this address are one caller and may do everything.";
  const sees = me.sees_all ? "sees all jobs" : "sees only its own jobs";
  const may = me.rights.includes("admin") ? "may submit and manage" : "may submit";
  return `${me.token === "admin_token" ? "This admin token" : me.token ? "This token" : "Everybody"} ${may}, and ${sees}.`;
}

/** The line about admin rights, with the way to get them and the way back. */
function elevation(me, elevated) {
  if (me.rights.includes("admin") && !elevated) return [];
  if (elevated) return [h("p.muted", {}, "An admin token is kept for what needs one."), h("button.small", { onclick: () => forget("admin") }, "Drop admin rights")];
  if (!me.admin_token_set) return [];
  return [h("button.small", { onclick: () => rise() }, "Use an admin token")];
}

function quota(words, { limit, used, left }) {
  return h("li", {}, h("span.row.between", {}, words, h("b", {}, `${count(left)} of ${count(limit)} left`)), h("meter", { min: 0, max: limit, high: limit * 0.9, optimum: 0, value: Math.min(used, limit), "aria-label": words }));
}

function themes() {
  const buttons = THEMES.map((one) => h("button.small", { onclick: () => choose(one) }, one[0].toUpperCase() + one.slice(1)));
  const choose = (name) => {
    paint(name);
    mark();
  };
  const mark = () => buttons.forEach((button, place) => button.setAttribute("aria-pressed", THEMES[place] === theme()));
  mark();
  return h("div.themes", { role: "group", "aria-label": "Theme" }, buttons);
}
