import { get } from "./api.js";

/** The names of all models; where the target does not answer, those that Foreman knows of it: their jobs wait. */
export async function modelNames() {
  try {
    return ((await get("/api/tags")).models ?? []).map((one) => one.name);
  } catch (error) {
    const { targets } = await get("/targets").catch(() => ({ targets: [] }));
    const known = [...new Set(targets.flatMap((one) => one.models))];
    if (!known.length) throw error;
    return known;
  }
}
