/** The form of a new job, filled in from a job that there is: its fields are such that `payload` makes the same request. */
import { abbreviated } from "./embedded.js";
import { isText, stringify } from "./exact_json.js";
import { ENDPOINTS, payload } from "./payload.js";

const DATA_URL = /^data:([\w.+-]+\/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,/;
const KEPT = ["priority", "max_attempts", "custom_id"]; // of Foreman's own fields, as they are

/**
 * `{ fields, images }` for the form: the prompt and what goes with it where they have fields there, else `fields.request`
 * with the whole request as JSON, in which the names of `files` stand for their data.
 */
export function prefill(job, request) {
  const own = {
    endpoint: job.endpoint,
    model: `${request.model ?? job.model}`,
    metadata: Object.entries(job.metadata ?? {}).map(([name, value]) => `${name} = ${value}`).join("\n"),
    ...Object.fromEntries(KEPT.map((name) => [name, `${job[name] ?? ""}`])),
  };
  const { stream, stream_options, ...body } = request; // how it was read does not matter to a job
  const simple = ENDPOINTS.includes(job.endpoint) && SHAPES[job.endpoint](body);
  if (simple && same(body, simple, own)) return { ...simple, fields: { ...own, ...simple.fields }, files: [] };
  const { text: whole, files } = abbreviated(body);
  return { fields: { ...own, request: whole }, images: [], files };
}

function same(body, { fields, images }, { model, endpoint }) {
  const trimmed = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value.trim()])); // as forms do
  try {
    const made = payload({ ...trimmed, model, endpoint, priority: "normal" }, images, []);
    delete made.endpoint;
    return sorted(made) === sorted(body);
  } catch {
    return false; // the form does not take it for this endpoint
  }
}

function sorted(value) {
  return JSON.stringify(value, (_, one) => (one !== null && typeof one === "object" && !Array.isArray(one) ? Object.fromEntries(Object.entries(one).sort()) : one));
}

const chat = (messages) => {
  const list = Array.isArray(messages) ? messages : [];
  const system = list.length === 2 && list[0]?.role === "system" ? list[0].content : "";
  return { system, last: list.at(-1)?.content, images: plain(list.at(-1)?.images) };
};

const SHAPES = {
  "/api/chat": ({ model, messages, options, format, ...extra }) => {
    const { system, last, images } = chat(messages);
    return made({ prompt: last, system, options, schema: format, extra }, images);
  },
  "/api/generate": ({ model, prompt, system, images, options, format, ...extra }) => made({ prompt, system, options, schema: format, extra }, plain(images)),
  "/v1/chat/completions": ({ model, messages, response_format, ...options }) => {
    const { system, last } = chat(messages);
    return made({ prompt: words(last), system, options, schema: response_format?.json_schema?.schema }, pictures(last));
  },
  "/v1/responses": ({ model, input, instructions, text, ...options }) => {
    const content = typeof input === "string" ? input : input?.[0]?.content;
    return made({ prompt: words(content), system: instructions, options, schema: text?.format?.schema }, pictures(content));
  },
  "/v1/messages": ({ model, messages, system, ...options }) => made({ prompt: words(messages?.[0]?.content), system, options }, pictures(messages?.[0]?.content)),
  "/v1/completions": ({ model, prompt, ...options }) => made({ prompt, options }),
  "/api/embed": ({ model, input, options, ...extra }) => made({ prompt: input, options, extra }),
  "/v1/embeddings": ({ model, input, ...options }) => made({ prompt: input, options }),
};

/** The texts of fields; what is no text where one belongs makes another request, and shows as JSON then. */
function made({ prompt, system, options, schema, extra }, images = []) {
  const json = (value) => (value === undefined || (typeof value === "object" && !Object.keys(value ?? {}).length) ? "" : stringify(value, null, 2));
  return { fields: { prompt: text(prompt), system: text(system), options: json(options), schema: json(schema), extra: json(extra) }, images };
}

function text(value) {
  return isText(value) ? value : "";
}

function words(content) {
  return typeof content === "string" ? content : content?.find?.((part) => typeof part?.text === "string")?.text;
}

function plain(list) {
  return Array.isArray(list) ? list.filter((one) => typeof one === "string").map((data) => ({ type: "", data })) : [];
}

function pictures(content) {
  if (!Array.isArray(content)) return [];
  return content.flatMap((part) => {
    if (part?.source?.data) return [{ type: part.source.media_type, data: part.source.data }];
    const address = part?.image_url?.url ?? part?.image_url;
    const found = typeof address === "string" && DATA_URL.exec(address);
    return found ? [{ type: found[1], data: address.slice(found[0].length) }] : [];
  });
}
