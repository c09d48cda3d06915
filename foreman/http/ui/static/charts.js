import { h, say, svg } from "./dom.js";
import { minute } from "./format.js";

const HEIGHT = 116; // px of the picture
const LEFT = 48; // for the scale
const BOTTOM = 18; // for the times
const TOP = 8;

/**
 * A chart of steps of time: bars that stand on each other, or lines, with a scale, and what the step under the pointer
 * or the arrow keys comes to. `series` are `{ name, shade, of, say }`: `of` takes a step's figures, and the step, and returns a
 * number or null, `say` puts it into words. `words` labels the scale, which ends at one of `tops`; `when` puts the time of a
 * step into words. One that is `brief` tells the parts of the step that is looked at only.
 */
export class Chart {
  constructor(title, kind, { series, words, tops, when = minute, brief = false }) {
    Object.assign(this, { title, kind, series, words, tops, when, brief });
    this.steps = [];
    this.chosen = null; // time of the step that is looked at
    this.value = h("strong", {}, "–");
    this.readout = h("p.readout", {});
    this.picture = svg("svg", { "aria-hidden": "true" });
    this.slider = h(
      "div.plot",
      {
        role: "slider",
        tabIndex: 0,
        "aria-label": title,
        "aria-valuemin": 0,
        onkeydown: (event) => this.press(event),
        onfocus: () => this.choose(this.chosen ?? this.steps.at(-1)?.at),
        onblur: () => this.choose(null),
        onpointermove: (event) => this.point(event),
        onpointerleave: () => this.choose(document.activeElement === this.slider ? this.chosen : null),
      },
      this.picture,
    );
    this.labels = series.map((part) => h("span", {}, part.name));
    const legend = series.length > 1 && h("p.legend", { "aria-hidden": "true" }, series.map((part, place) => h("span", {}, h(`i.${part.shade}`), this.labels[place])));
    this.element = h("figure.card.chart", {}, h("figcaption", {}, h("span", {}, title), this.value), this.slider, legend, this.readout);
    new ResizeObserver(() => this.paint()).observe(this.slider);
    this.draw([], "–");
  }

  /** `steps` are `{ at, figures }`, oldest first; `figures` is null where nothing is known. */
  draw(steps, headline) {
    this.steps = steps;
    say(this.value, headline);
    this.paint();
  }

  /** Name the series anew; one without a name is left out of the legend. */
  name(names) {
    this.labels.forEach((label, place) => {
      say(label, names[place] ?? "");
      label.parentElement.hidden = !names[place];
    });
  }

  choose(at) {
    this.chosen = at ?? null;
    this.paint();
  }

