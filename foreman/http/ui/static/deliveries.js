import { ask } from "./api.js";
import { h, keyed, say, toast } from "./dom.js";
import { plural } from "./format.js";

const ENDED = new Set(["delivered", "dead", "stopped"]);

/** The log of a job's webhooks; those that have ended can be sent again. `changed` is called when one is. */
export class Deliveries {
  constructor(id, changed) {
    Object.assign(this, { id, changed });
    this.list = h("ul.plain", {});
    this.element = h("section.card", { "aria-label": "Webhooks", hidden: true }, h("h2", {}, "Webhooks"), this.list);
  }

  /** `states` says which state each seq told of. */
  show(log, states) {
    this.element.hidden = !log.length;
    keyed(this.list, log, {
      key: (one) => one.delivery_id,
      make: (one) => {
        const said = h("span.muted.long", {});
        const again = h("button.small", { onclick: () => this.again(one) }, "Redeliver");
        return { said, again, element: h("li.row", {}, h("span.grow.long", {}, `${states.get(one.seq) ?? one.seq} to ${one.url}`), said, again) };
      },
      update: (shown, one) => {
        say(shown.said, [`${one.state}, ${plural(one.attempts, "attempt")}`, one.status && `last answer ${one.status}`, one.error].filter(Boolean).join(", "));
        shown.again.hidden = !ENDED.has(one.state);
      },
    });
  }

  async again(one) {
    try {
      await ask(`/jobs/${this.id}/deliveries/${one.delivery_id}/redeliver`, { method: "POST" });
      this.changed();
    } catch (error) {
      toast(error.message, "bad");
    }
  }
}
