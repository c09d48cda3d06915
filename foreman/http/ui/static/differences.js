/** In what two requests differ, and in what words two texts do. */
import { extracted } from "./embedded.js";
import { isText, stringify } from "./exact_json.js";
import { bytes } from "./format.js";

const MOST_WORDS = 400; // that are matched with each other; the time is their number squared

/** `[{ path, one, other }]` for each value that is not the same; undefined where there is none. */
export function differences(one, other) {
  const [first, second] = [leaves(one), leaves(other)];
  const paths = [...new Set([...first.keys(), ...second.keys()])];
  const pairs = paths.map((path) => ({ path, one: first.get(path), other: second.get(path) }));
  return pairs.filter((pair) => pair.one?.value !== pair.other?.value).map(({ path, ...pair }) => ({ path, one: pair.one?.shown, other: pair.other?.shown }));
}

/** The texts as `[{ kind: "same" | "gone" | "new", text }]`: what only the first has is gone, what only the second has is new. */
export function wordwise(one, other) {
  const [first, second] = [words(one), words(other)];
  let begin = 0;
  while (begin < first.length && begin < second.length && first[begin] === second[begin]) begin += 1;
  let end = 0;
  while (end < Math.min(first.length, second.length) - begin && first.at(-1 - end) === second.at(-1 - end)) end += 1;
  const middle = matched(first.slice(begin, first.length - end), second.slice(begin, second.length - end));
  return joined([...first.slice(0, begin).map(same), ...middle, ...first.slice(first.length - end).map(same)]);
}

function leaves(request) {
  const found = new Map();
  function walk(value, path) {
    const inner = value !== null && typeof value === "object" && !("prefix" in value && "data" in value) ? Object.entries(value) : [];
    if (inner.length) for (const [name, one] of inner) walk(one, Array.isArray(value) ? `${path}[${name}]` : path ? `${path}.${name}` : name);
    else if (value?.data !== undefined) found.set(path, { value: value.text, shown: `${value.name}, ${bytes(Math.round(value.data.length * 0.75))}` });
    else found.set(path, { value: stringify(value), shown: isText(value) ? value : stringify(value) });
  }
  walk(extracted(request).body, "");
  return found;
}

function words(text) {
  return text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
}

function same(text) {
  return { kind: "same", text };
}

/** The longest common words of two lists, and around them what only one has. */
function matched(first, second) {
  const [gone, fresh] = [first.map((text) => ({ kind: "gone", text })), second.map((text) => ({ kind: "new", text }))];
  if (first.length > MOST_WORDS || second.length > MOST_WORDS) return [...gone, ...fresh];
  const width = second.length + 1;
  const lengths = new Uint16Array((first.length + 1) * width); // of the common words from each place on
  for (let i = first.length - 1; i >= 0; i -= 1) {
    for (let j = second.length - 1; j >= 0; j -= 1) lengths[i * width + j] = first[i] === second[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
  }
  const found = [];
  let [i, j] = [0, 0];
  while (i < first.length && j < second.length) {
    if (first[i] === second[j]) {
      found.push(same(first[i]));
      i += 1;
      j += 1;
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) found.push(gone[i++]);
    else found.push(fresh[j++]);
  }
  return [...found, ...gone.slice(i), ...fresh.slice(j)];
}

function joined(parts) {
  const found = [];
  for (const one of parts) {
    if (found.at(-1)?.kind === one.kind) found.at(-1).text += one.text;
    else found.push({ ...one });
  }
  return found;
}
