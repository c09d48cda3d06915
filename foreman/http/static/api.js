/** The public API, with the token where one is wanted. */
const KEY = "foreman-token";
let asking = null;

export class Fault extends Error {
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
    document.getElementById("token-why").textContent = token()
      ? "The one this browser knows is not accepted."
      : "It is the one that its token setting names.";
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

/** The response to a call; asks for the token when it is wanted. Raises Fault with Foreman's words. */
export async function ask(path, { method = "GET", json, headers = {}, signal } = {}) {
  for (;;) {
    const sent = token();
    const response = await fetch(path, {
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
    if (response.status === 401) {
      if (sent === token()) await askToken();
      continue;
    }
    if (!response.ok) {
      const said = await response.json().catch(() => ({}));
      throw new Fault(response.status, said.code ?? "", [said.error ?? `status ${response.status}`, said.hint].filter(Boolean).join(": "));
    }
    return response;
  }
}

export async function get(path, options) {
  return (await ask(path, options)).json();
}

/** The lines of a response as they come, without the empty ones. */
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield part;
    }
    if (rest) yield rest;
  } finally {
    reader.cancel().catch(() => {});
  }
}
