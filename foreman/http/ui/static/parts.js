import { h } from "./dom.js";
import { isText, laidOut, rounded, stringify } from "./exact_json.js";
import { count, plural } from "./format.js";
import { Written } from "./written.js";

const SHOWN = 8; // numbers of a vector
const LONGEST = 100_000; // characters of JSON laid out at once

/** The parts of messages as elements; `stop()` ends what they still do. Only what models wrote is drawn as Markdown. */
export class Parts {
  constructor(pictures) {
    this.pictures = pictures;
    this.written = [];
  }

  /** Whether a text among them looks different when it is plain. */
  get marked() {
    return this.written.some((one) => one.marked);
  }

  show(parts, { model = false } = {}) {
    return parts.map((part) => this[part.kind](part, model));
  }

  stop() {
    for (const one of this.written) one.stop();
    this.pictures.stop();
  }

  text({ text }, model) {
    const one = new Written(text, { drawn: model });
    this.written.push(one);
    return one.element;
  }

  thinking({ text }) {
    return h("p.thinking", {}, text.slice(0, LONGEST));
  }

  image(part) {
    return this.pictures.add(part);
  }

  call({ name, given }) {
    return h("div.call", {}, h("p", {}, "Calls ", h("b.mono", {}, name)), values(given));
  }

  result({ name, text, failed }) {
    return h("div.call", {}, h("p", {}, failed ? "Error of " : "Result of ", h("b.mono", {}, name)), long(laidOut(text, LONGEST) ?? text));
  }

  vectors({ vectors }) {
    const sizes = new Set(vectors.map((one) => one.length));
    const first = Array.isArray(vectors[0]) ? rounded(vectors[0].slice(0, SHOWN)).map((number) => Number(Number(number).toPrecision(4))) : [];
    const lengths = Array.isArray(vectors[0]) && sizes.size === 1 ? ` of ${count([...sizes][0])} numbers` : "";
    return h("div", {}, h("p", {}, `${plural(vectors.length, "embedding")}${lengths}`), first.length > 0 && h("p.mono.muted.long", {}, `[${first.join(", ")}${vectors[0].length > SHOWN ? ", …" : ""}]`));
  }

  other({ name }) {
    return h("p.muted", {}, `with ${name.replaceAll("_", " ")}`);
  }
}

/** A box with text as it is; where that is long, with its beginning. */
export function long(text) {
  const cut = text.length > LONGEST;
  return h("div", {}, h("pre", { tabIndex: 0 }, cut ? text.slice(0, LONGEST) : text), cut && h("p.muted", {}, `and ${count(text.length - LONGEST)} characters more`));
}

/** A value as JSON behind a summary, laid out when it is opened. */
export function folded(summary, value) {
  const element = h("details", { ontoggle: () => element.children.length === 1 && element.append(long(stringify(value, null, 2))) }, h("summary", {}, summary));
  return element;
}

/** The arguments of a call: by name where that reads well. */
function values(given) {
  const flat = given !== null && typeof given === "object" && !Array.isArray(given) && Object.values(given).every((value) => value === null || typeof value !== "object");
  if (!flat) return long(isText(given) ? given : stringify(given, null, 2));
  const named = Object.entries(given);
  if (!named.length) return h("p.muted", {}, "without arguments");
  return h("dl.given", {}, named.map(([name, value]) => h("div", {}, h("dt.mono", {}, name), h("dd", {}, (isText(value) ? value : stringify(value)).slice(0, LONGEST)))));
}
