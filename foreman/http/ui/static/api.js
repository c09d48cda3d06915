/** The public API, with the token where one is wanted. */
import { learn } from "./clock.js";

const KEY = "foreman-token";
const NOT_HEARD = "Foreman does not answer. Nothing was changed as far as this page knows; try again when it is back.";
let asking = null;

export class AnswerError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

function token() {
  return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
}

/** Ask for the token once, however many calls want it. */
function askToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("token");
    const form = dialog.querySelector("form");
    document.getElementById("token-fault").hidden = !token();
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.onsubmit = () => {
      sessionStorage.removeItem(KEY);
      localStorage.removeItem(KEY);
      (form.elements.keep.checked ? localStorage : sessionStorage).setItem(KEY, form.elements.token.value.trim());
      form.reset();
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

/**
 * Send a request and return the response; ask for the token when it is wanted. Throws AnswerError with Foreman's words, with
 * status 0 where nobody answered, and what `signal` throws.
 */
export async function ask(path, { method = "GET", json, headers = {}, signal } = {}) {
  for (;;) {
    const sent = token();
    const response = await send(path, {
      method,
      signal,
      cache: "no-store",
      headers: {
        ...(sent ? { Authorization: `Bearer ${sent}` } : {}),
        ...(json === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: json === undefined ? undefined : JSON.stringify(json),
    });
    learn(response.headers.get("Date"));
    if (response.status === 401) {
      if (sent === token()) await askToken();
      continue;
    }
    if (!response.ok) {
      const said = await response.json().catch(() => ({}));
      throw new AnswerError(response.status, said.code ?? "", [said.error ?? `status ${response.status}`, said.hint].filter(Boolean).join(": "));
    }
    return response;
  }
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    throw error instanceof TypeError ? new AnswerError(0, "", NOT_HEARD) : error;
  }
}

export async function get(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    throw error.name === "AbortError" || error.name === "TimeoutError" ? error : new AnswerError(0, "", NOT_HEARD); // it broke off
  }
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
