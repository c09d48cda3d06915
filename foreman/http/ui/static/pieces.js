export const PIECE = 10_000; // characters drawn at a time: what a slow machine lays out without being noticed
const LONGEST = 5 * PIECE; // of a block of code, which is drawn whole
const FENCE = /^ {0,12}(`{3,}|~{3,})/;

/** A long text in pieces, each Markdown of its own: cut at a blank line, outside of code where that is possible. */
export function* pieces(text) {
  let fence = "";
  for (let at = 0; at < text.length; ) {
    const [end, open] = cut(text, at, fence);
    const part = text.slice(at, end);
    yield { text: part, markdown: fence ? `${fence}\n${part}` : part };
    fence = open;
    at = end;
  }
}

/** Where the piece ends that begins at `from`, and the fence that is open there. */
function cut(text, from, fence) {
  if (text.length - from <= PIECE) return [text.length, ""];
  let good = null; // after a blank line outside of code
  let line = null; // after any line
  let open = fence;
  for (let at = from; at < text.length; ) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline + 1;
    if (end - from > (open || fence ? LONGEST : PIECE)) break;
    const words = text.slice(at, end);
    open = after(words, open);
    line = [end, open];
    if (!open && (!words.trim() || fence)) good = line;
    if (fence && !open) break; // the rest of the code that was cut
    if (end - from > PIECE && !open) break;
    at = end;
  }
  return good ?? line ?? [from + PIECE - (/[\ud800-\udbff]/.test(text[from + PIECE - 1]) ? 1 : 0), open];
}

function after(line, open) {
  const found = FENCE.exec(line);
  if (!found) return open;
  if (!open) return found[1];
  return found[1].startsWith(open) && line.trim() === found[1] ? "" : open;
}
