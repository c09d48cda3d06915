/** The menu of commands: everything the page can do, show or find, by a few letters of its words. */
import { get } from "./api.js";
import { commands, learnRights } from "./commands.js";
import { fill, h, say } from "./dom.js";
import { called } from "./format.js";
import { readJobs, searches } from "./job_search.js";
import { fit } from "./match.js";
import { modelNames } from "./model_names.js";
import { kbd } from "./shortcuts.js";

const MOST = 60; // entries shown
const IDLE = 150; // ms after the last letter before Foreman is asked
const FOUND = 8; // jobs shown of one look

class Menu {
  constructor() {
    this.list = h("ul.menu-list", { id: "menu-list", role: "listbox", "aria-label": "Commands" });
    this.input = h("input", { type: "text", role: "combobox", "aria-label": "Command", placeholder: "A view, a command, a job, a model, a setting …", autocomplete: "off", spellcheck: false, "aria-controls": "menu-list", "aria-expanded": "true", "aria-autocomplete": "list", oninput: () => this.look(), onkeydown: (event) => this.press(event) });
    this.count = h("p.hidden", { role: "status" });
    this.nothing = h("p.muted.menu-nothing", { hidden: true }, "Nothing is called so.");
    this.dialog = h("dialog.menu", { "aria-label": "Commands" }, this.input, this.nothing, this.list, this.count);
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    document.body.append(this.dialog);
    this.entries = [];
    this.things = []; // models, batches and settings, asked for once each time that the menu opens
    this.jobs = [];
    this.words = false; // true once it is known that words can be searched
    this.asked = 0;
  }

  open() {
    if (this.dialog.open) return;
    this.commands = commands().filter((one) => !one.quiet);
    this.things = this.jobs = [];
    this.input.value = "";
    this.look();
    this.dialog.showModal();
    this.input.focus();
    learnRights();
    this.gather();
  }

  /** Learn what has a name, from each place that answers. */
  async gather() {
    const ways = [
      modelNames().then((names) => names.map((name) => thing("Models", name, "", `#/models?${new URLSearchParams({ find: name })}`))),
      get("/batches?limit=50").then(({ batches }) => batches.map((one) => thing("Batches", one.name ?? one.batch_id, one.state, `#/batches/${one.batch_id}`))),
      get("/settings").then(({ settings }) => {
        this.words = settings.some(({ name, value }) => name === "full_text" && value);
        return settings.map((one) => thing("Settings", one.name, one.text, `#/settings?${new URLSearchParams({ find: one.name })}`));
      }),
    ];
    const found = await Promise.all(ways.map((way) => way.catch(() => []))); // such as settings, for who may not see them
    this.things = found.flat();
    if (this.dialog.open) this.show();
  }

  look() {
    this.place = 0;
    this.show();
    clearTimeout(this.timer);
    const asked = this.input.value.trim();
    if (asked.length < 3) this.jobs = [];
    else this.timer = setTimeout(() => this.findJobs(asked), IDLE);
  }

  async findJobs(asked) {
    const mine = ++this.asked;
    const { byName, byId } = searches(asked);
    const found = await Promise.all([byName, byId].filter(Boolean).map((search) => readJobs({ ...search, limit: FOUND }).then(({ jobs }) => jobs, () => [])));
    if (mine !== this.asked || this.input.value.trim() !== asked) return;
    const jobs = new Map(found.flat().map((job) => [job.job_id, job]));
    this.jobs = [...jobs.values()].map((job) => thing("Jobs", called(job), `${job.state} · ${job.model}`, `#/jobs/${job.job_id}`));
    this.show();
  }

  show() {
    const asked = this.input.value.trim();
    const every = asked ? [...this.commands, ...this.things] : this.commands;
    const fitting = every.map((one) => ({ one, mark: fit(asked, `${one.title} ${one.group}`) })).filter(({ mark }) => mark > 0);
    if (asked) fitting.sort((a, b) => b.mark - a.mark);
    const find = asked ? [thing("Jobs", `Find “${asked}” among the jobs`, "", `#/jobs?${new URLSearchParams({ find: asked })}`)] : [];
    if (asked && this.words) find.push(thing("Jobs", `Find “${asked}” in prompts and answers`, "", `#/jobs?${new URLSearchParams({ q: asked })}`));
    const groups = Map.groupBy([...fitting.slice(0, MOST).map(({ one }) => one), ...this.jobs, ...find], (one) => one.group);
    this.entries = [...groups.values()].flat();
    this.place = Math.min(this.place, Math.max(0, this.entries.length - 1));
    let number = 0;
    fill(this.list, [...groups].map(([group, entries]) => h("li", { role: "presentation" }, h("span.label", { role: "presentation" }, group), h("ul.plain", { role: "group", "aria-label": group }, entries.map((one) => this.option(one, number++))))));
    this.list.hidden = !this.entries.length;
    this.nothing.hidden = this.entries.length > 0;
    say(this.count, `${this.entries.length} found`);
    this.mark();
  }

  option(one, number) {
    return h("li.option", { id: `menu-${number}`, role: "option", "aria-selected": "false", onclick: () => this.run(one), onmousemove: () => this.place !== number && this.move(number) }, h("span.grow.long", {}, one.title), one.hint && h("span.muted.hint", {}, one.hint), one.key && kbd(one.key));
  }

  move(place) {
    this.place = (place + this.entries.length) % Math.max(1, this.entries.length);
    this.mark();
  }

  mark() {
    this.list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    const option = document.getElementById(`menu-${this.place}`);
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  press(event) {
    if (event.isComposing) return;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key in steps) this.move(Math.abs(steps[event.key]) === 1 ? this.place + steps[event.key] : Math.max(0, Math.min(this.entries.length - 1, this.place + steps[event.key])));
    else if (event.key === "Enter" && this.entries.length) this.run(this.entries[this.place]);
    else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") this.dialog.close();
    else return;
    event.preventDefault();
  }

  /** Close first: what a command opens shall have the focus. */
  run(one) {
    this.dialog.close();
    one.run();
  }
}

function thing(group, title, hint, hash) {
  return { title, group, hint, run: () => (location.hash = hash) };
}

let only = null;

export function menu() {
  only ??= new Menu();
  only.open();
}
