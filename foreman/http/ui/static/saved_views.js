import { askName } from "./ask_name.js";
import { fill, h, toast } from "./dom.js";
import { address, chosen, read } from "./filters.js";

const KEY = "foreman-views";
const BUILT_IN = [
  { name: "Failed in the last 24 hours", query: "state=failed&ended=day" },
  { name: "Running", query: "state=loading,working" },
  { name: "Waiting", query: "state=queued" },
];

/** Filters under names, as links: built-in ones, and those that somebody saves in this browser. */
export class SavedViews {
  constructor(filters) {
    this.filters = filters;
    this.opened = ""; // the name of the own view that was open last
    this.element = h("div.views", { role: "group", "aria-label": "Saved views" });
    this.show();
  }

  show() {
    const here = address(this.filters);
    const own = kept();
    const link = ({ name, query }) => h("a.button.small", { href: whole(query), "aria-current": whole(query) === here ? "true" : null }, name);
    const current = own.find((one) => whole(one.query) === here);
    const known = current ?? BUILT_IN.find((one) => whole(one.query) === here);
    if (current) this.opened = current.name;
    fill(
      this.element,
      BUILT_IN.map(link),
      own.map(link),
      !known && chosen(this.filters).length > 0 && h("button.small", { onclick: () => this.save() }, "Save view …"),
      current && h("button.small", { onclick: () => this.rename(current) }, "Rename …"),
      current && h("button.small", { onclick: () => this.remove(current) }, "Delete view"),
      own.length > 0 && h("span.muted", {}, "Saved in this browser."),
    );
    requestAnimationFrame(() => this.reveal());
  }

  /** Scroll to the one that is open, where the row has no place for all. */
  reveal() {
    const open = this.element.querySelector("[aria-current]");
    if (open) this.element.scrollLeft = open.offsetLeft - this.element.offsetLeft;
  }

  async save() {
    const views = kept();
    const name = await askName({ title: "Save this view", words: "Saved in this browser only.", value: views.some((one) => one.name === this.opened) ? this.opened : "", verb: (given) => (views.some((one) => one.name === given) ? "Replace" : "Save") });
    if (name) this.keep([...views.filter((one) => one.name !== name), { name, query: address(this.filters).split("?")[1] }]);
  }

  async rename(view) {
    const name = await askName({ title: "Rename this view", words: "Saved in this browser only.", value: view.name, verb: (given) => (given !== view.name && kept().some((one) => one.name === given) ? "Replace the other" : "Rename") });
    if (name) this.keep([...kept().filter((one) => one.name !== name && one.name !== view.name), { ...view, name }]);
  }

  remove(view) {
    const before = kept();
    if (!this.keep(before.filter((one) => one.name !== view.name))) return;
    toast(`The view “${view.name}” is deleted.`, "", { verb: "Undo", run: () => this.keep(before) });
  }

  keep(views) {
    try {
      localStorage.setItem(KEY, JSON.stringify(views.sort((one, other) => one.name.localeCompare(other.name))));
    } catch {
      toast("This browser does not let the page save anything.", "bad");
      return false;
    }
    this.show();
    return true;
  }
}

/** The views that were saved; none where the browser keeps nothing, or something else. */
function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return found.filter((one) => typeof one.name === "string" && typeof one.query === "string");
  } catch {
    return [];
  }
}

/** The address of a view, in the form that `address` gives it. */
function whole(query) {
  return address(read(new URLSearchParams(query)));
}
