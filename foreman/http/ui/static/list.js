import { get } from "./api.js";
import { fill, gently, h, keyed, say, toast } from "./dom.js";
import { STATES, count, heard, plural, short } from "./format.js";
import { Listing } from "./listing.js";
import { many } from "./many.js";
import { head, row } from "./rows.js";

const MARGIN = 10; // rows drawn beyond what is seen
const GROUPS = [
  ["running", "loading,working"],
  ["ended", "done,failed,cancelled,expired"],
  ["ended badly", "failed,expired,cancelled"],
];

/** All jobs: filtered, searched, and only those drawn that are seen. The filters are in the page's address. */
export function list(main, { feed, query }) {
  const filters = Object.fromEntries(["state", "priority", "model", "order", "find", "batch_id"].map((name) => [name, query.get(name) ?? ""]));
  let listing = new Listing({ ...filters });
  let alive = true;
  let loading = false;

  const state = choice("state", [...STATES.map((name) => [name, name]), ...GROUPS]);
  const priority = choice("priority", ["high", "normal", "low"].map((name) => [name, name]));
  const order = choice("order", [["last ended first", "ended"]], "newest first");
  const models = h("datalist", { id: "models" });
  const model = h("input", { type: "search", placeholder: "any", value: filters.model, onchange: () => choose() });
  model.setAttribute("list", "models");
  const search = h("input", { type: "search", placeholder: "id, part of it, or custom id", autocomplete: "off", value: filters.find, onsearch: () => search.value || choose() });
  const total = h("span", { role: "status" });
  const actions = many(filters, () => alive && again());
  const body = h("div.rows", { role: "rowgroup" });
  const title = head(filters.order ? "Ended" : "Submitted");
  const view = h("div.window", { tabIndex: 0, "aria-label": "The jobs found", role: "region" }, h("div.table", { role: "table", "aria-label": "Jobs" }, title, body));

  fill(
    main,
    h("h1", {}, "Jobs"),
    h("form.filters", { onsubmit: look, role: "search" }, h("label", {}, "State", state), h("label", {}, "Priority", priority), h("label", {}, "Order", order), h("label", {}, "Model", model, models), h("label.find", {}, "Job", search), h("button.primary", {}, "Find")),
    filters.batch_id && h("p.row.chosen", {}, h("span", {}, "Lines of batch ", h("a.mono", { href: `#/batches/${filters.batch_id}` }, short(filters.batch_id))), h("a.button.small", { href: "#/jobs" }, "All jobs")),
    h("p.muted", {}, total, heard()),
    actions.element,
    view,
  );
  get("/api/tags").then((found) => fill(models, found.models.map((one) => h("option", { value: one.name }))), () => {});

  function choice(name, values, any = "any") {
    const element = h("select", { onchange: () => choose() }, h("option", { value: "" }, any), values.map(([words, value]) => h("option", { value }, words)));
    element.value = filters[name];
    if (element.selectedIndex < 0) element.append(h("option", { value: filters[name], selected: true }, filters[name])); // as the address has it
    return element;
  }

  /** Take the filters from the form into the address, and the jobs from the server. */
  async function choose() {
    Object.assign(filters, { state: state.value, priority: priority.value, order: order.value, model: model.value.trim(), find: search.value.trim() });
    const given = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
    const address = `#/jobs${given.size ? `?${given}` : ""}`;
    if (address !== location.hash) history.pushState(null, "", address);
    listing = new Listing({ ...filters });
    actions.show();
    say(title.querySelector(".when"), filters.order ? "Ended" : "Submitted");
    view.scrollTop = 0;
    return load();
  }

  async function look(event) {
    event.preventDefault();
    if (!(await choose()) || !filters.find) return;
    const only = listing.exact ?? (listing.ids.length === 1 ? listing.ids[0] : null);
    if (only) location.hash = `#/jobs/${only}`;
  }

  async function load() {
    const mine = listing;
    say(total, "Looking …");
    try {
      if (!(await mine.load()) || mine !== listing || !alive) return false;
    } catch (fault) {
      if (alive && mine === listing) {
        toast(fault.message, "bad");
        say(total, fault.message);
      }
      return false;
    }
    draw();
    return true;
  }

  async function more() {
    if (loading) return;
    loading = true;
    const mine = listing;
    try {
      await mine.more();
    } catch (fault) {
      toast(fault.message, "bad");
      mine.next = null;
    }
    loading = false;
    if (alive) draw();
  }

  const refresh = gently(async () => {
    if (!alive) return;
    await listing.refresh();
    soon();
  }, 1000);

  const when = () => (filters.order ? "completed_at" : "created_at");
  const mark = (job) => `${job.seq ?? ""} ${job.state} ${job.not_before} ${job[when()]}`;

  function draw() {
    if (!alive || !listing.loaded) return;
    const { ids, jobs, next } = listing;
    const height = parseFloat(getComputedStyle(view).getPropertyValue("--row"));
    const first = Math.max(0, Math.floor(view.scrollTop / height) - 1 - MARGIN);
    const last = Math.min(ids.length, Math.ceil((view.scrollTop + view.clientHeight) / height) + MARGIN);
    body.style.setProperty("--rows", ids.length);
    const places = ids.slice(first, last).map((id, n) => ({ job: jobs.get(id), place: first + n }));
    keyed(body, places, {
      key: ({ job }) => job.job_id,
      make: ({ job }) => ({ element: row(job, when()), mark: mark(job) }),
      update: (one, { job, place }) => {
        if (one.mark !== mark(job)) redraw(one, job);
        one.element.style.setProperty("--place", place);
        one.element.setAttribute("aria-rowindex", place + 2);
      },
    });
    say(total, ids.length ? words(ids.length, next) : nothing());
    body.role = ids.length ? "rowgroup" : "none";
    if (next && last === ids.length) more();
  }

  function redraw(one, job) {
    const focused = one.element.contains(document.activeElement);
    fill(one.element, [...row(job, when()).childNodes]);
    one.mark = mark(job);
    if (focused) one.element.querySelector("a").focus();
  }

  function words(length, next) {
    return next ? `${count(length)} ${filters.order ? "last ended" : "newest"} jobs` : plural(length, "job");
  }

  function nothing() {
    if (filters.find) return `There is no job “${filters.find}”: no custom id begins with it, and no job id begins or ends with it${filters.find.length < 6 ? " (give at least 6 characters of a job id)" : ""}.`;
    return listing.plain || listing.filters.order ? "No jobs yet." : "No jobs match.";
  }

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
    if (listing.apply(event.detail)) refresh();
    soon();
  };
  const again = () => {
    listing = new Listing({ ...filters });
    load();
  };
  view.addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  feed.addEventListener("changes", changed);
  feed.addEventListener("reset", again);
  load();

  return () => {
    alive = false;
    removeEventListener("resize", soon);
    feed.removeEventListener("changes", changed);
    feed.removeEventListener("reset", again);
  };
}
