import { get } from "./api.js";
import { h } from "./dom.js";

/** Have the browser save a file, however large: a ticket stands for the token, which a link cannot carry. */
export async function download(path, name, query = {}) {
  const { ticket } = await get("/tickets", { method: "POST" });
  h("a", { href: `${path}?${new URLSearchParams({ ...query, ticket })}`, download: name }).click();
}
