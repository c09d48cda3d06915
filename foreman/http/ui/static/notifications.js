/**
 * Notifications of the end of a job or a batch: the browser's own where it lets the page, else a toast and a number in the
 * title. What is watched is kept in this browser, and asked about when the page opens again.
 */
import { WATCHED } from "./access.js"; // the key of `jobs/ID` and `batches/ID` with their names
import { get } from "./api.js";
import { badge } from "./badge.js";
import { OVER, worded } from "./batch_parts.js";
import { h, say, toast } from "./dom.js";
import { ENDED, called, short } from "./format.js";

const ALL = "foreman-tell-all"; // localStorage: whether jobs from this page are watched
const EVERY = 5000; // ms between looks at the batches, of whose end no event tells
const MOST = 200; // watched at a time
const REASONS = {
  denied: "This browser blocks notifications of this page, so a message here and a number in the tab's title will tell you. The lock beside the address lets you allow them.",
  unable: "Without https this browser shows no notifications, so a message here and a number in the tab's title will tell you.",
};
const news = new EventTarget();

function watched() {
  try {
    return JSON.parse(localStorage.getItem(WATCHED)) ?? {};
  } catch {
    return {};
  }
}

function keep(all) {
  localStorage.setItem(WATCHED, JSON.stringify(Object.fromEntries(Object.entries(all).slice(-MOST))));
  news.dispatchEvent(new Event("change"));
}

function watch(path, name) {
  keep({ ...watched(), [path]: name });
  lookAt(path); // it may have ended before
}

/** Watch something no more; return whether it was watched, which of several tabs only one hears. */
function unwatch(path) {
  const { [path]: name, ...others } = watched();
  if (name !== undefined) keep(others);
  return name !== undefined;
}

/** Ask for the right to notify, where nobody has decided yet; return why there will be none, or "". */
async function permission() {
  if (!("Notification" in globalThis) || !isSecureContext) return REASONS.unable;
  const right = Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
  return right === "granted" ? "" : REASONS.denied;
}

/** A switch for the notification of the end of this job or batch; `path` is `jobs/ID` or `batches/ID`. */
export function notifySwitch(path, name) {
  const note = h("span.muted.notify-note", { role: "status" });
  const button = h("button.notify", { onclick: toggle }, "Tell me");
  const show = () => {
    const on = path in watched();
    button.setAttribute("aria-pressed", on);
    button.title = on ? "You will be told when it ends" : "Be told when it ends";
  };

  async function toggle() {
    const on = !(path in watched());
    if (on) watch(path, name);
    else unwatch(path);
    show();
    say(note, on ? (await permission()) : "");
  }
  show();
  return h("span.row", {}, button, note);
}

/** A switch for a notification of the end of each job that this page submits. */
export function notifyAllSwitch() {
  const note = h("span.muted", { role: "status" });
  const box = h("input", { type: "checkbox", checked: localStorage.getItem(ALL) === "on", onchange: toggle });

  async function toggle() {
    localStorage.setItem(ALL, box.checked ? "on" : "off");
    say(note, box.checked ? await permission() : "");
  }
  return h("div.notify-all", {}, h("label.check", {}, box, "Tell me when jobs that I submit here end"), note);
}

/** Watch a job that was submitted from this page, where the switch for all says so. */
export function watchSubmitted(id, name = short(id)) {
  if (localStorage.getItem(ALL) === "on") watch(`jobs/${id}`, name);
}

/** Watch for ends on the feed, which stays connected meanwhile, and by asking. */
export function watchEnds(feed) {
  const changed = () => feed.need(Object.keys(watched()).length > 0);
  feed.addEventListener("event", ({ detail: event }) => takeIn(`jobs/${event.job_id}`, event));
  feed.addEventListener("reset", () => look("jobs"));
  news.addEventListener("change", changed);
  addEventListener("storage", ({ key }) => key === WATCHED && changed()); // another tab's
  setInterval(() => look("batches"), EVERY);
  changed();
}

/** Ask about what is watched: it may have ended while nobody listened. */
async function look(kind) {
  for (const path of Object.keys(watched())) if (path.startsWith(`${kind}/`)) await lookAt(path);
}

async function lookAt(path) {
  const found = await get(`/${path}`).catch((error) => (error.status === 404 ? "gone" : null));
  if (found === "gone") unwatch(path);
  if (!found?.state) return;
  if (path.startsWith("jobs/")) takeIn(path, found);
  else if (OVER.includes(found.state)) end(path, `Batch ${worded(found.state)}: ${watched()[path]}`, `${found.done} of ${found.total ?? "?"} lines done, ${found.failed} failed`, found.state);
}

/** Take in a state of a job that may be watched. */
function takeIn(path, job) {
  if (ENDED.has(job.state)) end(path, `Job ${job.state}: ${called(job)}`, [job.model, job.error].filter(Boolean).join(": "), job.state);
}

function end(path, ...words) {
  if (unwatch(path)) notify(path, ...words);
}

function notify(path, title, body, state) {
  const there = !document.hidden && document.hasFocus();
  toast(h("a", { href: `#/${path}` }, title), state === "failed" ? "bad" : "");
  if (there) return;
  badge();
  if (!("Notification" in globalThis) || Notification.permission !== "granted") return;
  try {
    const shown = new Notification(title, { body, tag: path, icon: "/static/icon.svg" });
    shown.onclick = () => {
      focus();
      location.hash = `#/${path}`;
      shown.close();
    };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // phones want a service worker for it; the title tells
  }
}
