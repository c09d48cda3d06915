/** How well words fit a text: 0 not at all; each word must be in it, by its beginning, as a part, or letter by letter. */
export function fit(asked, text) {
  const words = asked.toLowerCase().split(/\s+/).filter(Boolean);
  const low = text.toLowerCase();
  const marks = words.map((word) => fitWord(word, low));
  return marks.every(Boolean) ? marks.reduce((sum, mark) => sum + mark, 1) : 0;
}

function fitWord(word, text) {
  const at = text.indexOf(word);
  if (at === 0) return 5;
  if (at > 0) return new RegExp(`(?:^|[^\\p{L}\\p{N}])${word.replace(/[^\p{L}\p{N}]/gu, "\\$&")}`, "u").test(text) ? 4 : 2;
  return word.length > 1 && inOrder(word, text) ? 1 : 0;
}

/** Whether the letters of a word come one after the other, the first at the beginning of a word. */
function inOrder(word, text) {
  for (const start of text.matchAll(/[\p{L}\p{N}]+/gu)) {
    if (start[0][0] !== word[0]) continue;
    let at = start.index;
    for (const letter of word.slice(1)) {
      at = text.indexOf(letter, at + 1);
      if (at < 0) return false;
    }
    return true;
  }
  return false;
}
