/** What is posted to /jobs for what stands in the form. Throws an Error with what is wrong. */
import { restorer } from "./embedded.js";
import { parse } from "./exact_json.js";

export const ENDPOINTS = ["/api/chat", "/api/generate", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions", "/api/embed", "/v1/embeddings"];
const MESSAGES_LENGTH = 1024; // tokens; Anthropic's API wants to be told how long an answer may be

/**
 * `form` holds the texts of the fields, `images` is a list of `{ type, data }` with the data in base64, `events` a list
 * of states. Where the form has the whole request as JSON, `files` are those whose names stand in it.
 */
export function payload(form, images, events, files = []) {
  const endpoint = form.endpoint || ENDPOINTS[0];
  const whole = form.request && { ...object(form.request, "Request", restorer(files)), model: form.model };
  return {
    ...(whole || simple(form, images, endpoint)),
    ...own({
      endpoint: endpoint === ENDPOINTS[0] ? null : endpoint,
      priority: form.priority === "normal" ? null : form.priority,
      not_before: time(form.not_before),
      start_by: time(form.start_by),
      timeout: form.timeout && Number(form.timeout),
      max_attempts: form.max_attempts && Number(form.max_attempts),
      custom_id: form.custom_id,
      metadata: pairs(form.metadata),
      state_webhook_url: form.state_webhook_url,
      webhook_events: events.length ? events : null,
    }),
  };
}

function simple(form, images, endpoint) {
  const asked = {
    prompt: form.prompt,
    system: form.system,
    images,
    options: object(form.options, "Options"),
    schema: object(form.schema, "Schema of the answer"),
  };
  return { model: form.model, ...BODIES[endpoint](asked), ...object(form.extra, "Other fields") };
}

const BODIES = {
  "/api/chat": ({ prompt, system, images, options, schema }) => ({
    messages: messages(system, { content: prompt, ...own({ images: plain(images) }) }),
    ...own({ options, format: schema }),
  }),
  "/api/generate": ({ prompt, system, images, options, schema }) => ({ prompt, ...own({ system, images: plain(images), options, format: schema }) }),
  "/v1/chat/completions": ({ prompt, system, images, options, schema }) => ({
    messages: messages(system, { content: parts(prompt, images, "text", (url) => ({ type: "image_url", image_url: { url } })) }),
    ...options,
    ...(schema ? { response_format: { type: "json_schema", json_schema: { name: "answer", schema } } } : {}),
  }),
  "/v1/responses": ({ prompt, system, images, options, schema }) => ({
    input: [{ role: "user", content: parts(prompt, images, "input_text", (url) => ({ type: "input_image", image_url: url })) }],
    ...own({ instructions: system }),
    ...options,
    ...(schema ? { text: { format: { type: "json_schema", name: "answer", schema } } } : {}),
  }),
  "/v1/messages": ({ prompt, system, images, options, schema }) => {
    refuse({ schema }, "/v1/messages");
    const pictures = images.map(({ type, data }) => ({ type: "image", source: { type: "base64", media_type: type, data } }));
    return { max_tokens: MESSAGES_LENGTH, messages: messages("", { content: pictures.length ? [...pictures, { type: "text", text: prompt }] : prompt }), ...own({ system }), ...options };
  },
  "/v1/completions": ({ prompt, options, ...more }) => {
    refuse(more, "/v1/completions");
    return { prompt, ...options };
  },
  "/api/embed": ({ prompt, options, ...more }) => {
    refuse(more, "/api/embed");
    return { input: prompt, ...own({ options }) };
  },
  "/v1/embeddings": ({ prompt, options, ...more }) => {
    refuse(more, "/v1/embeddings");
    return { input: prompt, ...options };
  },
};

const CALLED = { system: "system prompt", images: "images", schema: "schema" };

function refuse(given, endpoint) {
  for (const [name, value] of Object.entries(given)) {
    if (value && value.length !== 0) throw new Error(`${endpoint} takes no ${CALLED[name]}.`);
  }
}

function messages(system, last) {
  return [...(system ? [{ role: "system", content: system }] : []), { role: "user", ...last }];
}

function parts(prompt, images, type, picture) {
  if (!images.length) return prompt;
  return [{ type, text: prompt }, ...images.map((image) => picture(`data:${image.type};base64,${image.data}`))];
}

function plain(images) {
  return images.length ? images.map((image) => image.data) : null;
}

/** Without what is empty. */
function own(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
}

function time(text) {
  return text ? new Date(text).toISOString() : null;
}

function object(text, name, revive) {
  if (!text) return null;
  let found;
  try {
    found = parse(text, revive);
  } catch (error) {
    throw new Error(`${name}: this is no JSON (${error.message}).`);
  }
  if (found === null || typeof found !== "object" || Array.isArray(found)) throw new Error(`${name}: this must be a JSON object, such as {"key": "value"}.`);
  return found;
}

/** `name = value`, one a line. */
function pairs(text) {
  const lines = (text ?? "").split("\n").filter((line) => line.trim());
  if (!lines.length) return null;
  return Object.fromEntries(
    lines.map((line) => {
      const [name, ...value] = line.split("=");
      if (!value.length || !name.trim()) throw new Error(`Metadata: “${line.trim()}” should be name = value.`);
      return [name.trim(), value.join("=").trim()];
    }),
  );
}
