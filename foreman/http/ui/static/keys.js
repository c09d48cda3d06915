/** Shortcuts: single keys and `g` with a letter, never while something is typed, and off for who wants them off. */
import { commands } from "./commands.js";

const KEY = "foreman-keys";
const SECOND = 1500; // ms for the letter after g
const TYPED = 'input, textarea, select, [contenteditable=""], [contenteditable="true"], [role="slider"]';

export function keysOn() {
  return localStorage.getItem(KEY) !== "off";
}

export function switchKeys(on) {
  if (on) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, "off");
}

/** Listen for keys; `menu` opens the menu of commands, by Ctrl-K or Cmd-K. */
export function listen(menu) {
  let first = "";
  let until = 0;
  addEventListener("keydown", (event) => {
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    if (modified && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k" && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      return menu();
    }
    if (event.key === "Escape" && event.target.matches?.(TYPED)) return event.target.closest("dialog") || event.target.blur();
    if (modified || event.defaultPrevented || event.isComposing || !keysOn() || event.target.matches?.(TYPED) || document.querySelector("dialog[open]")) {
      first = "";
      return;
    }
    const pressed = first && Date.now() < until ? `${first} ${event.key}` : event.key;
    const every = commands();
    const found = every.find((one) => one.key === pressed) ?? every.find((one) => one.key === event.key);
    first = !found && every.some((one) => one.key?.startsWith(`${event.key} `)) ? event.key : "";
    until = Date.now() + SECOND;
    if (!found || (event.repeat && !found.repeats)) return;
    event.preventDefault();
    document.querySelector(":popover-open")?.hidePopover();
    found.run();
  });
}
