/** Files inside a request, such as images, and the request without them. */
import { stringify } from "./exact_json.js";

const DATA_URL = /^(data:([\w.+-]+\/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,)/;
const BEGINNINGS = { iVBOR: "png", "/9j/": "jpg", R0lG: "gif", UklG: "webp", Qk: "bmp" }; // of images in base64
const ENDINGS = { "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "audio/wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3", "application/pdf": "pdf" };

/** Stands for a file in a request; `prefix` is what comes before its base64. */
export class Embedded {
  constructor(name, prefix, data) {
    Object.assign(this, { name, prefix, data });
  }

  /** The text that stands in the request. */
  get text() {
    return this.prefix + this.data;
  }
}

/** `{ body, files }`: the request with an Embedded in place of each file, and these in their order. */
export function extracted(request) {
  const files = [];
  const counts = {};
  function take(kind, prefix, data, type) {
    counts[kind] = (counts[kind] ?? 0) + 1;
    const found = new Embedded(`${kind}-${counts[kind]}.${endingOf(type, data)}`, prefix, data);
    files.push(found);
    return found;
  }
  function walk(value, name, around) {
    if (typeof value === "string") return text(value, name, around);
    if (Array.isArray(value)) return value.map((one) => walk(one, name, around));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, walk(one, key, value)]));
  }
  function text(value, name, around) {
    const url = DATA_URL.exec(value);
    if (url) return take(kindOf(url[2] ?? ""), url[1], value.slice(url[1].length), url[2]);
    if (name === "images" && !/^[a-z]+:/.test(value)) return take("image", "", value);
    if (name === "data" && around.type === "base64") return take(kindOf(around.media_type ?? ""), "", value, around.media_type);
    if (name === "data" && typeof around.format === "string") return take("audio", "", value, `audio/${around.format}`);
    return value;
  }
  return { body: walk(request, "", {}), files };
}

/** `{ text, files }`: the request as JSON to read and change, with names in place of the files. */
export function abbreviated(request) {
  const { body, files } = extracted(request);
  return { files, text: stringify(body, (_, value) => (value instanceof Embedded ? marked(value) : value), 2) };
}

/** A function for `parse` that puts the files back where their names are. */
export function restorer(files) {
  const texts = new Map(files.map((file) => [marked(file), file.text]));
  return (_, value) => texts.get(value) ?? value;
}

function marked(file) {
  return `<${file.name}>`;
}

function kindOf(type) {
  const kind = type.split("/")[0];
  return kind === "image" || kind === "audio" ? kind : "file";
}

/** How the name of a file ends, by its type where that is given, else by its base64. */
export function endingOf(type, data) {
  return ENDINGS[type] ?? BEGINNINGS[Object.keys(BEGINNINGS).find((begin) => data.startsWith(begin))] ?? "bin";
}
