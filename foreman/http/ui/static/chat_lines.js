import { h } from "./dom.js";

/** A text that grows: each line is an element of its own, so that the browser lays out only the last one anew. */
export class Lines {
  constructor(text = "") {
    this.element = h("div.text", {});
    this.set(text);
  }

  set(text) {
    this.element.replaceChildren();
    this.last = null;
    if (text) this.add(text);
  }

  add(text) {
    text.split("\n").forEach((part, place) => {
      if (place || !this.last) {
        this.last = new Text("");
        this.element.append(h("div.line", {}, this.last));
      }
      this.last.appendData(part);
    });
  }
}
