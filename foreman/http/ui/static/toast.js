import { h } from "./dom.js";

const BRIEF = 6000; // ms that a note stays
const LONG = 10_000; // ms that one with an action stays after it was last looked at

/**
 * Say something in the corner. With `action`, `{ verb, run }`, it has a button, which Ctrl-Z presses too, and stays while
 * it has the pointer or the focus.
 */
export function toast(text, kind = "", action = null) {
  const button = action && h("button", { type: "button", title: "Ctrl-Z", "aria-keyshortcuts": "Control+Z Meta+Z", onclick: act }, action.verb);
  const note = h(`div.toast${kind ? `.${kind}` : ""}`, {}, h("span", {}, text), button);
  let timer = null;

  function wait() {
    clearTimeout(timer);
    timer = setTimeout(leave, action ? LONG : BRIEF);
  }

  function leave() {
    if (note.matches(":hover, :focus-within")) return wait();
    clearTimeout(timer);
    note.remove();
    removeEventListener("keydown", press);
  }

  function act() {
    clearTimeout(timer);
    note.remove();
    removeEventListener("keydown", press);
    action.run();
  }

  function press(event) {
    const writing = event.target.closest?.("input, textarea, select, dialog");
    const newest = document.getElementById("toasts").querySelector(".toast:last-child button") === button;
    if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || writing || !newest) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    act();
  }

  document.getElementById("toasts").append(note);
  if (action) {
    addEventListener("keydown", press);
    note.addEventListener("focusout", wait);
    note.addEventListener("pointerleave", wait);
  }
  wait();
}
