/** What is known of models, gathered from the routes that tell a part of it each. */
import { get } from "./api.js";
import { now } from "./clock.js";

const DAY = 86_400_000; // ms
const AT_ONCE = 2; // questions about single models under way
const FOREVER = 50 * 365 * DAY; // what stays loaded is said to expire in centuries

/** A name without the tag that may be left out: two names of one model are the same then. */
export function plainName(name) {
  return name.replace(/:latest$/, "");
}

/** All models as `{ key, name, size, entry, places, loaded, running, waiting, speed }`; `places` are their targets. */
export function allModels({ targets, queue, memory }, facts) {
  const all = new Map();
  const of = (name) => {
    const key = plainName(name);
    if (!all.has(key)) all.set(key, { key, name, size: 0, places: [], loaded: false, running: 0, waiting: 0, speed: facts.speeds.get(key) ?? null });
    return all.get(key);
  };
  for (const target of targets) {
    const loaded = new Map(target.loaded.map((one) => [plainName(one.model), one]));
    for (const name of target.models) {
      const place = { target: target.name, kind: target.kind, model: name, up: target.up, draining: target.draining, since: loaded.get(plainName(name))?.since ?? null, held: heldOf(loaded.get(plainName(name))) };
      of(name).places.push(place);
    }
  }
  for (const name of facts.entries.keys()) of(facts.entries.get(name).name);
  const held = new Map(memory.map((one) => [plainName(one.name), one]));
  for (const one of all.values()) {
    one.entry = facts.entries.get(one.key) ?? null;
    one.size = one.entry?.size ?? 0;
    const [first, ...others] = one.places;
    if (first && !others.length && !first.since) first.held = heldOf(held.get(one.key)); // another program had it loaded
    one.loaded = one.places.some((place) => place.up && (place.since || place.held)) || (!first && held.has(one.key));
  }
  for (const [name, counts] of Object.entries(queue.by_model)) {
    const one = all.get(plainName(name));
    if (one) one.waiting += counts.high + counts.normal + counts.low;
  }
  for (const job of queue.running) {
    const one = all.get(plainName(job.model));
    if (one) one.running += 1;
  }
  return [...all.values()];
}

/** What a server says of a model in its memory: bytes, until when, and for how many tokens, each null if not known. */
function heldOf(said) {
  if (!said) return null;
  const until = Date.parse(said.expires_at);
  return {
    bytes: said.size || said.size_vram || null,
    graphics: said.size ? (said.size_vram ?? 0) / said.size : null,
    until: until - now() < FOREVER && until > now() ? said.expires_at : null,
    context: said.context_length ?? null,
  };
}

/** Sizes and speeds of all models, read now and then, and what a server says of a single one, read once it is seen. */
export class Facts {
  constructor(changed) {
    this.changed = changed;
    this.entries = new Map();
    this.speeds = new Map();
    this.told = new Map(); // what /api/show says, null where it says nothing
    this.listed = null;
    this.wanted = [];
    this.asking = 0;
    this.control = new AbortController();
    this.sight = new IntersectionObserver((seen) => seen.forEach((one) => this.see(one)), { rootMargin: "200px" });
    this.watched = new Map(); // by element
  }

  stop() {
    this.control.abort();
    this.sight.disconnect();
  }

  async read(listed) {
    const from = new Date(now() - DAY).toISOString();
    const [tags, usage] = await Promise.all([get("/api/tags").catch(() => null), get(`/usage?${new URLSearchParams({ by: "model", step: "hour", from })}`).catch(() => null)]);
    if (tags) {
      const entries = new Map((tags.models ?? []).map((one) => [plainName(one.name), one]));
      for (const [key, one] of entries) if (this.entries.get(key)?.digest !== one.digest) this.told.delete(key);
      this.entries = entries;
      this.listed = listed;
    }
    if (usage) this.speeds = speeds(usage.rows);
  }

  /** Tell `heard` whenever the element comes into sight or leaves it; ask about the model when that happens first. */
  watch(element, key, name, heard) {
    this.watched.set(element, { key, name, heard });
    this.sight.observe(element);
  }

  forget(element) {
    this.watched.delete(element);
    this.sight.unobserve(element);
  }

  see({ target, isIntersecting }) {
    const { key, name, heard } = this.watched.get(target) ?? {};
    heard?.(isIntersecting);
    if (!heard || !isIntersecting || this.told.has(key)) return;
    this.told.set(key, null);
    this.wanted.push([key, name]);
    this.ask();
  }

  async ask() {
    if (this.asking >= AT_ONCE || !this.wanted.length) return;
    const [key, name] = this.wanted.shift();
    this.asking += 1;
    try {
      this.told.set(key, about(await get("/api/show", { method: "POST", json: { model: name }, signal: this.control.signal })));
      this.changed();
    } catch {
      // its server is away, or tells nothing of single models
    }
    this.asking -= 1;
    if (!this.control.signal.aborted) this.ask();
  }
}

/** Tokens a second by model, while its jobs ran. */
function speeds(rows) {
  const sums = new Map();
  for (const { by, answer_tokens: tokens, busy_seconds: busy } of rows) {
    const key = plainName(by ?? "");
    const sum = sums.get(key) ?? { tokens: 0, busy: 0 };
    sums.set(key, { tokens: sum.tokens + tokens, busy: sum.busy + busy });
  }
  return new Map([...sums].filter(([, sum]) => sum.busy > 0 && sum.tokens > 0).map(([key, sum]) => [key, sum.tokens / sum.busy]));
}

function about(said) {
  const info = Object.entries(said.model_info ?? {});
  const context = info.find(([name, value]) => name.endsWith(".context_length") && value)?.[1] ?? null;
  return { context, capabilities: said.capabilities ?? [], details: said.details ?? {} };
}
