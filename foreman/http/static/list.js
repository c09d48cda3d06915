import { get } from "./api.js";
import { fill, gently, h, say, toast } from "./dom.js";
import { STATES, count } from "./format.js";
import { head, row } from "./rows.js";

const ROW = 44; // px, as in the style sheet
const NARROW_ROW = 64;
const MARGIN = 10; // rows drawn beyond what is seen
const PAGE = 500;

/** All jobs: filtered, searched, and only those drawn that are seen. */
export function list(main, { jobs }) {
  const filters = { state: "", model: "", priority: "" };
  let found = null; // ids from the server, while a filter is set
  let next = null; // where a further page begins
  let alive = true;
  let asked = 0;

  const state = select("State", "state", STATES);
  const priority = select("Priority", "priority", ["high", "normal", "low"]);
  const model = h("input", { type: "search", placeholder: "any", onchange: () => choose("model", model.value.trim()) });
  const search = h("input", { type: "search", placeholder: "an id or its end, or custom id", autocomplete: "off" });
  const total = h("p.muted", { role: "status" });
  const body = h("div.rows", { role: "rowgroup" });
  const view = h("div.window", { tabIndex: 0, "aria-label": "Jobs, newest first", role: "region" }, h("div.table", { role: "table", "aria-label": "Jobs" }, head(), body));
  const older = h("button", { onclick: () => more(), hidden: true }, "Older jobs");

  fill(
    main,
    h("h1", {}, "Jobs"),
    h("form.filters", { onsubmit: look, role: "search" }, h("label", {}, "State", state), h("label", {}, "Priority", priority), h("label", {}, "Model", model), h("label.grow", {}, "Job", search), h("button.primary", {}, "Find")),
    total,
    view,
    older,
  );

  function select(label, name, values) {
    return h("select", { onchange: (event) => choose(name, event.target.value) }, h("option", { value: "" }, "any"), values.map((value) => h("option", { value }, value)));
  }

  function choose(name, value) {
    filters[name] = value;
    load();
  }

  async function look(event) {
    event.preventDefault();
    filters.model = model.value.trim();
    const wanted = search.value.trim();
    if (!wanted) return load();
    const known = jobs.order.find((id) => id === wanted.toUpperCase() || id.endsWith(wanted.toUpperCase()) || jobs.known.get(id).custom_id === wanted);
    if (known) return (location.hash = `#/jobs/${known}`);
    try {
      const job = await get(`/jobs/${encodeURIComponent(wanted.toUpperCase())}`);
      location.hash = `#/jobs/${job.job_id}`;
    } catch (fault) {
      toast(fault.status === 404 ? `There is no job ${wanted} among the newest, and none with this whole id.` : fault.message, "bad");
    }
  }

  function query(after) {
    const given = Object.entries(filters).filter(([, value]) => value);
    return `/jobs?${new URLSearchParams([...given, ["limit", PAGE], ...(after ? [["after", after]] : [])])}`;
  }

  async function load() {
    const mine = ++asked;
    const filtered = Object.values(filters).some(Boolean);
    try {
      const page = await get(query());
      if (!alive || mine !== asked) return;
      jobs.add(page.jobs);
      found = filtered ? page.jobs.map((job) => job.job_id) : null;
      next = page.next;
    } catch (fault) {
      toast(fault.message, "bad");
    }
    view.scrollTop = 0;
    draw();
  }

  async function more() {
    const last = found ? found.at(-1) : jobs.order.at(-1);
    const page = await get(query(last)).catch((fault) => toast(fault.message, "bad"));
    if (!page || !alive) return;
    jobs.add(page.jobs);
    found?.push(...page.jobs.map((job) => job.job_id));
    next = page.next;
    draw();
  }

  const drawn = new Map(); // id -> { element, seq } of the rows there are

  function draw() {
    if (!alive) return;
    const ids = found ?? jobs.order;
    const height = matchMedia("(max-width: 640px)").matches ? NARROW_ROW : ROW;
    const first = Math.max(0, Math.floor((view.scrollTop - ROW) / height) - MARGIN);
    const last = Math.min(ids.length, Math.ceil((view.scrollTop + view.clientHeight) / height) + MARGIN);
    const wanted = new Set();
    body.style.height = `${ids.length * height}px`;
    for (let place = first; place < last; place++) {
      const job = jobs.known.get(ids[place]);
      if (!job) continue;
      wanted.add(job.job_id);
      const mark = `${job.seq ?? ""} ${job.state} ${job.created_at}`;
      let one = drawn.get(job.job_id);
      if (!one || one.mark !== mark) {
        const element = row(job);
        const focused = one?.element.contains(document.activeElement);
        if (one) one.element.replaceWith(element);
        else body.append(element);
        if (focused) element.querySelector("a").focus();
        one = { element, mark };
        drawn.set(job.job_id, one);
      }
      one.element.style.top = `${place * height}px`;
      one.element.setAttribute("aria-rowindex", place + 2);
    }
    for (const [id, one] of drawn) {
      if (wanted.has(id)) continue;
      one.element.remove();
      drawn.delete(id);
    }
    say(total, ids.length ? `${count(ids.length)}${next ? " newest" : ""} ${ids.length === 1 ? "job" : "jobs"}` : "No job fits.");
    older.hidden = !next;
    body.role = ids.length ? "rowgroup" : "none";
  }

  /** Of a job that came just now the feed tells not everything. */
  const complete = gently(() => {
    if (!found && alive) {
      get("/jobs?limit=50")
        .then((page) => {
          jobs.add(page.jobs);
          soon();
        })
        .catch(() => {});
    }
  }, 2000);

  let drawing = false;
  function soon() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      draw();
    });
  }

  const changed = (event) => {
    soon();
    if (event.detail?.some((change) => change.previous_state === "" && !jobs.known.get(change.job_id)?.created_at)) complete();
  };
  view.addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  jobs.addEventListener("changes", changed);
  jobs.addEventListener("reset", soon);
  load();

  return () => {
    alive = false;
    removeEventListener("resize", soon);
    jobs.removeEventListener("changes", changed);
    jobs.removeEventListener("reset", soon);
  };
}
