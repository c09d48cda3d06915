import { h, toast } from "./dom.js";

/** Copy `text` and say so; `what` names it. */
export async function copy(text, what) {
  if ((await byClipboard(text)) || bySelection(text)) toast(`${what} is copied.`);
  else toast(`This browser does not let pages copy. ${what}: ${text}`, "bad");
}

/** Over plain http there is no clipboard, and where there is one the reader may have denied it. */
async function byClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function bySelection(text) {
  const focused = document.activeElement;
  const area = h("textarea.copied", { value: text, readOnly: true, tabIndex: -1, "aria-hidden": "true" });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return copied;
}
