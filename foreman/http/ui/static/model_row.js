import { ask } from "./api.js";
import { fill, h, keyed, say } from "./dom.js";
import { EngineLog } from "./engine_log.js";
import { age, bytes, count, minute, speed } from "./format.js";

/** One model: what it is, where it is, what works with it, and orders. */
export class ModelRow {
  constructor({ key, name, places }, changed, facts) {
    this.name = name;
    this.changed = changed;
    this.facts = facts;
    this.doing = new Map(); // orders under way, by target
    this.element = h("li.card.model", {}, h("b.long", {}, name));
    this.managed = places.find((one) => one.kind === "managed")?.target;
    facts.watch(this.element, key, name, (inSight) => this.sight(inSight));
  }

  /** A row that nobody sees is its name alone, and one that was seen is brought up to date when it is seen again. */
  sight(inSight) {
    this.inSight = inSight;
    if (inSight && !this.places) this.complete();
    if (inSight && this.model) this.show(this.model);
  }

  complete() {
    const { name } = this;
    const query = new URLSearchParams({ model: name });
    const link = (view, word, label) => h("a", { href: `#/${view}?${query}`, "aria-label": label }, word);
    this.what = h("p.muted.what.long");
    this.able = h("p.able");
    this.places = h("ul.plain.places", { "aria-label": `Targets of ${name}` });
    this.errorLine = h("p.bad.long", { role: "alert", hidden: true });
    this.work = h("p.work");
    this.log = this.managed ? new EngineLog(name, this.managed) : null;
    fill(
      this.element,
      h("div.is", {}, h("b.long", {}, name), this.what, this.able),
      h("div", {}, this.places, this.errorLine),
      h("div.does", {}, this.work, h("p.row.links", {}, (this.chat = link("playground", "Chat", `Chat with ${name}`)), link("jobs", "Jobs", `Jobs of ${name}`), link("usage", "Usage", `Usage of ${name}`))),
      this.log?.element,
    );
  }

  drop() {
    this.facts.forget(this.element);
  }

  beat() {
    this.log?.read();
  }

  show(model) {
    this.model = model;
    if (!this.inSight) return;
    const told = this.facts.told.get(model.key);
    const details = { ...told?.details, ...model.entry?.details };
    const context = model.places.find((one) => one.held?.context)?.held.context ?? told?.context;
    const embedding = told?.capabilities.includes("embedding");
    say(this.what, [details.parameter_size, details.quantization_level, model.size > 0 && bytes(model.size), context && `${count(context)} tokens of context`].filter(Boolean).join(" · "));
    this.chat.hidden = Boolean(embedding);
    const able = (told?.capabilities ?? []).map((one) => (one === "completion" ? "text" : one));
    keyed(this.able, able, { key: (one) => one, make: (one) => ({ element: h("span.tag", {}, one) }) });
    const places = model.places.length ? model.places : [{ target: "another Foreman", elsewhere: true, up: true, since: null }];
    keyed(this.places, places, { key: (one) => one.target, make: (one) => this.place(one), update: (line, one) => this.tell(line, one, embedding) });
    say(this.work, [model.running && `${count(model.running)} running`, model.waiting && `${count(model.waiting)} waiting`, model.speed && speed(model.speed)].filter(Boolean).join(" · ") || "no job waits");
    this.work.classList.toggle("muted", !model.running && !model.waiting);
    this.work.title = model.speed ? "The speed is that of its jobs in the last 24 hours, from their start to their end." : "";
  }

  place(one) {
    const dot = h("i.dot");
    const word = h("span.muted.long");
    const button = h("button.small", { hidden: true, onclick: () => this.order(button.dataset.verb, one.target, one.model) });
    return { dot, word, button, element: h("li.row", {}, h("span.grow.long", {}, dot, " ", one.target, " ", word), button) };
  }

  tell({ dot, word, button }, one, embedding) {
    const doing = this.doing.get(one.target);
    dot.className = `dot ${!one.up ? "failed" : doing ? "loading" : one.since || one.held ? "done" : "queued"}`;
    const { held } = one;
    const memory = held ? [held.bytes && `${bytes(held.bytes)} in memory`, held.graphics !== null && held.graphics > 0 && held.graphics < 0.99 && `${Math.round(held.graphics * 100)} % of it on the GPU`, held.until && `until ${minute(held.until)}`] : [];
    const state = !one.up ? "away" : one.elsewhere ? "" : one.since ? `loaded for ${age(one.since)}` : held ? "loaded by another program" : one.draining ? "drained" : one.kind === "openai" ? "loads by itself" : "not loaded";
    say(word, doing ? `${doing}ing …` : [state, ...memory].filter(Boolean).join(" · "));
    button.hidden = one.elsewhere || one.kind === "openai" || !one.up || Boolean(embedding && !one.since);
    button.disabled = Boolean(doing);
    button.dataset.verb = one.since ? "unload" : "load";
    say(button, one.since ? "Unload" : "Load");
    button.setAttribute("aria-label", `${one.since ? "Unload" : "Load"} ${one.model} ${one.since ? "from" : "on"} ${one.target}`);
  }

  /** Send an order; it is obeyed when the answer comes, which may take as long as a load. */
  async order(verb, target, model) {
    this.doing.set(target, verb);
    this.errorLine.hidden = true;
    this.changed();
    try {
      await ask(`/targets/${encodeURIComponent(target)}/${verb}`, { method: "POST", json: { model } });
    } catch (error) {
      fill(this.errorLine, `${target} did not ${verb} it: ${error.message}`);
      this.errorLine.hidden = false;
    }
    this.doing.delete(target);
    this.changed();
  }
}
