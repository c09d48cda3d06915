import { ask } from "./api.js";
import { fill, h, toast } from "./dom.js";
import { bytes } from "./format.js";

const TEXTS = /^text\/|json|xml|^image\//; // types that can be shown
const MOST_TEXT = 200_000; // characters of an artifact shown on the page

/** What a job has made, to look at and to download. */
export class Artifacts {
  constructor(id) {
    this.id = id;
    this.urls = [];
    this.element = h("section.card", { "aria-label": "Artifacts", hidden: true });
  }

  show(list) {
    this.element.hidden = !list.length;
    fill(this.element, h("h2", {}, "Artifacts"), h("ul.plain", {}, list.map((one) => this.entry(one))));
  }

  stop() {
    this.urls.forEach((url) => URL.revokeObjectURL(url));
  }

  entry(one) {
    const box = h("div", {});
    const open = () => this.open(one, box).catch((error) => toast(error.message, "bad"));
    const download = () => this.download(one).catch((error) => toast(error.message, "bad"));
    const title = h("div.row", {}, h("span.mono.long", {}, one.name), h("span.muted", {}, `${one.content_type}, ${bytes(one.size)}`), TEXTS.test(one.content_type) && h("button.small", { "aria-label": `Show ${one.name}`, onclick: open }, "Show"), h("button.small", { "aria-label": `Download ${one.name}`, onclick: download }, "Download"));
    if (/^(image|audio)\//.test(one.content_type)) open();
    return h("li", {}, title, box);
  }

  async blob(one) {
    return (await ask(`/jobs/${this.id}/artifacts/${encodeURIComponent(one.name)}`)).blob();
  }

  async url(one) {
    const url = URL.createObjectURL(await this.blob(one));
    this.urls.push(url);
    return url;
  }

  async open(one, box) {
    if (one.content_type.startsWith("image/")) {
      fill(box, h("img.artifact", { src: await this.url(one), alt: one.name }));
    } else if (one.content_type.startsWith("audio/")) {
      fill(box, h("audio.artifact", { src: await this.url(one), controls: true, "aria-label": one.name }));
    } else {
      const text = await (await this.blob(one)).text();
      fill(box, h("pre", { tabIndex: 0 }, text.slice(0, MOST_TEXT)), text.length > MOST_TEXT && h("p.muted", {}, "The rest is in the download."));
    }
  }

  async download(one) {
    h("a", { href: await this.url(one), download: one.name }).click();
  }
}
