/**
 * Being told when a job or a batch ends: by a notification of the browser where it lets the page, else by a toast and a
 * number in the title. What is waited for is kept in this browser, and asked about when the page opens again.
 */
import { WAITED } from "./access.js"; // the key of `jobs/ID` and `batches/ID` with their names
import { get } from "./api.js";
import { badge } from "./badge.js";
import { OVER, worded } from "./batch_parts.js";
import { h, say, toast } from "./dom.js";
import { ENDED, called, short } from "./format.js";

const ALL = "foreman-tell-all"; // localStorage: whether jobs from this page are waited for
const EVERY = 5000; // ms between looks at the batches, of whose end no event tells
const MOST = 200; // waited for at a time
const REASONS = {
  denied: "This browser blocks notifications of this page, so a message here and a number in the tab's title will tell you. The lock beside the address lets you allow them.",
  unable: "Without https this browser shows no notifications, so a message here and a number in the tab's title will tell you.",
};
const news = new EventTarget();

function waited() {
  try {
    return JSON.parse(localStorage.getItem(WAITED)) ?? {};
  } catch {
    return {};
  }
}

function keep(all) {
  localStorage.setItem(WAITED, JSON.stringify(Object.fromEntries(Object.entries(all).slice(-MOST))));
  news.dispatchEvent(new Event("change"));
}

function wait(path, name) {
  keep({ ...waited(), [path]: name });
  lookAt(path); // it may have ended before
}

/** Wait for something no more; return whether it was waited for, which of several tabs only one hears. */
function letGo(path) {
  const { [path]: name, ...others } = waited();
  if (name !== undefined) keep(others);
  return name !== undefined;
}

/** Ask for the right to notify, where nobody has decided yet; return why there will be none, or "". */
async function permission() {
  if (!("Notification" in globalThis) || !isSecureContext) return REASONS.unable;
  const right = Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
  return right === "granted" ? "" : REASONS.denied;
}

/** A switch that has somebody told when this job or batch ends; `path` is `jobs/ID` or `batches/ID`. */
export function tellMe(path, name) {
  const note = h("span.muted.tell-note", { role: "status" });
  const button = h("button.tell", { onclick: toggle }, "Tell me");
  const show = () => {
    const on = path in waited();
    button.setAttribute("aria-pressed", on);
    button.title = on ? "You will be told when it ends" : "Be told when it ends";
  };

  async function toggle() {
    const on = !(path in waited());
    if (on) wait(path, name);
    else letGo(path);
    show();
    say(note, on ? (await permission()) : "");
  }
  show();
  return h("span.row", {}, button, note);
}

/** A switch that has somebody told of each job that this page submits. */
export function tellAll() {
  const note = h("span.muted", { role: "status" });
  const box = h("input", { type: "checkbox", checked: localStorage.getItem(ALL) === "on", onchange: toggle });

  async function toggle() {
    localStorage.setItem(ALL, box.checked ? "on" : "off");
    say(note, box.checked ? await permission() : "");
  }
  return h("div.tell-all", {}, h("label.check", {}, box, "Tell me when jobs that I submit here end"), note);
}

/** A job was submitted from this page. */
export function submitted(id, name = short(id)) {
  if (localStorage.getItem(ALL) === "on") wait(`jobs/${id}`, name);
}

/** Look out for the ends of what is waited for, on the feed, which stays connected meanwhile, and by asking. */
export function teller(feed) {
  const changed = () => feed.need(Object.keys(waited()).length > 0);
  feed.addEventListener("event", ({ detail: event }) => hear(`jobs/${event.job_id}`, event));
  feed.addEventListener("reset", () => look("jobs"));
  news.addEventListener("change", changed);
  addEventListener("storage", ({ key }) => key === WAITED && changed()); // another tab's
  setInterval(() => look("batches"), EVERY);
  changed();
}

/** Ask about what is waited for: it may have ended while nobody listened. */
async function look(kind) {
  for (const path of Object.keys(waited())) if (path.startsWith(`${kind}/`)) await lookAt(path);
}

async function lookAt(path) {
  const found = await get(`/${path}`).catch((fault) => (fault.status === 404 ? "gone" : null));
  if (found === "gone") letGo(path);
  if (!found?.state) return;
  if (path.startsWith("jobs/")) hear(path, found);
  else if (OVER.includes(found.state)) end(path, `Batch ${worded(found.state)}: ${waited()[path]}`, `${found.done} of ${found.total ?? "?"} lines done, ${found.failed} failed`, found.state);
}

/** Take in a state of a job that may be waited for. */
function hear(path, job) {
  if (ENDED.has(job.state)) end(path, `Job ${job.state}: ${called(job)}`, [job.model, job.error].filter(Boolean).join(": "), job.state);
}

function end(path, ...words) {
  if (letGo(path)) tell(path, ...words);
}

function tell(path, title, body, state) {
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
