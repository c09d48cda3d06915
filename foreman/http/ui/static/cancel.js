import { ask } from "./api.js";
import { toast } from "./dom.js";
import { called, count, plural } from "./format.js";

/** Cancel a job and offer to take it back if it was queued. Throws what the server says against it. */
export async function cancelJob(job) {
  const { done, changes } = await act("cancel", { id: job.job_id });
  if (!done) await ask(`/jobs/${job.job_id}/cancel`, { method: "POST" }); // says why, or asks for an admin token
  else if (changes) offer(`${called(job)} is cancelled.`, changes);
}

/** Cancel all jobs that `query` selects, say how many, and offer to take it back for those that were queued. */
export async function cancelMany(query) {
  const told = await act("cancel", query);
  const said = `${plural(told.done, "job")} cancelled${told.skipped ? `, ${count(told.skipped)} skipped` : ""}.`;
  if (told.changes) offer(said, told.changes);
  else toast(said);
  return told;
}

function offer(said, changes) {
  toast(said, "", { verb: "Undo", run: () => takeBack(changes).catch((error) => toast(error.message, "bad")) });
}

/** Queue the jobs of a cancel again as they were. */
async function takeBack(changes) {
  const { done, skipped } = await act("uncancel", { changes });
  const left = skipped ? ` ${count(skipped)} ${skipped === 1 ? "is" : "are"} not: they ran, were changed since, or find no room.` : "";
  toast(`${plural(done, "job")} ${done === 1 ? "is" : "are"} queued again as ${done === 1 ? "it was" : "they were"}.${left}`, done ? "" : "bad");
}

async function act(verb, query) {
  return (await ask(`/jobs/${verb}?${new URLSearchParams(query)}`, { method: "POST" })).json();
}
