import { batch } from "./batch.js";
import { batches } from "./batches.js";
import { commands, opening } from "./commands.js";
import { compare } from "./compare.js";
import { h, say } from "./dom.js";
import { Feed } from "./feed.js";
import { job } from "./job.js";
import { listen } from "./keys.js";
import { Link } from "./link.js";
import { list } from "./list.js";
import { menu } from "./menu.js";
import { models } from "./models.js";
import { cameFrom } from "./neighbours.js";
import { now } from "./now.js";
import { playground } from "./playground.js";
import { settings } from "./settings.js";
import { sheet, shown as keys } from "./sheet.js";
import { submit } from "./submit.js";
import { targets } from "./targets.js";
import { teller } from "./tell.js";
import { usage } from "./usage.js";
import { who } from "./who.js";

const WORDS = { connecting: "connecting", live: "live", reconnecting: "reconnecting", silent: "target silent", away: "target away", dead: "no answer" };

const VIEWS = new Map(Object.entries({ new: submit, usage, models, playground, settings, targets }));

const main = document.getElementById("main");
const shown = document.getElementById("link");
const notice = document.getElementById("notice");
const link = new Link();
const feed = new Feed(link);
let control = new AbortController(); // of the view that is shown: aborted when it is left

/** Say in every view how Foreman and its target are. */
link.addEventListener("change", () => {
  const { state, words } = link;
  document.documentElement.dataset.link = shown.dataset.state = state;
  say(shown.querySelector("span"), WORDS[state]);
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
  if (view === "jobs") (id ? job : list)(main, context);
  else if (view === "compare" && id) compare(main, { ...context, ids: [id, other].filter(Boolean) });
  else if (view === "batches") (id ? batch : batches)(main, context);
  else if (view && !VIEWS.has(view)) return location.replace("#/"); // there is no such view
  else (VIEWS.get(view) ?? now)(main, context);
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
const showKeys = () => sheet(commands({ all: true }));
opening({ menu, sheet: showKeys });
listen(menu);
route();
who([h("a", { href: "#/settings" }, "Settings"), h("button", { onclick: menu }, "Commands", keys("Ctrl+K")), h("button", { onclick: showKeys }, "Keyboard shortcuts", keys("?"))]);
teller(feed);
link.run();
feed.run();
