/** The dialog of shortcuts, by which they are switched off, too. */
import { fill, h } from "./dom.js";
import { keysOn, switchKeys } from "./keys.js";

const ALWAYS = [
  { title: "Open the entry that has the focus", key: "Enter", group: "On this page" },
  { title: "Close what is open, leave a field", key: "Esc", group: "On this page" },
];
const dialog = h("dialog.shortcuts", { "aria-labelledby": "shortcuts-title" });

/** Show all shortcuts, also those for which there is nothing to do here. */
export function showShortcuts(every) {
  const groups = Map.groupBy([...every.filter((one) => one.key), ...ALWAYS], (one) => one.group);
  const on = h("input", { type: "checkbox", checked: keysOn(), onchange: () => switchKeys(on.checked) });
  fill(
    dialog,
    h("form", { method: "dialog" },
      h("div.row", {}, h("h2", { id: "shortcuts-title" }, "Keyboard shortcuts"), h("button.small", { autofocus: true }, "Close")),
      h("div.shortcut-groups", {}, [...groups].map(([group, entries]) => h("section", { "aria-label": group }, h("h3", {}, group), h("dl", {}, entries.map(({ title, key }) => h("div", {}, h("dt", {}, title), h("dd", {}, kbd(key)))))))),
      h("label.check", {}, on, "Single keys work on this page"),
      h("p.muted", {}, "Never while you type. Ctrl+K, or ⌘K on a Mac, always opens the menu of commands."),
    ),
  );
  if (!dialog.isConnected) document.body.append(dialog);
  if (!dialog.open) dialog.showModal();
}

/** A key or several as they are written on a keyboard. */
export function kbd(key) {
  const words = key.split(/[ +]/).map((one) => h("kbd", {}, one));
  return h("span.keys", {}, words);
}
