import { batchView } from "./batch.js";
import { batchesView } from "./batches.js";
import { callerPanel } from "./caller_panel.js";
import { commands, opening } from "./commands.js";
import { compareView } from "./compare.js";
import { h, say } from "./dom.js";
import { Feed } from "./feed.js";
import { jobView } from "./job.js";
import { listen } from "./keys.js";
import { Link } from "./link.js";
import { listView } from "./list.js";
import { menu } from "./menu.js";
import { modelsView } from "./models.js";
import { cameFrom } from "./neighbours.js";
import { watchEnds } from "./notifications.js";
import { nowView } from "./now.js";
import { playgroundView } from "./playground.js";
import { settingsView } from "./settings.js";
import { kbd, showShortcuts } from "./shortcuts.js";
import { submitView } from "./submit.js";
import { targetsView } from "./targets.js";
import { usageView } from "./usage.js";

const WORDS = { connecting: "connecting", live: "live", reconnecting: "reconnecting", silent: "target silent", away: "target away", dead: "no answer" };

const VIEWS = new Map(Object.entries({ new: submitView, usage: usageView, models: modelsView, playground: playgroundView, settings: settingsView, targets: targetsView }));

const main = document.getElementById("main");
const linkState = document.getElementById("link");
const notice = document.getElementById("notice");
const link = new Link();
const feed = new Feed(link);
let control = new AbortController(); // of the view that is shown: aborted when it is left

/** Say in every view how Foreman and its target are. */
link.addEventListener("change", () => {
  const { state, words } = link;
  document.documentElement.dataset.link = linkState.dataset.state = state;
  say(linkState.querySelector("span"), WORDS[state]);
  say(notice, words);
  notice.hidden = !words;
});

/** The parts of a path; what is not encoded as addresses are is taken as it stands. */
function parts(path) {
  try {
    return path.split("/").map(decodeURIComponent);
  } catch {
    return path.split("/");
  }
}

function route() {
  const [path, asked = ""] = location.hash.slice(1).split("?");
  const [, view = "", id, other] = parts(path);
  control.abort();
  control = new AbortController();
  document.title = "Foreman";
  const context = { control, feed, link, id, query: new URLSearchParams(asked) };
  if (view === "jobs") (id ? jobView : listView)(main, context);
  else if (view === "compare" && id) compareView(main, { ...context, ids: [id, other].filter(Boolean) });
  else if (view === "batches") (id ? batchView : batchesView)(main, context);
  else if (view && !VIEWS.has(view)) return location.replace("#/"); // there is no such view
  else (VIEWS.get(view) ?? nowView)(main, context);
  for (const entry of document.querySelectorAll("nav a")) {
    const here = entry.getAttribute("href") === `#/${view === "compare" ? "jobs" : view}`;
    if (here) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
    if (here) entry.scrollIntoView({ block: "nearest", inline: "nearest" }); // where the bar is too narrow for all
  }
  scrollTo(0, 0);
}

addEventListener("hashchange", (event) => {
  cameFrom(new URL(event.oldURL).hash || "#/");
  route();
});
const shortcuts = () => showShortcuts(commands({ all: true }));
opening({ menu, shortcuts });
listen(menu);
route();
callerPanel([h("a", { href: "#/settings" }, "Settings"), h("button", { onclick: menu }, "Commands", kbd("Ctrl+K")), h("button", { onclick: shortcuts }, "Keyboard shortcuts", kbd("?"))]);
watchEnds(feed);
link.run();
feed.run();
