/**
 * Markdown inside a paragraph, as nodes: a text, `{ kind: "strong" | "em" | "del", children }`, `{ kind: "code", text }`,
 * `{ kind: "link", href, children }`. Nothing in it is ever markup of the page. Takes time in proportion to the text.
 */

const MOST_OPEN = 32; // marks that wait for their other half; it bounds the work and the depth of what comes out
const LONGEST_RUN = 3; // of stars: more of them are a line or a decoration
const STOPS = /[\\`*_~[\]<&]|!\[|https?:\/\//g;
const LINK_END = /\((?:<([^<>\n]*)>|([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*))(?:[ \n]{1,3}(?:"[^"]{0,300}"|'[^']{0,300}'))? ?\)/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const ADDRESS = /<([\w.+-]{1,64}@[\w.-]{1,255})>/y;
const BARE = /https?:\/\/[^\s<>"`]+/y;
const LINE_BREAK = /<br ?\/?>/iy;
const ENTITY = /&(?:(amp|lt|gt|quot|apos|nbsp)|#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6}));/y;
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };
const PUNCTUATION = /[\p{P}\p{S}]/u;
const PROTOCOLS = new Set(["http:", "https:", "mailto:"]);

export function inline(text) {
  const reader = new Reader(text);
  reader.run();
  return joined(reader.nodes);
}

/** The address of a link that may be followed, else null: no script, no file, nothing relative to this page. */
export function safe(address) {
  try {
    const url = new URL(address);
    return PROTOCOLS.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.nodes = [];
    this.open = []; // { mark, count, closes, place }: `place` is where its text stands in `nodes`
    this.ticks = null; // places of runs of backticks, by their length
  }

  run() {
    const { text } = this;
    while (this.at < text.length) {
      STOPS.lastIndex = this.at;
      const found = STOPS.exec(text);
      if (!found) return this.add(text.slice(this.at), text.length);
      if (found.index > this.at) this.add(text.slice(this.at, found.index), found.index);
      this.step(found[0]);
    }
  }

  add(node, next) {
    this.nodes.push(node);
    this.at = next;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    return pattern.exec(this.text);
  }

  step(mark) {
    const { at, text } = this;
    if (mark === "\\") this.escape();
    else if (mark === "`") this.code();
    else if (mark === "[" || mark === "![") this.begin({ mark, count: 1 }, mark, at + mark.length);
    else if (mark === "]") this.link();
    else if (mark === "<") this.angle();
    else if (mark === "&") this.entity();
    else if (mark.length > 2) this.bare();
    else this.emphasis(mark, run(text, at));
  }

  escape() {
    const next = this.text[this.at + 1] ?? "";
    if (next === "\n" || (next < "\u0080" && PUNCTUATION.test(next))) this.add(next, this.at + 2);
    else this.add("\\", this.at + 1);
  }

  code() {
    const { at, text } = this;
    const length = run(text, at);
    this.ticks ??= runs(text);
    const places = this.ticks.get(length);
    while (places.next < places.all.length && places.all[places.next] <= at) places.next += 1;
    const end = places.all[places.next];
    if (end === undefined) return this.add("`".repeat(length), at + length);
    const inner = text.slice(at + length, end).replaceAll("\n", " ");
    const padded = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim();
    this.add({ kind: "code", text: padded ? inner.slice(1, -1) : inner }, end + length);
  }

  begin(one, shown, next) {
    if (this.open.length === MOST_OPEN) this.open.shift(); // the oldest is the least likely to find its end
    this.open.push({ ...one, place: this.nodes.length });
    this.add(shown, next);
  }

  link() {
    const { at } = this;
    const place = this.open.findLastIndex((one) => one.mark === "[" || one.mark === "![");
    if (place < 0) return this.add("]", at + 1);
    const bracket = this.open[place];
    this.at = at + 1;
    const found = this.match(LINK_END);
    const address = found && (found[1] ?? found[2]);
    const href = found && safe(address);
    if (!href) {
      this.open.splice(place, 1);
      return this.add("]", at + 1);
    }
    const children = unlinked(this.nodes.splice(bracket.place + 1));
    this.nodes.pop();
    this.open.length = place;
    this.open = this.open.filter((one) => one.mark !== "["); // no link is inside another
    const image = bracket.mark === "![";
    const words = joined(children).length ? children : [image ? "image" : address];
    this.add({ kind: "link", href, children: image ? ["Image: ", ...words] : words }, at + 1 + found[0].length);
  }

  angle() {
    const auto = this.match(AUTOLINK) ?? this.match(ADDRESS);
    const href = auto && safe(auto[1].includes(":") ? auto[1] : `mailto:${auto[1]}`);
    const line = this.match(LINE_BREAK);
    if (href) this.add({ kind: "link", href, children: [auto[1]] }, this.at + auto[0].length);
    else if (line) this.add("\n", this.at + line[0].length);
    else this.add("<", this.at + 1);
  }

  entity() {
    const found = this.match(ENTITY);
    if (!found) return this.add("&", this.at + 1);
    const point = found[2] ? Number(found[2]) : parseInt(found[3], 16);
    const text = found[1] ? NAMED[found[1]] : point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : "\ufffd";
    this.add(text, this.at + found[0].length);
  }

  bare() {
    const { at, text } = this;
    if (at > 0 && /[\p{L}\p{N}_]/u.test(text[at - 1])) return this.add(text.slice(at, at + 4), at + 4);
    const found = this.match(BARE);
    const address = found && trimmed(found[0]);
    const href = address && safe(address);
    if (href) this.add({ kind: "link", href, children: [address] }, at + address.length);
    else this.add(text.slice(at, at + 4), at + 4);
  }

  emphasis(mark, length) {
    const { at, text } = this;
    const shown = mark.repeat(length);
    if (length > LONGEST_RUN || (mark === "~" && length !== 2)) return this.add(shown, at + length);
    const [before, after] = [around(text, at - 1), around(text, at + length)];
    const opens = !after.blank && (!after.mark || before.blank || before.mark);
    const closes = !before.blank && (!before.mark || after.blank || after.mark);
    const word = mark === "_"; // inside of a word it is a letter of it
    const may = { open: opens && (!word || !closes || before.mark), close: closes && (!word || !opens || after.mark) };
    let left = length;
    while (may.close && left) {
      const used = this.close(mark, left, may.open, length);
      if (!used) break;
      left -= used;
    }
    this.at = at + length;
    if (left && may.open) this.begin({ mark, count: left, length, closes: may.close }, mark.repeat(left), this.at);
    else if (left) this.nodes.push(mark.repeat(left));
  }

  /** End what the nearest such mark has begun; return how many characters of the closing run that took. */
  close(mark, left, opens, length) {
    const place = this.open.findLastIndex((one) => one.mark === mark && !((one.closes || opens) && (one.length + length) % 3 === 0 && length % 3));
    if (place < 0) return 0;
    const one = this.open[place];
    const used = Math.min(one.count, left, 2);
    const children = this.nodes.splice(one.place + 1);
    one.count -= used;
    this.open.length = place + 1;
    if (one.count) this.nodes[one.place] = mark.repeat(one.count);
    else {
      this.nodes.pop();
      this.open.pop();
    }
    this.nodes.push({ kind: mark === "~" ? "del" : used === 2 ? "strong" : "em", children });
    return used;
  }
}

