/**
 * What was said, in the shapes of all endpoints, as `{ role, parts }`, of what `parse` of exact_json.js returns. Parts are `{ kind: "text" | "thinking", text }`,
 * `{ kind: "image", type, data }` (base64), `{ kind: "image", address }`, `{ kind: "call", name, given }`,
 * `{ kind: "result", name, text, failed }`, `{ kind: "vectors", vectors }`, `{ kind: "other", name }`.
 */
import { isText, parse, stringify } from "./exact_json.js";

const DATA_URL = /^data:([\w.+-]+\/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,/;
const THOUGHTS = ["thinking", "reasoning_content", "reasoning"]; // as servers call them

/** What was asked. */
export function asked(request) {
  const list = [request.messages, request.input].find(Array.isArray) ?? [];
  const names = new Map(); // of calls, by their ids
  const said = [];
  const system = request.system ?? request.instructions;
  if (system) said.push({ role: "system", parts: content(system, names) });
  for (const one of list) {
    if (isText(one)) said.push({ role: "user", parts: texts(one) });
    else if (one !== null && typeof one === "object" && !Array.isArray(one)) said.push(turn(one, names));
  }
  const prompt = request.prompt ?? (isText(request.input) ? request.input : null);
  if (prompt) said.push({ role: "user", parts: [...content(prompt, names), ...images(request.images)] });
  return said.filter((one) => one.parts.length);
}

/** What was answered: the parts of each choice, of which there is mostly one. */
export function answered(result) {
  const names = new Map();
  const vectors = result.embeddings ?? (result.data ?? []).map?.((one) => one?.embedding).filter(Boolean) ?? [];
  if (vectors.length) return [[{ kind: "vectors", vectors }]];
  if (Array.isArray(result.output)) return [result.output.flatMap((one) => turn(one, names).parts)];
  const choices = Array.isArray(result.choices) ? result.choices.map((choice) => choice.message ?? { content: choice.text }) : [result.message ?? { thinking: result.thinking, content: result.response ?? result.content }];
  return choices.map((message) => turn(message, names).parts);
}

/** The words among parts, as they are copied. */
export function textOf(parts) {
  return parts.filter((part) => part.kind === "text").map((part) => part.text).join("");
}

function turn(one, names) {
  if (one?.type === "function_call_output" || one?.role === "tool") return { role: "tool", parts: [result(one, names)] };
  const own = one?.type && !one.role ? part(one, names) : [];
  const thought = THOUGHTS.map((name) => one?.[name]).find(isText) ?? "";
  const calls = Array.isArray(one?.tool_calls) ? one.tool_calls.map((call) => called(call?.function, call?.id, names)) : [];
  const legacy = one?.function_call ? [called(one.function_call, null, names)] : [];
  const refusal = isText(one?.refusal) ? texts(one.refusal) : [];
  const parts = [...texts(thought, "thinking"), ...own, ...content(one?.content, names), ...refusal, ...images(one?.images), ...calls, ...legacy];
  const role = one?.role ?? (one?.type === "function_call" || one?.type === "reasoning" ? "assistant" : "user");
  return { role: isText(role) ? role : "user", parts: merged(parts) };
}

function content(value, names) {
  if (isText(value)) return texts(value);
  if (!Array.isArray(value)) return [];
  return value.flatMap((one) => (isText(one) ? texts(one) : part(one, names)));
}

function part(one, names) {
  const type = isText(one?.type) ? one.type : "";
  if (type === "tool_use" || type === "function_call") return [called(one, one.call_id ?? one.id, names)];
  if (type === "tool_result") return [result(one, names)];
  if (type === "thinking") return texts(one.thinking, "thinking");
  if (type === "reasoning") return texts((one.summary ?? one.content ?? []).map?.((piece) => (isText(piece?.text) ? piece.text : "")).join("\n") ?? "", "thinking");
  if (type === "refusal") return texts(one.refusal);
  if (/image/.test(type)) return [image(one)];
  if (isText(one?.text)) return texts(one.text);
  return type && type !== "message" ? [{ kind: "other", name: type }] : content(one?.content, names);
}

function texts(text, kind = "text") {
  return isText(text) && text ? [{ kind, text }] : [];
}

function images(list) {
  return Array.isArray(list) ? list.map((one) => ({ kind: "image", ...source(one) })) : [];
}

function image(one) {
  const given = one.source ?? one.image_url ?? one.image ?? one.file_id;
  if (one.source?.data) return { kind: "image", type: one.source.media_type ?? "", data: one.source.data };
  return { kind: "image", ...source(typeof given === "object" ? given?.url : given) };
}

function source(text) {
  if (!isText(text)) return { type: "", data: "" };
  const found = DATA_URL.exec(text);
  if (found) return { type: found[1] ?? "", data: text.slice(found[0].length) };
  return /^[a-z][\w+.-]*:|^file-/i.test(text) ? { address: text } : { type: "", data: text };
}

/** A call of a tool; `given` are its arguments, an object where that can be read. */
function called(one, id, names) {
  const name = isText(one?.name) ? one.name : "tool";
  if (id) names.set(id, name);
  return { kind: "call", name, given: read(one?.arguments ?? one?.input ?? {}) };
}

function result(one, names) {
  const value = one.output ?? one.content ?? "";
  const inner = isText(value) ? value : textOf(content(value, names)) || stringify(value);
  const name = one.tool_name ?? one.name ?? names.get(one.tool_use_id ?? one.tool_call_id ?? one.call_id) ?? "tool";
  return { kind: "result", name: isText(name) ? name : stringify(name), text: inner, failed: one.is_error === true };
}

function read(value) {
  if (!isText(value)) return value;
  try {
    return parse(value);
  } catch {
    return value; // models do not always write valid JSON
  }
}

/** Neighbouring texts as one: servers cut them anywhere. */
function merged(parts) {
  const found = [];
  for (const one of parts) {
    const last = found.at(-1);
    if (last && last.kind === one.kind && (one.kind === "text" || one.kind === "thinking")) found[found.length - 1] = { ...last, text: last.text + one.text };
    else found.push(one);
  }
  return found;
}
