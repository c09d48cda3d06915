import { get } from "./api.js";
import { MARK, placeOf } from "./chat_thread.js";
import { h, keyed, say } from "./dom.js";
import { ENDED, RUNNING, day } from "./format.js";

const PAGE = 200; // jobs at a time
const NAMES = "foreman-chat-names"; // new names, kept in the browser

export function nameOf(id) {
  return names()[id];
}

export function rename(id, name) {
  localStorage.setItem(NAMES, JSON.stringify({ ...names(), [id]: name }));
}

export function forget(id) {
  const { [id]: gone, ...rest } = names();
  localStorage.setItem(NAMES, JSON.stringify(rest));
}

function names() {
  try {
    return JSON.parse(localStorage.getItem(NAMES)) ?? {};
  } catch {
    return {};
  }
}

/** All jobs whose custom id begins so, newest first; `most` bounds the pages. */
export async function jobsOf(prefix, { after = null, most = Infinity } = {}) {
  const jobs = [];
  let next = after;
  for (let page = 0; page < most && (page === 0 || next); page += 1) {
    const query = new URLSearchParams({ custom_id: `${prefix}*`, limit: PAGE, ...(next ? { after: next } : {}) });
    const found = await get(`/jobs?${query}`);
    jobs.push(...found.jobs);
    next = found.next;
  }
  return { jobs, next };
}

/** The conversations that jobs tell of, the one that went on last first. */
export class ChatList {
  constructor(current) {
    this.current = current;
    this.jobs = [];
    this.next = null;
    this.list = h("ul.plain.conversations");
    this.note = h("p.muted", { role: "status" }, "Looking …");
    this.more = h("button.small", { hidden: true, onclick: () => this.older() }, "Older ones");
    this.element = h("details.chat-list", { open: matchMedia("(min-width: 901px)").matches }, h("summary", {}, "Conversations"), h("a.button.small", { href: "#/playground" }, "New conversation"), this.list, this.note, this.more);
  }

  async read() {
    try {
      const { jobs, next } = await jobsOf(MARK, { most: 1 });
      const known = new Set(jobs.map((job) => job.job_id));
      const last = jobs.at(-1)?.job_id ?? "";
      const older = this.jobs.filter((job) => !known.has(job.job_id) && job.job_id < last); // read before, by “Older ones”
      this.jobs = [...jobs, ...older];
      if (!older.length) this.next = next;
      this.show();
    } catch (error) {
      say(this.note, error.message);
    }
  }

  async older() {
    this.more.disabled = true;
    try {
      const { jobs, next } = await jobsOf(MARK, { after: this.next, most: 1 });
      this.jobs.push(...jobs);
      this.next = next;
      this.show();
    } catch (error) {
      say(this.note, error.message);
    }
    this.more.disabled = false;
  }

  show() {
    const chats = new Map();
    for (const job of this.jobs) {
      const place = placeOf(job);
      if (!place) continue;
      if (!chats.has(place.chat)) chats.set(place.chat, { id: place.chat, title: nameOf(place.chat) ?? place.title, at: job.created_at, models: new Set(), now: "" });
      const chat = chats.get(place.chat);
      chat.models.add(job.model);
      if (RUNNING.has(job.state)) chat.now = "answers now · ";
      else if (!ENDED.has(job.state)) chat.now ||= "waits · ";
    }
    keyed(this.list, [...chats.values()], {
      key: (chat) => chat.id,
      make: (chat) => {
        const title = h("span.title");
        const about = h("span.muted");
        return { title, about, element: h("li", {}, h("a", { href: `#/playground/${chat.id}` }, title, about)) };
      },
      update: ({ title, about, element }, chat) => {
        say(title, chat.title);
        say(about, `${chat.now}${[...chat.models].join(", ")} · ${day(chat.at)}`);
        const link = element.firstChild;
        if (chat.id === this.current) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      },
    });
    this.note.hidden = chats.size > 0;
    say(this.note, "None yet. Each answer is a job, and a conversation is kept as long as its jobs are.");
    this.more.hidden = !this.next;
  }
}
