import { fill, h, pause } from "./dom.js";
import { endingOf } from "./embedded.js";
import { bytes } from "./format.js";

const BEGINNINGS = { "image/png": "\x89PNG", "image/jpeg": "\xff\xd8\xff", "image/gif": "GIF8", "image/webp": "RIFF", "image/bmp": "BM" };

/** The images that were sent, in their order, from the bytes in the request; nothing is loaded from elsewhere. */
export class Pictures {
  constructor() {
    this.urls = [];
    this.count = 0;
    this.drawn = Promise.resolve();
  }

  /** An element for one more image. */
  add({ type, data, address }) {
    const box = h("figure.picture", {});
    if (address !== undefined) fill(box, h("p.muted.long", {}, `An image that is not in the request, and not loaded: ${address.slice(0, 300)}`));
    else {
      const number = (this.count += 1);
      this.drawn = this.drawn.then(() => this.draw(box, number, type, data));
    }
    return box;
  }

  stop() {
    this.urls.forEach((url) => URL.revokeObjectURL(url));
  }

  async draw(box, number, type, data) {
    await pause(0); // each in a task of its own: many large ones take their time
    const name = `image ${number}`;
    const bad = (why) => fill(box, h("p.bad", {}, `${name} cannot be shown: ${why}.`));
    const content = decoded(data);
    if (!content) return bad("its data is not base64");
    const kind = kindOf(content) ?? type;
    const url = URL.createObjectURL(new Blob([content], { type: kind }));
    this.urls.push(url);
    const save = h("a", { href: url, download: `image-${number}.${endingOf(type, data)}` }, "Save");
    const image = h("img.artifact", { alt: name, onerror: () => bad(`this browser cannot read its ${bytes(content.length)}${kind ? ` of ${kind}` : ""}`) });
    fill(box, image, h("figcaption.muted", {}, [name, kind, bytes(content.length)].filter(Boolean).join(", "), " · ", save));
    image.src = url;
  }
}

function decoded(data) {
  try {
    const text = atob(data);
    return text ? Uint8Array.from(text, (letter) => letter.charCodeAt(0)) : null;
  } catch {
    return null;
  }
}

function kindOf(content) {
  const begin = String.fromCharCode(...content.subarray(0, 8));
  return Object.keys(BEGINNINGS).find((kind) => begin.startsWith(BEGINNINGS[kind])) ?? null;
}
