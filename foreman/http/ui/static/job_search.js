/** What *Find* looks for: jobs whose custom id begins with a text or, where there are none, whose id begins or ends with it. */
import { get } from "./api.js";
import { asked } from "./filters.js";

const ID_PART = /^[0-9A-HJKMNP-TV-Z]{6,26}$/;

/** A text as filters of the API: `byName`, and `byId`, which is null where no id has such a part. */
export function searches(text) {
  const part = text.toUpperCase().replace(/^…/, "");
  return { byName: { custom_id: text.endsWith("*") ? text : `${text}*` }, byId: ID_PART.test(part) ? { id: part } : null };
}

/**
 * Decide what the API is asked for the jobs that filters let through: `{ selected, exact }`. `exact` is the one job that
 * is called what is looked for, and goes first; null where there is none.
 */
export async function resolve(filters) {
  const { find } = filters;
  const rest = asked(filters);
  if (!find) return { selected: rest, exact: null };
  const { byName, byId } = searches(find);
  const begun = !byId || (await readJobs({ ...rest, ...byName, limit: 1 })).jobs.length > 0;
  const selected = { ...rest, ...(begun ? byName : byId) };
  if (begun && find.endsWith("*")) return { selected, exact: null };
  const { jobs } = await readJobs({ ...selected, ...(begun ? { custom_id: find } : {}), limit: 2 });
  return { selected, exact: jobs.length === 1 ? jobs[0] : null };
}

/** A page of jobs. What is empty is not asked for, but for metadata, which may be empty. */
export function readJobs(query) {
  return get(`/jobs?${new URLSearchParams(Object.entries(query).filter(([name, value]) => value || name.startsWith("metadata.")))}`);
}
