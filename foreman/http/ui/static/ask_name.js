import { h, say } from "./dom.js";

/** Ask for a name; return it, or null. `verb` says what the button does with what is written. */
export function askName({ title, words, value, verb }) {
  const input = h("input", { value, required: true, maxLength: 60, autocomplete: "off", oninput: () => say(button, verb(input.value.trim())) });
  const button = h("button.primary", { value: "yes" }, verb(value));
  const dialog = h(
    "dialog",
    { "aria-label": title },
    h("form", { method: "dialog" }, h("h2", {}, title), h("label", {}, "Name", input), h("p.muted", {}, words), h("div.row.end", {}, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), button)),
  );
  document.body.append(dialog);
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? input.value.trim() || null : null);
    });
  });
}
