/** Lists by keys: from one entry to the next, and what is done with the one that has the focus. */
import { ask } from "./api.js";
import { cancelJob } from "./cancel.js";
import { toast } from "./dom.js";
import { short } from "./format.js";

const ENTRIES = "main :is(.tr:not(.th), .waiting li, .running .job, .models > li)";
const LINK = 'a[href^="#/"]';
const JOB = /^#\/jobs\/([^/?]+)$/;

/** Put the focus on the entry after the one that has it, or before; on a page without a list go to the next job. */
export function step(by) {
  const turn = document.querySelector(`main a[rel="${by > 0 ? "next" : "prev"}"]`);
  if (turn) return turn.click();
  const links = [...document.querySelectorAll(ENTRIES)].filter((one) => one.checkVisibility()).map((one) => one.querySelector(LINK)).filter(Boolean);
  const here = links.indexOf(focused());
  const next = here < 0 ? links.find((link) => link.getBoundingClientRect().top > 0) ?? links[0] : links[here + by];
  next?.focus();
  next?.closest(ENTRIES).scrollIntoView({ block: "nearest" });
}

export function canStep() {
  return Boolean(document.querySelector(`main a[rel=next], main a[rel=prev]`) ?? document.querySelector(`${ENTRIES} ${LINK}`));
}

/** Do what `verb` says with the job that has the focus, or else with what the page shows. */
export async function act(verb) {
  const button = buttonFor(verb);
  if (button) return button.click();
  const id = focusedJob();
  try {
    if (verb === "cancel") return await cancelJob({ job_id: id });
    await ask(`/jobs/${id}/retry`, { method: "POST" });
    toast(`${short(id)} is queued again.`);
  } catch (error) {
    toast(error.message, "bad");
  }
}

export function canAct(verb) {
  return Boolean(buttonFor(verb) ?? focusedJob());
}

/** The button of the entry that has the focus, or of the page; no button that acts on many. */
function buttonFor(verb) {
  const entry = document.activeElement?.closest(ENTRIES);
  const place = entry ?? document.querySelector("main .actions");
  return [...(place?.querySelectorAll("button") ?? [])].find((one) => one.textContent.trim().toLowerCase() === verb && !one.disabled && one.checkVisibility());
}

function focusedJob() {
  return JOB.exec(focused()?.getAttribute("href") ?? "")?.[1] ?? null;
}

function focused() {
  return document.activeElement?.closest(ENTRIES)?.querySelector(LINK) ?? null;
}

/** Put the cursor where something is looked for: in the view that is shown, else among the jobs. */
export async function find() {
  if (!field()) location.hash = "#/jobs";
  for (let tries = 0; tries < 10 && !field(); tries++) await new Promise(requestAnimationFrame);
  field()?.focus();
  field()?.select();
}

function field() {
  return document.querySelector('main .find input[type="search"]') ?? document.querySelector('main input[type="search"]');
}
