import { h } from "./dom.js";
import { parse, stringify } from "./exact_json.js";

const KEY = "foreman-chat-settings"; // the last ones, kept in the browser
const NUMBERS = { temperature: "Temperature", top_p: "Top p", num_predict: "Longest answer", seed: "Seed", num_ctx: "Context" };
const NOTES = { num_predict: "tokens", num_ctx: "tokens; another value loads the model again" };
const THINK = { "": "as the model does", true: "yes", false: "no", low: "a little", medium: "more", high: "much" };

/** What goes with every prompt of a conversation besides its words. */
export class Settings {
  constructor() {
    const field = (words, input, note) => h("label", {}, words, input, note && h("span.muted", {}, note));
    const area = (name, rows, props = {}) => h("textarea", { name, rows, spellcheck: false, ...props });
    const numbers = Object.entries(NUMBERS).map(([name, words]) => field(words, h("input", { name, type: "number", step: ["temperature", "top_p"].includes(name) ? "any" : 1, autocomplete: "off", placeholder: "the model's own" }), NOTES[name]));
    const think = h("select", { name: "think" }, Object.entries(THINK).map(([value, words]) => h("option", { value }, words)));
    const priority = h("select", { name: "priority" }, ["high", "normal", "low"].map((value) => h("option", { value }, value)));
    this.form = h(
      "form.chat-settings",
      { onsubmit: (event) => event.preventDefault(), onchange: () => this.keep() },
      field("System prompt", h("textarea", { name: "system", rows: 3 })),
      h("div.grid", {}, numbers, field("Thinks", think), field("Priority", priority)),
      h("div.grid.wide", {}, field("Schema of the answer", area("format", 4, { placeholder: '{"type": "object", "properties": …}' }), "JSON Schema that answers must follow"), field("Tools", area("tools", 4, { placeholder: '[{"type": "function", "function": {"name": …}}]' }), "JSON, a list of functions; you type in what they return"), field("Other fields", area("extra", 4, { placeholder: '{"keep_alive": "10m"}' }), "JSON, sent beside the messages")),
    );
    this.element = h("details.card.chat-more", {}, h("summary", {}, "System prompt, options, schema, tools"), this.form);
    this.set({ priority: "high", ...saved() });
  }

  get system() {
    return this.form.elements.system.value.trim();
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) {
      const field = this.form.elements[name];
      if (field) field.value = value ?? "";
    }
  }

  keep() {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(new FormData(this.form))));
  }

  /** Take over what an earlier request was sent with. */
  take(request, system) {
    const { options = {}, format, tools, think } = request;
    const known = Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, stringify(options[name]) ?? ""]));
    const json = (value) => (value ? stringify(value, null, 2) : "");
    this.set({ ...known, system, format: json(format), tools: json(tools), think: think === undefined ? "" : `${think}` });
  }

  /** The fields of a request. Throws an Error with what is wrong. */
  read() {
    const given = Object.fromEntries([...new FormData(this.form)].map(([name, value]) => [name, value.trim()]));
    const bad = [...this.form.elements].find((one) => one.validity && !one.validity.valid);
    if (bad) throw new Error(`${NUMBERS[bad.name] ?? bad.name}: ${bad.validationMessage}`);
    const options = Object.fromEntries(Object.keys(NUMBERS).filter((name) => given[name]).map((name) => [name, number(given[name])]));
    const format = json(given.format, "Schema of the answer", (value) => typeof value === "object" && !Array.isArray(value), 'an object, such as {"type": "object"}');
    const tools = json(given.tools, "Tools", Array.isArray, "a list of functions");
    const extra = json(given.extra, "Other fields", (value) => typeof value === "object" && !Array.isArray(value), 'an object, such as {"key": "value"}');
    const think = given.think === "true" || given.think === "false" ? given.think === "true" : given.think;
    return {
      ...(Object.keys(options).length ? { options } : {}),
      ...(format ? { format } : {}),
      ...(tools?.length ? { tools } : {}),
      ...(given.think ? { think } : {}),
      ...(given.priority === "normal" ? {} : { priority: given.priority }),
      ...extra,
    };
  }
}

/** The number that a field has, as `parse` returns it where it is written as JSON has numbers. */
function number(text) {
  try {
    return parse(text);
  } catch {
    return Number(text); // such as .5
  }
}

function saved() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

function json(text, name, fits, wanted) {
  if (!text) return null;
  let found;
  try {
    found = parse(text);
  } catch (error) {
    throw new Error(`${name}: this is no JSON (${error.message}).`);
  }
  if (found === null || !fits(found)) throw new Error(`${name}: this must be ${wanted}.`);
  return found;
}
