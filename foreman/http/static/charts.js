import { svg, h, say } from "./dom.js";

const BUCKET = 10_000; // ms
const BUCKETS = 60;
const WIDTH = 300;
const HEIGHT = 72;

/** The last ten minutes: jobs ended, jobs waiting, and how long those that began had waited. */
export class History {
  constructor() {
    this.buckets = new Map(); // number of the bucket -> { ended, waits, depth }
  }

  at(time) {
    const number = Math.floor(time / BUCKET);
    let bucket = this.buckets.get(number);
    if (!bucket) {
      bucket = { ended: 0, waits: [], depth: null };
      this.buckets.set(number, bucket);
      for (const old of this.buckets.keys()) if (old < number - 2 * BUCKETS) this.buckets.delete(old);
    }
    return bucket;
  }

  /** From what the newest jobs tell of themselves. */
  recall(jobs) {
    this.buckets.clear();
    const now = Date.now();
    for (const job of jobs) {
      if (job.completed_at && now - Date.parse(job.completed_at) < BUCKET * BUCKETS) this.at(Date.parse(job.completed_at)).ended += 1;
      if (job.started_at && now - Date.parse(job.started_at) < BUCKET * BUCKETS) this.at(Date.parse(job.started_at)).waits.push((Date.parse(job.started_at) - Date.parse(job.created_at)) / 1000);
    }
    for (let time = now - BUCKET * BUCKETS; time <= now; time += BUCKET) {
      const waited = (job) => Date.parse(job.created_at) <= time && !(Date.parse(job.started_at ?? job.completed_at) <= time);
      this.at(time).depth = jobs.filter(waited).length;
    }
  }

  values(read) {
    const last = Math.floor(Date.now() / BUCKET);
    return Array.from({ length: BUCKETS }, (_, place) => read(this.buckets.get(last - BUCKETS + 1 + place)));
  }

  get ended() {
    return this.values((bucket) => bucket?.ended ?? 0);
  }

  get waits() {
    return this.values((bucket) => (bucket?.waits.length ? [...bucket.waits].sort((a, b) => a - b)[Math.floor(bucket.waits.length / 2)] : null));
  }

  get depths() {
    let last = 0;
    return this.values((bucket) => (last = bucket?.depth ?? last));
  }
}

/** A small chart with a title and the newest value in words. */
export class Chart {
  constructor(title, kind) {
    this.kind = kind;
    this.value = h("strong", {}, "–");
    this.shape = svg("path", { class: kind });
    this.top = h("span.muted", {});
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, this.shape);
    this.element = h(
      "figure.card.chart",
      {},
      h("figcaption", {}, h("span", {}, title), this.value),
      this.picture,
      h("p.axis", { "aria-hidden": "true" }, h("span", {}, "10 min ago"), this.top, h("span", {}, "now")),
    );
    this.title = title;
  }

  draw(values, words, show) {
    const top = Math.max(1e-9, ...values.filter((value) => value !== null));
    const x = (place) => ((place + (this.kind === "bars" ? 0 : 0.5)) * WIDTH) / values.length;
    const y = (value) => HEIGHT - 2 - (value / top) * (HEIGHT - 8);
    let path = "";
    if (this.kind === "bars") {
      const width = WIDTH / values.length - 1;
      values.forEach((value, place) => {
        if (value) path += `M${x(place).toFixed(1)} ${HEIGHT}V${y(value).toFixed(1)}h${width.toFixed(1)}V${HEIGHT}z`;
      });
    } else {
      let drawing = false;
      values.forEach((value, place) => {
        if (value !== null) path += `${drawing ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
        if (value !== null && !drawing) path += "h2";
        drawing ||= value !== null;
      });
    }
    this.shape.setAttribute("d", path || "M0 0");
    say(this.value, words);
    say(this.top, top > 1e-6 ? `peak ${show(top)}` : "");
    this.picture.setAttribute("aria-label", `${this.title}: ${words}`);
  }
}
