/** JSON whose numbers stay as they are written: those that JavaScript would write differently are marked texts in it. */

const MARK = `number ${crypto.getRandomValues(new Uint32Array(4)).join("-")}: `; // no request has it
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARKED = new RegExp(`"${MARK}([^"]+)"`, "g");

/** JSON.parse of `text`, numbers such as 9007199254740993 or 1.0 marked. Throws SyntaxError. */
export function parse(text, revive) {
  const plain = JSON.parse(text); // as it was given, so that errors tell their place in it
  const marked = text.replace(TOKENS, (found) => (found[0] === '"' || String(Number(found)) === found ? found : `"${MARK}${found}"`));
  return marked === text && !revive ? plain : JSON.parse(marked, revive);
}

/** JSON.stringify of what `parse` returned, its numbers as they were. */
export function stringify(value, replace, indent) {
  return JSON.stringify(value, replace, indent)?.replace(MARKED, "$1");
}

/** A text that is an object or an array in JSON, laid out; null for any other, and for one of more than `most` characters. */
export function laidOut(text, most) {
  if (!/^\s*[{[]/.test(text) || text.length > most) return null;
  try {
    return stringify(parse(text), null, 2);
  } catch {
    return null;
  }
}

/** The value with numbers of JavaScript in place of the marked ones, to be shown. */
export function rounded(value) {
  return JSON.parse(stringify(value));
}

/** Whether the value is text, and not a marked number. */
export function isText(value) {
  return typeof value === "string" && !value.startsWith(MARK);
}
