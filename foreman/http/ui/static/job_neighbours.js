import { fill, h } from "./dom.js";
import { short } from "./format.js";
import { backToList, neighbours, walk } from "./neighbours.js";

/** Links to the list that the reader came from, and to the jobs before and after this one. */
export class Neighbours {
  constructor() {
    this.element = walk("Other jobs");
    this.show({ previous: null, next: null });
  }

  /** Find the neighbours of a job; where that fails there are none. */
  async find(job) {
    try {
      this.show(await neighbours(job));
    } catch {
      this.show({ previous: null, next: null });
    }
  }

  show({ previous, next }) {
    const focused = this.element.contains(document.activeElement) && document.activeElement.rel;
    fill(this.element, backToList(), step("prev", "Previous", previous), step("next", "Next", next));
    if (focused) this.element.querySelector(`[rel=${focused}]`)?.focus();
  }
}

function step(rel, words, id) {
  if (id) return h("a.button.small", { rel, href: `#/jobs/${id}`, title: `job ${short(id)}` }, words);
  return h("button.small", { disabled: true }, words);
}
