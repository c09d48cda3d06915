import { get } from "./api.js";
import { h } from "./dom.js";

/** Have the browser save a file, however large: a ticket stands for the token, which a link cannot carry. */
export async function download(path, name) {
  const { ticket } = await get("/tickets", { method: "POST" });
  h("a", { href: `${path}?${new URLSearchParams({ ticket })}`, download: name }).click();
}
