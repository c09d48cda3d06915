import { cancelJob } from "./cancel.js";
import { h, toast } from "./dom.js";
import { called } from "./format.js";

/** A button that cancels a job; the feed tells what came of it. */
export function cancelButton(job) {
  const button = h("button.small", { "aria-label": `Cancel job ${called(job)}`, title: job.job_id, onclick: cancel }, "Cancel");

  async function cancel() {
    button.disabled = true;
    try {
      await cancelJob(job);
    } catch (error) {
      toast(error.message, "bad");
      button.disabled = false;
    }
  }
  return button;
}
