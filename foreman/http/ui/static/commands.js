/** The commands of the page: one list for the shortcuts, the dialog that shows them, and the menu. */
import { changes, forget, kept, signOut } from "./access.js";
import { get, rise } from "./api.js";
import { toast } from "./dom.js";
import { act, canAct, canStep, find, step } from "./list_keys.js";
import { THEMES, paint } from "./theme.js";

const GO = "Go to";
const HERE = "On this page";
const QUEUE = "The queue";
const YOU = "You and this page";
const MOST_BUTTONS = 40;
let me = null; // who the caller is, as far as known
let opened = {}; // what opens the menu and the dialog of shortcuts

/** Take what opens the menu and the dialog of shortcuts, which themselves show the commands. */
export function opening(dialogs) {
  opened = dialogs;
}

export async function learnRights() {
  me = await get("/me").catch(() => me);
}
changes.addEventListener("change", learnRights);

/**
 * The commands that can be given now, or `all` with a key: `{ title, group, key, run }`. One that `repeats` is given again
 * and again while its key is held; the menu leaves out what is `quiet`.
 */
export function commands({ all = false } = {}) {
  if (all) return [...views(), ...fixed()].filter((one) => one.key);
  return [...views(), ...fixed(), ...buttons()].filter((one) => one.can?.() ?? true);
}

/** The views in the head of the page and their keys: the first letter of each that none before it has. */
function views() {
  const taken = new Set(["s"]);
  const links = [...document.querySelectorAll("nav a")].filter((link) => link.getAttribute("href") !== "#/new");
  const found = links.map((link) => {
    const title = link.textContent.trim();
    const letter = [...title.toLowerCase()].find((one) => /[a-z]/.test(one) && !taken.has(one));
    taken.add(letter);
    return { title, group: GO, key: letter && `g ${letter}`, run: () => (location.hash = link.getAttribute("href")) };
  });
  return [...found, { title: "Settings", group: GO, key: "g s", run: () => (location.hash = "#/settings") }];
}

function fixed() {
  return [
    { title: "New job", group: GO, key: "n", run: () => (location.hash = "#/new") },
    { title: "Find", group: GO, key: "/", run: find },
    { title: "Next entry or job", group: HERE, key: "j", repeats: true, quiet: true, can: canStep, run: () => step(1) },
    { title: "Entry or job before", group: HERE, key: "k", repeats: true, quiet: true, can: canStep, run: () => step(-1) },
    { title: "Cancel the job", group: HERE, key: "c", quiet: true, can: () => canAct("cancel"), run: () => act("cancel") },
    { title: "Retry the job", group: HERE, key: "r", quiet: true, can: () => canAct("retry"), run: () => act("retry") },
    { title: "Pause the queue", group: QUEUE, run: () => order("/queue/pause", () => "The queue is paused: running jobs go on.") },
    { title: "Resume the queue", group: QUEUE, run: () => order("/queue/resume", () => "The queue goes on.") },
    { title: "Read the settings again", group: QUEUE, run: () => order("/reload", reloaded) },
    ...THEMES.map((name) => ({ title: `Theme: ${name}`, group: YOU, run: () => paint(name) })),
    { title: "Commands", group: YOU, key: "Ctrl+K", quiet: true, run: () => opened.menu() },
    { title: "Keyboard shortcuts", group: YOU, key: "?", run: () => opened.shortcuts() },
    { title: "Use an admin token", group: YOU, can: () => me?.admin_token_set && !me.rights.includes("admin") && !kept("admin"), run: () => rise() },
    { title: "Drop admin rights", group: YOU, can: () => kept("admin"), run: () => forget("admin") },
    { title: "Sign out", group: YOU, can: () => kept("token"), run: signOut },
  ];
}

/** What the buttons of the view do, each by its name and by what it is a part of. */
function buttons() {
  const seen = [...document.querySelectorAll("main button")].filter((one) => !one.disabled && one.checkVisibility()).slice(0, MOST_BUTTONS);
  return seen.map((button) => {
    const words = button.getAttribute("aria-label") ?? button.textContent.trim();
    const around = button.closest("article[aria-label]")?.getAttribute("aria-label");
    return { title: around && !button.hasAttribute("aria-label") ? `${words}: ${around}` : words, group: HERE, run: () => button.click() };
  }).filter((one) => one.title);
}

async function order(path, words) {
  try {
    toast(words(await get(path, { method: "POST" })));
  } catch (error) {
    toast(error.message, "bad");
  }
}

/** What reading the settings again has changed, in words. */
export function reloaded({ changed, needs_restart: restart }) {
  return [changed.length ? `Changed: ${changed.join(", ")}.` : "Nothing has changed.", restart.length ? `Needs a restart: ${restart.join(", ")}.` : ""].filter(Boolean).join(" ");
}
