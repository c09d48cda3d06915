/** A job's request as a program that makes it again: without secrets, its images as files beside the program. */
import { Embedded, extracted } from "./embedded.js";
import { stringify } from "./exact_json.js";
import { bytes } from "./format.js";

const WIDE = 88; // characters of a line of Python, as formatters have it
const METHODS = {
  "/v1/chat/completions": ["chat.completions.create", "answer.choices[0].message.content"],
  "/v1/completions": ["completions.create", "answer.choices[0].text"],
  "/v1/responses": ["responses.create", "answer.output_text"],
  "/v1/embeddings": ["embeddings.create", "answer.data[0].embedding"],
};
// What the SDK's methods take by name; what else a server knows goes through `extra_body`.
const COMMON = "model temperature top_p user metadata store service_tier";
const TAKEN = {
  "/v1/chat/completions": `${COMMON} messages max_tokens max_completion_tokens n stop seed frequency_penalty presence_penalty logit_bias logprobs top_logprobs response_format tools tool_choice parallel_tool_calls reasoning_effort modalities audio prediction`,
  "/v1/completions": "model temperature top_p user prompt max_tokens n stop seed frequency_penalty presence_penalty logit_bias logprobs suffix echo best_of",
  "/v1/responses": `${COMMON} input instructions max_output_tokens tools tool_choice parallel_tool_calls reasoning text truncation include previous_response_id background top_logprobs`,
  "/v1/embeddings": "model user input dimensions encoding_format",
};
const STREAMED = new Set(["stream", "stream_options"]); // programs here print the whole answer
const ANSWERS = { "/api/chat": '["message"]["content"]', "/api/generate": '["response"]', "/api/embed": '["embeddings"]', "/v1/messages": '["content"][0]["text"]' };

/** A command for a shell. `asked` is `{ endpoint, request, url, token }`; `token` says whether one is wanted. */
export function curl({ endpoint, request, url, token }) {
  const { body, files } = extracted(request);
  const mark = `@${crypto.getRandomValues(new Uint32Array(4)).join("")}@`; // no text has it, so that what is put in its place is that alone
  const shown = stringify(body, (_, value) => (value instanceof Embedded ? `${value.prefix}${mark}${value.name}${mark}` : value), 2);
  const head = [`curl -s ${url}${endpoint}`, ...(token ? ['-H "Authorization: Bearer $FOREMAN_TOKEN"'] : []), "-H 'Content-Type: application/json'"].join(" \\\n  ");
  if (!files.length) return `${head} \\\n  -d '${shown.replaceAll("'", "'\\''")}'\n`;
  const quoted = shown.replace(/[\\$`]/g, "\\$&");
  const filled = quoted.split(mark).map((part, place) => (place % 2 ? `$(base64 < ${part} | tr -d '\\n')` : part)).join("");
  return `${notes(files)}${head} \\\n  --data-binary @- <<EOF\n${filled}\nEOF\n`;
}

/** A program that asks the job's endpoint: by the openai SDK where it has a method for it, else by httpx. */
export function python({ endpoint, request, url, token }) {
  const { body, files } = extracted(request);
  const [method, words] = METHODS[endpoint] ?? [];
  const given = Object.entries(body).filter(([name]) => !STREAMED.has(name));
  if (!method) {
    const sent = endpoint.startsWith("/api/") && endpoint !== "/api/embed" ? [...given, ["stream", false]] : given;
    const call = [["", `${url}${endpoint}`], ...(token ? [["headers", new Raw('{"Authorization": f"Bearer {os.environ[\'FOREMAN_TOKEN\']}"}')]] : []), ["json", Object.fromEntries(sent)], ["timeout", null]];
    return program(token ? ["os"] : [], ["httpx"], files, [`answer = httpx.post${args(call)}`, "answer.raise_for_status()", `print(answer.json()${ANSWERS[endpoint] ?? ""})`]);
  }
  const taken = new Set(TAKEN[endpoint].split(" "));
  const extra = given.filter(([name]) => !taken.has(name));
  const call = [...given.filter(([name]) => taken.has(name)), ...(extra.length ? [["extra_body", Object.fromEntries(extra)]] : [])];
  const key = new Raw(token ? 'os.environ["FOREMAN_TOKEN"]' : '"none"');
  return program(token ? ["os"] : [], ["from openai import OpenAI"], files, [`client = OpenAI${args([["base_url", `${url}/v1`], ["api_key", key]])}`, `answer = client.${method}${args(call)}`, `print(${words})`]);
}

/** A program with Foreman's own client, which stores the job and waits for it. */
export function client({ endpoint, request, url, own = {} }) {
  const { body, files } = extracted(request);
  const { model, ...rest } = body;
  const given = Object.entries({ ...own, endpoint: endpoint === "/api/chat" ? null : endpoint }).filter(([, value]) => value !== null && value !== undefined);
  const call = [["", model], ...given, ["extra", Object.fromEntries(Object.entries(rest).filter(([name]) => !STREAMED.has(name)))]];
  const words = /embed/.test(endpoint) ? "embeddings" : "text";
  return program([], ["from foreman import Client"], files, [`with Client${args([["", url]])} as client:  # its token is in FOREMAN_TOKEN`, `    job = client.run${args(call, 1)}`, `    print(job.${words})`]);
}

/** Code that is in a program as it stands here. */
class Raw {
  constructor(code) {
    this.code = code;
  }
}

function notes(files) {
  const where = (name) => (name.startsWith("image") ? "save it from the job's page" : "it was in the request");
  return files.map(({ name, data }) => `# ${name}, ${bytes(Math.round(data.length * 0.75))}: ${where(name)}.\n`).join("");
}

function program(standard, others, files, lines) {
  const own = files.length ? ["base64", ...standard, "from pathlib import Path"] : standard;
  const imports = [...own, "", ...others].map((name) => (!name || name.startsWith("from ") ? name : `import ${name}`));
  const helper = files.length ? ["", "", "def base64_of(name: str) -> str:", "    return base64.b64encode(Path(name).read_bytes()).decode()", ""] : [];
  return `${notes(files)}${[...imports.slice(own.length ? 0 : 1), ...helper, "", ...lines].join("\n")}\n`;
}

/** The arguments of a call, with their parentheses: on one line where they fit it. */
function args(entries, depth = 0) {
  const shown = entries.map(([name, value]) => `${name && `${name}=`}${literal(value, depth + 1)}`);
  return bracketed("(", shown, ")", depth);
}

function bracketed(open, parts, close, depth) {
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length + 4 * depth <= WIDE && !line.includes("\n")) return line;
  const margin = "    ".repeat(depth);
  return `${open}\n${parts.map((part) => `${margin}    ${part},\n`).join("")}${margin}${close}`;
}

function literal(value, depth) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (value instanceof Raw) return value.code;
  if (value instanceof Embedded) return `${value.prefix ? `${JSON.stringify(value.prefix)} + ` : ""}base64_of("${value.name}")`;
  if (Array.isArray(value)) return bracketed("[", value.map((one) => literal(one, depth + 1)), "]", depth);
  if (typeof value === "object") return bracketed("{", Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one, depth + 1)}`), "}", depth);
  return stringify(value);
}