  press(event) {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || !this.steps.length) return;
    event.preventDefault();
    const last = this.steps.length - 1;
    this.choose(this.steps[Math.min(last, Math.max(0, this.place + step))].at);
  }

  point(event) {
    const box = this.picture.getBoundingClientRect();
    const place = Math.floor(((event.clientX - box.left - LEFT) / (box.width - LEFT)) * this.steps.length);
    if (this.steps[place]) this.choose(this.steps[place].at);
  }

  /** Of the step that is looked at; the last one where that has gone by. */
  get place() {
    const found = this.steps.findIndex((one) => one.at === this.chosen);
    return found < 0 ? this.steps.length - 1 : found;
  }

  values(one) {
    return this.series.map((part) => (one.figures ? part.of(one.figures, one) : null));
  }

  most(one) {
    const values = this.values(one).filter((value) => value !== null);
    return this.kind === "bars" ? values.reduce((sum, value) => sum + value, 0) : Math.max(0, ...values);
  }

  describe(one) {
    if (!one?.figures) return "no figures";
    const values = this.values(one);
    const said = this.series.flatMap((part, place) => (values[place] || (place === 0 && values[place] !== null) ? [part.say(values[place])] : []));
    return said.join(", ") || "none";
  }

  paint() {
    const { steps } = this;
    const width = this.slider.clientWidth;
    const highest = steps.reduce((best, one) => (one.figures && this.most(one) > (best ? this.most(best) : 0) ? one : best), null);
    const looked = this.chosen === null ? null : steps[this.place];
    const shown = looked ?? highest;
    const told = shown && (this.brief && !looked ? this.words(this.most(shown)) : this.describe(shown));
    say(this.readout, shown ? `${looked ? "" : "Most: "}${told}${looked ? ", " : " at "}${this.when(shown.at)}` : steps.some((one) => one.figures) ? "Nothing yet" : "No figures yet");
    this.slider.setAttribute("aria-valuemax", Math.max(0, steps.length - 1));
    this.slider.setAttribute("aria-valuenow", Math.max(0, this.place));
    this.slider.setAttribute("aria-valuetext", steps.length ? `${this.when(steps[this.place].at)}: ${this.describe(steps[this.place])}` : "No figures yet");
    if (!width) return;
    this.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const top = this.tops.find((value) => value >= (highest ? this.most(highest) : 0)) ?? this.tops.at(-1);
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
    const step = (width - LEFT) / Math.max(1, steps.length);
    const x = (place) => LEFT + place * step;
    this.picture.replaceChildren(...this.scale(top, width, y), ...this.times(width, x), ...this.unknown(x, step), ...(looked ? [svg("rect", { class: "looked", x: x(this.place), y: TOP, width: step, height: HEIGHT - BOTTOM - TOP })] : []), ...(this.kind === "bars" ? this.bars(x, y, step) : this.lines(x, y, step)));
  }

  scale(top, width, y) {
    const half = this.words(top / 2);
    const marks = [0, ...(this.words(Math.round(top / 2)) === half || top < 1 ? [top / 2] : []), top];
    return marks.flatMap((value) => [svg("path", { class: "grid", d: `M${LEFT} ${y(value)}H${width}` }), svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, this.words(value))]);
  }

  times(width, x) {
    if (!this.steps.length) return [];
    const middle = Math.floor(this.steps.length / 2);
    return [
      svg("text", { x: LEFT, y: HEIGHT - 4 }, this.when(this.steps[0].at)),
      ...(width > 240 ? [svg("text", { x: x(middle), y: HEIGHT - 4, "text-anchor": "middle" }, this.when(this.steps[middle].at))] : []),
      svg("text", { x: width, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
    ];
  }

  /** The steps of which nothing is known, so that they are not taken for zeros. */
  unknown(x, step) {
    const parts = this.steps.map((one, place) => (one.figures ? "" : `M${x(place)} ${TOP}h${step}V${HEIGHT - BOTTOM}h${-step}z`));
    return [svg("path", { class: "unknown", d: parts.join("") || "M0 0" })];
  }

  bars(x, y, step) {
    const paths = this.series.map(() => "");
    const gap = Math.min(1, step / 5);
    this.steps.forEach((one, place) => {
      let below = 0;
      this.values(one).forEach((value, part) => {
        if (!value) return;
        paths[part] += `M${(x(place) + gap / 2).toFixed(2)} ${y(below).toFixed(1)}V${y(below + value).toFixed(1)}h${(step - gap).toFixed(2)}V${y(below).toFixed(1)}z`;
        below += value;
      });
    });
    return this.series.map((part, place) => svg("path", { class: `bar ${part.shade}`, d: paths[place] || "M0 0" }));
  }

  lines(x, y, step) {
    return this.series.map((part) => {
      let path = "";
      let drawing = false;
      this.steps.forEach((one, place) => {
        const value = one.figures ? part.of(one.figures, one) : null;
        const point = value === null ? "" : `${(x(place) + step / 2).toFixed(1)} ${y(value).toFixed(1)}`;
        if (point) path += drawing ? `L${point}` : `M${point}h.1`;
        drawing = Boolean(point);
      });
      return svg("path", { class: `line ${part.shade}`, d: path || "M0 0" });
    });
  }
}
