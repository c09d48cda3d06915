import { toast, say } from "./dom.js";
import { Feed } from "./feed.js";
import { History } from "./charts.js";
import { Jobs } from "./jobs.js";
import { job } from "./job.js";
import { list } from "./list.js";
import { now } from "./now.js";
import { submit } from "./submit.js";
import { ENDED } from "./format.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const jobs = new Jobs();
const history = new History();
let leave = () => {};

jobs.addEventListener("reset", () => history.recall([...jobs.known.values()]));

const feed = new Feed({
  onchanges(changes) {
    jobs.apply(changes);
    for (const change of changes) {
      const known = jobs.known.get(change.job_id);
      const at = Date.parse(change.timestamp);
      if (ENDED.has(change.state)) history.at(at).ended += 1;
      const began = change.previous_state === "queued" && !ENDED.has(change.state);
      if (began && known?.created_at && change.attempt <= 1) history.at(at).waits.push((at - Date.parse(known.created_at)) / 1000);
    }
  },
  onlink(state) {
    link.dataset.state = state;
    say(link.querySelector("span"), state);
  },
  onreset() {
    jobs.reset().catch((fault) => toast(fault.message, "bad"));
  },
});

function route() {
  const [, view = "", id] = location.hash.slice(1).split("/");
  leave();
  if (view === "jobs" && id) leave = job(main, { jobs, id: decodeURIComponent(id) });
  else if (view === "jobs") leave = list(main, { jobs });
  else if (view === "new") leave = submit(main);
  else leave = now(main, { jobs, history });
  for (const entry of document.querySelectorAll("nav a")) {
    const here = entry.getAttribute("href") === `#/${view}`;
    if (here) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
  scrollTo(0, 0);
}

addEventListener("hashchange", route);
route();
feed.run();
