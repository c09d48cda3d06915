/** The tokens that this browser keeps, and the dialogs that ask for them. `changes` tells of every change. */
import { say } from "./dom.js";

const KEYS = { token: "foreman-token", admin: "foreman-admin-token" };
export const WATCHED = "foreman-waited-for"; // the caller's own, too: whose ends are notified of
const CHAT = "foreman-chat-"; // begins the names of what the chat keeps in the browser: names, drafts, a system prompt
const OTHERS = new BroadcastChannel("foreman"); // the other tabs of this browser
export const changes = new EventTarget();
const asking = {};

/** The `token` of the caller, or the `admin` token that lends rights to single requests; null where none is kept. */
export function kept(kind) {
  return sessionStorage.getItem(KEYS[kind]) ?? localStorage.getItem(KEYS[kind]);
}

export function forget(kind) {
  sessionStorage.removeItem(KEYS[kind]);
  localStorage.removeItem(KEYS[kind]);
  changes.dispatchEvent(new Event("change"));
}

function keep(kind, value, inBrowser) {
  forget(kind);
  (inBrowser ? localStorage : sessionStorage).setItem(KEYS[kind], value);
  changes.dispatchEvent(new Event("change"));
}

/** Forget all tokens in all tabs, with what was open by them: each begins anew, and asks. */
export function signOut() {
  OTHERS.postMessage("signed out");
  leave();
}

OTHERS.onmessage = ({ data }) => data === "signed out" && leave();

function leave() {
  for (const kind of Object.keys(KEYS)) forget(kind);
  for (const name of Object.keys(localStorage)) if (name === WATCHED || name.startsWith(CHAT)) localStorage.removeItem(name);
  sessionStorage.clear();
  history.replaceState(null, "", "#/");
  location.reload();
}

/** Ask for the token once, however many calls want it. */
export function askToken() {
  asking.token ??= new Promise((resolve) => {
    const dialog = document.getElementById("token");
    const form = dialog.querySelector("form");
    document.getElementById("token-error").hidden = !kept("token");
    dialog.oncancel = (event) => event.preventDefault();
    form.onsubmit = () => {
      asking.token = null;
      keep("token", form.elements.token.value.trim(), form.elements.keep.checked);
      form.reset();
      resolve();
    };
    dialog.showModal();
  });
  return asking.token;
}

/**
 * Ask for an admin token once, however many calls want it; return it, or null where none was given. `judge` returns what
 * is wrong with a token, or "" for a good one; `error` is what is wrong already.
 */
export function askAdmin(judge, error = "") {
  asking.admin ??= new Promise((resolve) => {
    const dialog = document.getElementById("admin");
    const form = dialog.querySelector("form");
    const errorLine = document.getElementById("admin-error");
    const button = form.querySelector(".primary");
    const tell = (words) => {
      say(errorLine, words);
      errorLine.hidden = !words;
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      const given = form.elements.token.value.trim();
      button.disabled = true;
      const words = await judge(given).catch((error) => error.message);
      button.disabled = false;
      if (!dialog.open) return; // given up meanwhile
      tell(words);
      if (words) return form.elements.token.select();
      keep("admin", given, form.elements.keep.checked);
      dialog.close();
    };
    dialog.onclose = () => {
      if (dialog.open) return; // told of the time before
      asking.admin = null;
      form.reset();
      resolve(kept("admin"));
    };
    form.querySelector("[value=no]").onclick = () => dialog.close();
    tell(error);
    dialog.showModal();
  });
  return asking.admin;
}
