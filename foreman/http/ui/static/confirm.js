import { say } from "./dom.js";

/** Ask before what cannot be undone; return whether it shall be done. */
export function confirm({ title, words, verb }) {
  const dialog = document.getElementById("confirm");
  say(document.getElementById("confirm-title"), title);
  say(document.getElementById("confirm-words"), words);
  say(dialog.querySelector(".danger"), verb);
  dialog.returnValue = "";
  dialog.showModal(); // the focus goes to what keeps, goes round inside, and back to where it was
  return new Promise((resolve) => {
    dialog.addEventListener("close", function closed() {
      if (dialog.open) return; // told of the time before, which was over a moment ago
      dialog.removeEventListener("close", closed);
      resolve(dialog.returnValue === "yes");
    });
  });
}
