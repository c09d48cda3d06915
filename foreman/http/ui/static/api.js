/** The public API, with the token where one is wanted, and an admin token where rights are. */
import { askAdmin, askToken, forget, kept } from "./access.js";
import { learn } from "./clock.js";
import { parse, rounded, stringify } from "./exact_json.js";

const NOT_HEARD = "Foreman does not answer. Nothing was changed as far as this page knows; try again when it is back.";
const MOST_EXACT = 2 ** 21; // characters of a job; to mark the numbers of a larger one takes seconds
const RIGHTS = "admin_required";
const wantAdmin = new Set(); // paths that were refused without admin rights

export class AnswerError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Send a request and return the response; ask for the token when it is wanted, and for an admin token when `asks` and the
 * caller's own lacks the right: then the request is sent again. Throws AnswerError with Foreman's words, with status 0
 * where nobody answered, and what `signal` throws.
 */
export async function ask(path, { asks = false, ...options } = {}) {
  const method = options.method ?? "GET";
  const mayAsk = asks || method !== "GET"; // what changes something was asked for by somebody
  const place = `${method} ${path.split("?")[0]}`;
  let admin = wantAdmin.has(place) ? kept("admin") : null;
  for (;;) {
    const sent = admin ?? kept("token");
    const response = await send(path, sent, options);
    if (response.status === 401 && admin === null) {
      if (sent === kept("token")) await askToken();
      continue;
    }
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.code !== RIGHTS && response.status !== 401) throw error;
    wantAdmin.add(place);
    if (admin !== null && admin === kept("admin")) forget("admin"); // it is good no more
    const stale = admin !== null;
    admin = kept("admin");
    if (admin === null && mayAsk) admin = await askAdmin(judge, await hopeless(stale));
    if (admin === null) throw new AnswerError(403, RIGHTS, mayAsk ? "Nothing was done: this needs an admin token." : error.message);
  }
}

/** What is wrong with the admin token that was kept; throws where there is no admin token that anybody could give. */
async function hopeless(stale) {
  const me = await get("/me");
  if (!me.admin_token_set) throw new AnswerError(403, RIGHTS, "Nobody may do this: jobs are private here, and the setting admin_token is not set.");
  return stale ? "The admin token that was kept is not accepted any more." : "";
}

/** Ask for an admin token before anything needs it. */
export function rise() {
  return askAdmin(judge);
}

/** Return what is wrong with an admin token, or "". */
async function judge(token) {
  const response = await send("/me", token, {});
  if (response.status === 401) return "Foreman does not know this token.";
  if (!response.ok) throw await errorOf(response);
  const me = await response.json();
  if (me.token === "admin_token") return "";
  return me.token ? `This is the token of ${me.name ?? "a caller without a name"}, which has no admin rights.` : "Foreman does not know this token.";
}

async function errorOf(response) {
  const said = await response.json().catch(() => ({}));
  return new AnswerError(response.status, said.code ?? "", [said.error ?? `status ${response.status}`, said.hint].filter(Boolean).join(": "));
}

async function send(path, token, { method = "GET", json, headers = {}, signal, body }) {
  const options = {
    method,
    signal,
    cache: "no-store",
    headers: {
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
      ...(json === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: json === undefined ? body : stringify(json),
  };
  try {
    const response = await fetch(path, options);
    learn(response.headers.get("Date"));
    return response;
  } catch (error) {
    throw error instanceof TypeError ? new AnswerError(0, "", NOT_HEARD) : error;
  }
}

export async function get(path, { read = JSON.parse, ...options } = {}) {
  const response = await ask(path, options);
  try {
    return read(await response.text());
  } catch (error) {
    throw error.name === "AbortError" || error.name === "TimeoutError" ? error : new AnswerError(0, "", NOT_HEARD); // it broke off
  }
}

/** Read a job, its result by `parse` of exact_json.js. */
export function getJob(id) {
  return get(`/jobs/${encodeURIComponent(id)}`, { read: exactResult });
}

function exactResult(text) {
  if (text.length > MOST_EXACT) return JSON.parse(text);
  const { result, ...job } = parse(text);
  return { ...rounded(job), result };
}

/** The lines of a response as they come, without the empty ones; `heard` is called for every piece. */
export async function* lines(response, heard = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      heard();
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield part;
    }
    if (rest) yield rest;
  } finally {
    reader.cancel().catch(() => {});
  }
}
