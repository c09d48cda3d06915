import { cancelButton } from "./cancel_button.js";
import { fill, h, keyed, say } from "./dom.js";
import { called, count, pill, seconds, took } from "./format.js";
import { LiveText } from "./live.js";

const STREAMS = 3; // texts shown at a time: a browser opens six connections to one server
const CARDS = 24;

/** What runs, the first ones with the end of their text as it comes. */
export class Running {
  constructor() {
    this.list = h("div.running", {});
    this.more = h("p.muted", {});
    this.cards = new Map();
    this.jobs = [];
  }

  /** Show the jobs; with `several` targets, also where each runs. */
  show(jobs, several) {
    this.jobs = document.hidden ? [] : jobs; // a page that nobody sees follows no texts
    const shown = this.jobs.slice(0, CARDS);
    this.cards = keyed(this.list, shown, { key: (job) => job.job_id, make: card, update: (one, job) => update(one, several ? job : { ...job, target: null }), drop: (one) => one.live?.stop() });
    const followed = () => [...this.cards.values()].filter((one) => one.live).length;
    for (const one of this.cards.values()) if (!one.live && followed() < STREAMS) follow(one);
    this.list.classList.toggle("empty", !this.jobs.length && !document.hidden);
    const others = this.jobs.length - shown.length;
    fill(this.more, others > 0 && h("a", { href: "#/jobs?state=loading,working" }, `and ${count(others)} more`));
    this.tick();
  }

  tick() {
    for (const job of this.jobs.slice(0, CARDS)) say(this.cards.get(job.job_id).time, `${job.attempt > 1 ? `attempt ${job.attempt}, ` : ""}${seconds(took(job))}`);
  }

  stop() {
    for (const one of this.cards.values()) one.live?.stop();
  }
}

function card(job) {
  const one = { job, live: null, where: h("span.muted", {}), state: h("span", {}), time: h("span.time.muted", {}), text: h("p.muted", {}, "Open the job to follow its text.") };
  const name = h("a.name", { href: `#/jobs/${job.job_id}` }, h("b", {}, job.model), " ", h("span.mono.muted", {}, called(job)), one.where);
  one.element = h("article.card.job", {}, h("div.head", {}, one.state, name, one.time, cancelButton(job)), one.text);
  return one;
}

function update(one, job) {
  if (one.shown !== job.state) fill(one.state, pill((one.shown = job.state)));
  say(one.where, job.target ? ` on ${job.target}` : "");
}

function follow(one) {
  one.live = new LiveText(one.job.job_id, { tail: true });
  one.text.replaceWith(one.live.element);
}
