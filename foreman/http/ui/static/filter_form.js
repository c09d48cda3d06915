import { get } from "./api.js";
import { now } from "./clock.js";
import { fill, h } from "./dom.js";
import { FIELDS, chosen, words } from "./filters.js";
import { modelNames } from "./model_names.js";

const MONTH = 30 * 86_400_000; // ms in which callers are looked for

/** The form of the filters and, under it, what is chosen, each with a button that takes it away. */
export class FilterForm {
  /**
   * `changed` is called when `filters` has changed, `search` when all is to be looked for. `known` returns the values of a
   * field of the jobs that are listed.
   */
  constructor(filters, { changed, search, known }) {
    Object.assign(this, { filters, changed, known });
    this.fields = Object.fromEntries(Object.entries(FIELDS).flatMap(([name, field]) => (field.unseen ? [] : [[name, this.field(name, field)]])));
    this.offered = Object.fromEntries(["model", "caller", "target", "error_code"].map((name) => [name, h("datalist", { id: `known-${name}` })]));
    const labels = (more) => Object.entries(this.fields).filter(([name]) => Boolean(FIELDS[name].more) === more).map(([name, field]) => h(`label.${name === "find" ? "find" : `by-${name}`}`, {}, FIELDS[name].label, field, this.offered[name]));
    this.more = h("details.more", { ontoggle: () => this.offer() }, h("summary", {}, "More"), h("div.filters", {}, labels(true)));
    this.chips = h("ul.chips", { "aria-label": "Chosen" });
    const form = h("form", { role: "search", onsubmit: (event) => (event.preventDefault(), this.take(), search()) }, h("div.filters.common", {}, labels(false), h("button.primary", {}, "Find")), this.more);
    this.element = h("div", {}, form, this.chips);
    modelNames().then((names) => this.suggest("model", names), () => {});
    this.show();
  }

  field(name, { label, values, any = "any", hint = "any", time, form }) {
    const take = () => this.take() && this.changed();
    if (values) return h("select", { "aria-label": label, onchange: take }, h("option", { value: "" }, any), values.map(([value, said]) => h("option", { value }, said)));
    if (time) return h("input", { type: "datetime-local", onchange: take });
    const input = h("input", { type: "search", placeholder: hint, pattern: form, title: form && hint, autocomplete: "off", onsearch: () => input.value || take(), onchange: name === "find" ? null : () => input.reportValidity() && take() });
    if (name !== "find") input.setAttribute("list", `known-${name}`);
    return input;
  }

  /** Take what the fields say into the filters; return whether that is new. */
  take() {
    const before = JSON.stringify(this.filters);
    for (const [name, field] of Object.entries(this.fields)) this.filters[name] = FIELDS[name].time ? (field.value && new Date(field.value).toISOString()) : field.value.trim();
    return JSON.stringify(this.filters) !== before;
  }

  /** Show the filters in the fields, and as chips. */
  show() {
    for (const [name, field] of Object.entries(this.fields)) {
      const value = this.filters[name];
      field.value = FIELDS[name].time ? local(value) : value;
      if (field.selectedIndex < 0) field.append(h("option", { value, selected: true }, value)); // as the address has it
    }
    const set = chosen(this.filters);
    fill(
      this.chips,
      set.map(([name, value]) => this.chip(name, value)),
      set.length > 1 && h("li", {}, h("button.small", { onclick: () => this.clear(Object.keys(this.filters)) }, "Clear all")),
    );
  }

  chip(name, value) {
    const said = words(name, value);
    const label = FIELDS[name].label;
    const shown = name === "batch_id" ? h("a.mono", { href: `#/batches/${value}` }, said) : h("b", {}, said);
    return h("li.chip", {}, h("span", {}, `${label} `, shown), h("button", { "aria-label": `Remove ${label} ${said}`, title: "Remove", onclick: () => this.clear([name]) }, "×"));
  }

  clear(names) {
    for (const name of names) this.filters[name] = "";
    this.show();
    this.changed();
    (this.chips.querySelector("button") ?? this.fields.state).focus();
  }

  /** Look for names to offer, once *More* is open. */
  async offer() {
    this.suggest("error_code", this.known("error_code"));
    this.suggest("caller", this.known("caller"));
    get("/targets").then(({ targets }) => this.suggest("target", targets.map((one) => one.name)), () => {});
    const from = new Date(now() - MONTH).toISOString();
    const found = await get(`/usage?${new URLSearchParams({ step: "day", by: "caller", from })}`).catch(() => ({ rows: [] }));
    this.suggest("caller", [...this.known("caller"), ...found.rows.map((row) => row.by)]);
  }

  suggest(name, values) {
    fill(this.offered[name], [...new Set(values)].filter(Boolean).sort().map((value) => h("option", { value })));
  }
}

/** A time as the field of a time takes it: by this browser's clock, to the minute. */
function local(time) {
  const at = Date.parse(time);
  return Number.isNaN(at) ? "" : new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
