import { fill, h, pause } from "./dom.js";
import { laidOut } from "./exact_json.js";
import { count } from "./format.js";
import { pieces } from "./pieces.js";
import { code, marked, rendered } from "./rendered.js";

const KEY = "foreman-plain"; // kept in the browser: whether Markdown is shown as it was written
const AT_ONCE = 20; // pieces drawn without being asked
const LONGEST_JSON = 50_000; // characters that are laid out as JSON

const choice = new EventTarget();
let plain = localStorage.getItem(KEY) === "yes";

/** A text; with `drawn`, its Markdown is drawn unless the reader wants it plain. `stop()` ends it. */
export class Written {
  constructor(text, { drawn = true } = {}) {
    this.text = text;
    this.json = drawn ? laidOut(text, LONGEST_JSON) : null;
    this.marked = this.json !== null || (drawn && marked(pieces(text).next().value?.markdown ?? ""));
    this.element = h("div.written", {});
    this.turn = 0;
    this.chosen = () => this.draw();
    if (this.marked) choice.addEventListener("change", this.chosen);
    this.draw();
  }

  stop() {
    this.turn += 1;
    choice.removeEventListener("change", this.chosen);
  }

  /** Draw piece by piece, each in a task of its own, so that the page answers meanwhile. */
  async draw() {
    const mine = ++this.turn;
    fill(this.element);
    this.element.classList.toggle("md", this.marked && !plain);
    if (this.json !== null && !plain) return this.element.append(code(this.json, "json"));
    let drawn = 0;
    let left = this.text.length;
    for (const piece of pieces(this.text)) {
      if (drawn && drawn % AT_ONCE === 0) await this.wanted(left);
      else if (drawn) await pause(0);
      if (mine !== this.turn) return;
      this.element.append(...(this.marked && !plain ? rendered(piece.markdown) : [h("p.text", {}, piece.text)]));
      drawn += 1;
      left -= piece.text.length;
    }
  }

  /** Wait until the reader asks for the rest. */
  wanted(left) {
    return new Promise((resolve) => {
      const button = h("button.small", { onclick: () => (button.remove(), resolve()) }, `Show more (${count(left)} characters left)`);
      this.element.append(button);
    });
  }
}

/** A button that shows texts plain, or their Markdown drawn, on this page and from now on. */
export function plainSwitch() {
  const button = h("button.small", { onclick: change }, "Plain text");
  const show = () => button.setAttribute("aria-pressed", `${plain}`);
  function change() {
    plain = !plain;
    localStorage.setItem(KEY, plain ? "yes" : "no");
    show();
    choice.dispatchEvent(new Event("change"));
  }
  show();
  return button;
}