/** How often the character at a place comes in a row. */
function run(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end += 1;
  return end - at;
}

function runs(text) {
  const found = new Map();
  for (const { 0: one, index } of text.matchAll(/`+/g)) {
    if (!found.has(one.length)) found.set(one.length, { all: [], next: 0 });
    found.get(one.length).all.push(index);
  }
  return found;
}

function around(text, at) {
  const letter = text[at];
  if (letter === undefined) return { blank: true, mark: false };
  return { blank: /\s/.test(letter), mark: PUNCTUATION.test(letter) };
}

/** An address in running text without the punctuation behind it. */
function trimmed(address) {
  let open = address.split("(").length - address.split(")").length;
  let end = address.length;
  while (end && (/[.,;:!?'*_~\]]/.test(address[end - 1]) || (address[end - 1] === ")" && open < 0))) {
    if (address[end - 1] === ")") open += 1;
    end -= 1;
  }
  return address.slice(0, end);
}

function unlinked(nodes) {
  return nodes.flatMap((node) => (node.kind === "link" ? node.children : node.children ? [{ ...node, children: unlinked(node.children) }] : [node]));
}

/** The same with neighbouring texts as one. */
function joined(nodes) {
  const found = [];
  let texts = [];
  const flush = () => {
    const text = texts.join("");
    if (text) found.push(text);
    texts = [];
  };
  for (const node of nodes) {
    if (typeof node === "string") texts.push(node);
    else {
      flush();
      found.push(node.children ? { ...node, children: joined(node.children) } : node);
    }
  }
  flush();
  return found;
}
