import { copy } from "./copy.js";
import { h } from "./dom.js";
import { parse } from "./markdown.js";
import { inline } from "./markdown_inline.js";

const HEADINGS = ["h3", "h4", "h5", "h6"]; // under those of the page

/** Markdown as elements. Text stays text, and nothing is loaded: images are links. */
export function rendered(markdown) {
  return parse(markdown).map(block);
}

/** Whether rendering shows anything else than the plain text would. */
export function marked(markdown) {
  return parse(markdown).some((one) => one.kind !== "paragraph" || inline(one.text).some((node) => typeof node !== "string"));
}

/** Code with its language and a button that copies it. */
export function code(text, language = "") {
  const button = h("button.small", { onclick: () => copy(text, "The code") }, "Copy code");
  return h("div.code", {}, h("div.row", {}, h("span.label.grow", {}, language), button), h("pre", { tabIndex: 0 }, h("code", {}, text)));
}

const BLOCKS = {
  heading: ({ level, text }) => h(HEADINGS[Math.min(level, HEADINGS.length) - 1], {}, words(text)),
  paragraph: ({ text }) => h("p", {}, words(text)),
  code: ({ text, language }) => code(text, language),
  quote: ({ blocks }) => h("blockquote", {}, blocks.map(block)),
  rule: () => h("hr"),
  list: ({ start, loose, items }) => {
    const element = h(`${start === null ? "ul" : "ol"}${loose ? ".loose" : ""}`, {}, items.map((item) => h("li", {}, item.map(block))));
    if (start !== null) element.start = start;
    return element;
  },
  table: ({ aligned, head, rows }) => {
    const row = (cells, tag) => h("tr", {}, cells.map((cell, place) => h(`${tag}.${aligned[place]}`, {}, words(cell))));
    return h("div.table-frame", { tabIndex: 0, role: "region", "aria-label": "Table" }, h("table", {}, h("thead", {}, row(head, "th")), h("tbody", {}, rows.map((cells) => row(cells, "td")))));
  },
};

function block(one) {
  return BLOCKS[one.kind](one);
}

function words(text) {
  return inline(text).map(node);
}

function node(one) {
  if (typeof one === "string") return one;
  if (one.kind === "code") return h("code", {}, one.text);
  const children = one.children.map(node);
  if (one.kind === "link") return h("a", { href: one.href, title: one.href, target: "_blank", rel: "noopener noreferrer" }, children);
  return h(one.kind, {}, children);
}
