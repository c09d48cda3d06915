import { ask } from "./api.js";
import { cancelMany } from "./cancel.js";
import { confirm } from "./confirm.js";
import { h, toast } from "./dom.js";
import { FIELDS, chosen, words as describe } from "./filters.js";
import { count, plural } from "./format.js";

const MOST = 100_000; // jobs that one request acts on
const NONE = { matched: 0, done: 0, skipped: 0 };
const ACTIONS = {
  cancel: { verb: "Cancel", said: "cancelled", none: "None of these can be cancelled: they have ended.", words: "Running ones are stopped. For the others it can be taken back." },
  retry: { verb: "Retry", said: "queued again", none: "None of these can be tried again: only failed, cancelled and expired jobs can, but no lines of batches.", words: "They start anew, with all their attempts." },
  delete: { verb: "Delete", said: "deleted", none: "None of these can be deleted: only ended jobs can, but no lines of batches.", words: "With their answers, artifacts and events. This cannot be undone." },
};

/**
 * Buttons that act on all jobs that the filters select, not only on those that are drawn. `selected` returns what the API
 * is asked for, null where that is not known; `changed` is called after.
 */
export function selectionActions(filters, selected, changed) {
  const buttons = Object.keys(ACTIONS).map((name) => h("button.small", { onclick: () => act(name) }, `${ACTIONS[name].verb} these`));
  const bar = h("span.row", { role: "group", "aria-label": "All jobs found" }, buttons);

  /** Show the buttons where a filter is set and has found `any`: without one they would be about all jobs there are. */
  function show(any = false) {
    bar.hidden = !any || !Object.keys(selected() ?? {}).length;
  }

  async function act(name) {
    const { verb, said, none, words } = ACTIONS[name];
    const query = { ...selected() }; // as it is now: the question is about these
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
