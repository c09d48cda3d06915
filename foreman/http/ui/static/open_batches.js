import { get } from "./api.js";
import { OPEN } from "./batch_parts.js";
import { Row, head } from "./batch_rows.js";
import { gently, h, keyed } from "./dom.js";
import { heard } from "./format.js";

const MOST = 5; // listed

/** The batches that have not ended, in short; without one it takes no place. */
export class OpenBatches {
  constructor() {
    this.body = h("div", { role: "rowgroup" });
    const table = h("div.table.batches", { role: "table", "aria-label": "Open batches" }, head(), this.body);
    this.element = h("section", { "aria-label": "Batches", hidden: true }, h("div.row", {}, h("h2", {}, "Batches", heard()), h("a", { href: "#/batches" }, "All batches")), table);
    this.read = gently(async () => this.show((await get(`/batches?${new URLSearchParams({ state: OPEN.join(","), limit: MOST })}`)).batches), 2000);
  }

  /** Read anew what goes on without events: the end of the last line is one, that of its files is none. */
  tick() {
    if (!this.element.hidden) this.read();
  }

  show(batches) {
    this.element.hidden = !batches.length;
    keyed(this.body, batches, { key: (one) => one.batch_id, make: (one) => new Row(one), update: (row, one) => row.show(one) });
  }
}
