import { ask } from "./api.js";
import { cancelMany } from "./cancel.js";
import { confirm } from "./confirm.js";
import { h, toast } from "./dom.js";
import { FIELDS, chosen, words as describe } from "./filters.js";
import { ENDED, count, plural } from "./format.js";

const MOST = 100_000; // jobs that one request acts on
const NONE = { matched: 0, done: 0, skipped: 0 };
const isOver = (job) => ENDED.has(job.state) && !job.batch_id; // lines of batches are the batch's
const ACTIONS = {
  cancel: { verb: "Cancel", able: (job) => !ENDED.has(job.state), said: "cancelled", none: "None of these can be cancelled: they have ended.", words: "Running ones are stopped. For the others it can be taken back." },
  retry: { verb: "Retry", able: (job) => isOver(job) && job.state !== "done", said: "queued again", none: "None of these can be tried again: only failed, cancelled and expired jobs can, but no lines of batches.", words: "They start anew, with all their attempts." },
  delete: { verb: "Delete", able: isOver, said: "deleted", none: "None of these can be deleted: only ended jobs can, but no lines of batches.", words: "With their answers, artifacts and events. This cannot be undone." },
};

/**
 * Buttons that act on all jobs that the filters select, not only on those that are drawn. `listed` returns the listing,
 * null where what it selects is not known; `changed` is called after.
 */
export function selectionActions(filters, listed, changed) {
  const buttons = Object.keys(ACTIONS).map((name) => h("button.small", { value: name, onclick: () => act(name) }, `${ACTIONS[name].verb} these`));
  const bar = h("span.row", { role: "group", "aria-label": "All jobs found" }, buttons);

  /** Show the buttons where a filter is set, which else were about all jobs there are, and those jobs found that they can change. */
  function show() {
    const listing = listed();
    const found = listing && Object.keys(listing.selected).length ? listing.possible : [];
    for (const button of buttons) button.hidden = !found.some(ACTIONS[button.value].able);
    bar.hidden = buttons.every((button) => button.hidden);
  }

  async function act(name) {
    const { verb, said, none, words } = ACTIONS[name];
    const query = { ...listed().selected }; // as it is now: the question is about these
    const counted = await post(name, { ...query, dry_run: "true" });
    if (!counted) return;
    const able = counted.matched - counted.skipped;
    if (!able) return toast(none);
    const jobs = `${plural(able, "job")}${able === MOST ? " or more" : ""}`;
    const by = chosen(filters).map(([key, value]) => `${FIELDS[key].label.toLowerCase()} ${describe(key, value)}`).join(", ");
    if (!(await confirm({ title: `${verb} ${jobs}?`, words: `All with ${by}. ${words}`, verb: `${verb} ${jobs}` }))) return;
    if (name === "cancel") {
      await held(() => cancelMany(query));
      return changed();
    }
    const { done, skipped } = (await post(name, query)) ?? NONE;
    if (done + skipped) toast(`${plural(done, "job")} ${said}${skipped ? `, ${count(skipped)} skipped` : ""}.`);
    changed();
  }

  function post(name, query) {
    return held(async () => (await ask(`/jobs/${name}?${new URLSearchParams(query)}`, { method: "POST" })).json());
  }

  /** Do something, with the buttons disabled meanwhile; return null after an error, which is said. */
  async function held(work) {
    for (const button of buttons) button.disabled = true;
    try {
      return await work();
    } catch (error) {
      toast(error.message, "bad");
      return null;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  show();
  return { element: bar, show };
}
