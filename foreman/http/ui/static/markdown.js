/**
 * Markdown as a tree of blocks: CommonMark and GitHub's tables, without markup of HTML, which stays text. Blocks are
 * `{ kind, … }`: "heading" (level, text), "paragraph" (text), "code" (language, text), "quote" (blocks), "rule",
 * "list" (start or null, loose, items of blocks), "table" (aligned, head, rows). Texts are for `inline`. Takes time in proportion to the text.
 */

const DEEPEST = 16; // quotes and lists inside each other; what is deeper stays text
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/s;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const UNDERLINE = /^ {0,3}(?:=+|-+)$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}(?! )| |$)/;
const TASK = /^\[([ xX])\] /;
const STARTS = [FENCE, HEADING, RULE, QUOTE, /^ {0,3}(?:[-*+]|1[.)]) +\S/]; // what ends a paragraph without a blank line

export function parse(text) {
  return blocks(text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").split("\n").map(untabbed), 0);
}

function untabbed(line) {
  const blank = /^[ \t]*/.exec(line)[0];
  return blank.includes("\t") ? blank.replaceAll("\t", "    ") + line.slice(blank.length) : line;
}

function blocks(lines, depth) {
  if (depth > DEEPEST) return [{ kind: "paragraph", text: lines.join("\n") }];
  const found = [];
  for (let at = 0; at < lines.length; ) {
    if (blank(lines[at])) {
      at += 1;
      continue;
    }
    const [block, next] = indented(lines, at) ?? fenced(lines, at) ?? heading(lines, at) ?? rule(lines, at) ?? quote(lines, at, depth) ?? list(lines, at, depth) ?? table(lines, at) ?? paragraph(lines, at);
    found.push(block);
    at = next;
  }
  return found;
}

function blank(line) {
  return !line.trim();
}

function indent(line) {
  return /^ */.exec(line)[0].length;
}

function indented(lines, at) {
  let end = at;
  while (end < lines.length && (blank(lines[end]) || indent(lines[end]) >= 4)) end += 1;
  if (end === at) return null;
  const text = lines.slice(at, end).map((line) => line.slice(4)).join("\n");
  return [{ kind: "code", language: "", text: text.trimEnd() }, end];
}

function fenced(lines, at) {
  const found = FENCE.exec(lines[at]);
  if (!found) return null;
  const [, fence, words] = found;
  const margin = indent(lines[at]);
  const closes = (line) => {
    const rest = line.trim();
    return rest.length >= fence.length && rest[0] === fence[0] && rest === fence[0].repeat(rest.length) && indent(line) < 4;
  };
  let end = at + 1;
  while (end < lines.length && !closes(lines[end])) end += 1;
  const text = lines.slice(at + 1, end).map((line) => line.slice(Math.min(margin, indent(line)))).join("\n");
  return [{ kind: "code", language: words.trim().split(/\s/, 1)[0], text }, end + 1];
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  if (!found) return null;
  const text = (found[2] ?? "").trim();
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  const closed = end < text.length && (end === 0 || text[end - 1] === " ");
  return [{ kind: "heading", level: found[1].length, text: closed ? text.slice(0, end).trim() : text }, at + 1];
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? [{ kind: "rule" }, at + 1] : null;
}

function quote(lines, at, depth) {
  if (!QUOTE.test(lines[at])) return null;
  const inner = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (QUOTE.test(line)) inner.push(line.replace(QUOTE, ""));
    else if (goesOn(line, inner)) inner.push(line);
    else break;
  }
  return [{ kind: "quote", blocks: blocks(inner, depth + 1) }, end];
}

/** Whether a line belongs to the paragraph before it, in a quote or list that it does not repeat the mark of. */
function goesOn(line, before) {
  const last = before.at(-1);
  return !blank(line) && last !== undefined && !blank(last) && !starts(last, [FENCE, HEADING, RULE]) && !starts(line) && !ITEM.test(line);
}

function starts(line, patterns = STARTS) {
  return patterns.some((pattern) => pattern.test(line));
}

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const kind = first[2].at(-1);
  const items = [];
  let loose = false;
  let next = at;
  for (;;) {
    const [inner, end, gap] = item(lines, next);
    items.push(task(inner, depth));
    next = end;
    const following = next < lines.length && ITEM.exec(lines[next]);
    if (!following || following[2].at(-1) !== kind || RULE.test(lines[next])) break;
    loose ||= gap;
  }
  return [{ kind: "list", start: kind === "." || kind === ")" ? Number.parseInt(first[2], 10) : null, loose, items }, next];
}

/** The lines of an item, where it ends, and whether a blank line is behind it. */
function item(lines, at) {
  const [marker, margin, name] = ITEM.exec(lines[at]);
  const content = marker.length + (marker.endsWith(name) ? 1 : 0);
  const inside = Math.min(content, margin.length + 2); // models indent by two, also under numbers
  const inner = [lines[at].slice(marker.length)];
  let end = at + 1;
  let gap = false;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (blank(line)) gap = true;
    else if (indent(line) >= inside) gap = false;
    else if (!gap && goesOn(line, inner)) gap = false;
    else break;
    inner.push(line.slice(Math.min(indent(line), content)));
  }
  return [inner, end, gap];
}

function task(inner, depth) {
  const found = TASK.exec(inner[0]);
  if (!found) return blocks(inner, depth + 1);
  return blocks([`${found[1] === " " ? "☐" : "☑"} ${inner[0].slice(found[0].length)}`, ...inner.slice(1)], depth + 1);
}

function table(lines, at) {
  if (!heads(lines, at)) return null;
  const head = cells(lines[at]);
  const aligned = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "left"));
  const rows = [];
  let end = at + 2;
  for (; end < lines.length && lines[end].includes("|") && !starts(lines[end]); end += 1) {
    const row = cells(lines[end]);
    rows.push(head.map((_, place) => row[place] ?? ""));
  }
  return [{ kind: "table", aligned, head, rows }, end];
}

/** Whether a table begins here: its head, and under it a line of dashes for as many columns. */
function heads(lines, at) {
  const below = lines[at + 1];
  if (!below?.includes("-") || !lines[at].includes("|") || !/^[ |:\t-]+$/.test(below)) return false;
  const marks = cells(below);
  return marks.every((cell) => /^:?-+:?$/.test(cell)) && marks.length === cells(lines[at]).length;
}

function cells(line) {
  let row = line.trim();
  if (row.startsWith("|")) row = row.slice(1);
  if (row.endsWith("|") && !row.endsWith("\\|")) row = row.slice(0, -1);
  const found = [];
  let cell = "";
  for (const part of row.split("|")) {
    if (part.endsWith("\\")) cell += `${part.slice(0, -1)}|`;
    else {
      found.push((cell + part).trim());
      cell = "";
    }
  }
  if (cell) found.push(cell.trim());
  return found;
}

function paragraph(lines, at) {
  let end = at + 1;
  for (; end < lines.length && !blank(lines[end]); end += 1) {
    const line = lines[end];
    if (UNDERLINE.test(line.trimEnd())) {
      const text = joined(lines, at, end);
      return [{ kind: "heading", level: line.includes("=") ? 1 : 2, text }, end + 1];
    }
    if (starts(line) || heads(lines, end)) break;
  }
  return [{ kind: "paragraph", text: joined(lines, at, end) }, end];
}

function joined(lines, at, end) {
  return lines.slice(at, end).map((line) => line.trim()).join("\n");
}
