import { fill, gently, h, keyed, say, toast } from "./dom.js";
import { download } from "./download.js";
import { FilterForm } from "./filter_form.js";
import { address, read } from "./filters.js";
import { count, heard, plural } from "./format.js";
import { Listing } from "./listing.js";
import { head, mark, row } from "./rows.js";
import { SavedViews } from "./saved_views.js";
import { selectionActions } from "./selection_actions.js";

const MARGIN = 10; // rows drawn beyond what is seen

/** All jobs: filtered, searched, and only those drawn that are seen. The filters are in the page's address. */
export function listView(main, { control, feed, query }) {
  const filters = read(query);
  let listing = new Listing({ ...filters });
  const { signal } = control;
  let loading = false;

  const form = new FilterForm(filters, { changed: choose, search: look, known: (name) => [...listing.jobs.values()].map((job) => job[name]) });
  const views = new SavedViews(filters);
  const total = h("span", { role: "status" });
  const actions = selectionActions(filters, () => (listing.loaded ? listing : null), () => !signal.aborted && again());
  const save = (format) => download("/jobs/export", `jobs.${format}`, { ...listing.selected, format }).catch((error) => toast(error.message, "bad"));
  const exports = h("span.row", { role: "group", "aria-label": "Export" }, h("button.small", { onclick: () => save("csv") }, "Export CSV"), h("button.small", { onclick: () => save("ndjson") }, "Export NDJSON"));
  const body = h("div.rows", { role: "rowgroup" });
  const title = head(filters.order ? "Ended" : "Submitted");
  const view = h("div.window", { tabIndex: 0, "aria-label": "The jobs found", role: "region" }, h("div.table.jobs", { role: "table", "aria-label": "Jobs" }, title, body));

  fill(main, h("div.row.titled", {}, h("h1", {}, "Jobs"), views.element), form.element, h("div.row.found", {}, h("p.muted", {}, total, heard()), actions.element, exports), view);

  /** Take the filters into the address, and the jobs from the server. */
  async function choose() {
    if (address(filters) !== location.hash) history.pushState(null, "", address(filters));
    listing = new Listing({ ...filters });
    form.show();
    views.show();
    say(title.querySelector(".when"), filters.order ? "Ended" : "Submitted");
    view.scrollTop = 0;
    return load();
  }

  async function look() {
    if (!(await choose()) || !filters.find) return;
    const only = listing.exact ?? (listing.ids.length === 1 ? listing.ids[0] : null);
    if (only) location.hash = `#/jobs/${only}`;
  }

  async function load() {
    const mine = listing;
    say(total, "Looking …");
    actions.show();
    try {
      if (!(await mine.load()) || mine !== listing || signal.aborted) return false;
    } catch (error) {
      if (!signal.aborted && mine === listing) refuse(error.message);
      return false;
    }
    draw();
    return true;
  }

  function refuse(words) {
    fill(total, h("span.bad", {}, words));
    exports.hidden = true;
    view.hidden = true;
  }

  async function more() {
    if (loading) return;
    loading = true;
    const mine = listing;
    try {
      await mine.more();
    } catch (error) {
      toast(error.message, "bad");
      mine.next = null;
    }
    loading = false;
    if (!signal.aborted) draw();
  }

  const refresh = gently(async () => {
    if (signal.aborted) return;
    await listing.refresh();
    await listing.reread(...seen());
    soon();
  }, 1000);

  const when = () => (filters.order ? "completed_at" : "created_at");
  /** The places of the first row that is drawn, and of the one behind the last. */
  function seen() {
    const height = parseFloat(getComputedStyle(view).getPropertyValue("--row"));
    const first = Math.max(0, Math.floor(view.scrollTop / height) - 1 - MARGIN);
    return [first, Math.min(listing.ids.length, Math.ceil((view.scrollTop + view.clientHeight) / height) + MARGIN)];
  }

  function draw() {
    if (signal.aborted || !listing.loaded) return;
    const { ids, jobs, next } = listing;
    view.hidden = exports.hidden = !ids.length;
    body.style.setProperty("--rows", ids.length);
    const [first, last] = seen();
    const places = ids.slice(first, last).map((id, n) => ({ job: jobs.get(id), place: first + n }));
    keyed(body, places, {
      key: ({ job }) => job.job_id,
      make: ({ job }) => ({ element: row(job, when()), mark: mark(job, when()) }),
      update: (one, { job, place }) => {
        if (one.mark !== mark(job, when())) redraw(one, job);
        one.element.style.setProperty("--place", place);
        one.element.setAttribute("aria-rowindex", place + 2);
      },
    });
    actions.show();
    if (!ids.length && listing.plain) fill(total, "No jobs yet. ", h("a", { href: "#/new" }, "Submit one"));
    else say(total, ids.length ? words(ids.length, next) : nothing());
    if (next && last === ids.length) more();
  }

  function redraw(one, job) {
    const focused = one.element.contains(document.activeElement);
    fill(one.element, [...row(job, when()).childNodes]);
    one.mark = mark(job, when());
    if (focused) one.element.querySelector("a").focus();
  }

  function words(length, next) {
    return next ? `${count(length)} ${filters.order ? "last ended" : "newest"} jobs` : plural(length, "job");
  }

  function nothing() {
    if (filters.find) return `There is no job “${filters.find}”: no custom id begins with it, and no job id begins or ends with it${filters.find.length < 6 ? " (give at least 6 characters of a job id)" : ""}.`;
    return listing.filters.order ? "No jobs yet." : "No jobs match.";
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
  addEventListener("resize", soon, { signal });
  feed.addEventListener("changes", changed, { signal });
  feed.addEventListener("reset", again, { signal });
  load();
}
