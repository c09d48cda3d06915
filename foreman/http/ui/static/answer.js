/** The words in what a target says, in the shapes of all endpoints. */
import { isText } from "./exact_json.js";

/** What one chunk of a stream adds: `{ text, thinking }`. */
export function delta(chunk) {
  const choice = chunk.choices?.[0];
  const part = choice?.delta ?? chunk.message ?? {};
  return {
    text: texts(part.content) || texts(chunk.response) || choice?.text || (typeof chunk.delta === "string" ? chunk.delta : chunk.delta?.text) || "",
    thinking: part.thinking ?? part.reasoning_content ?? part.reasoning ?? chunk.thinking ?? chunk.delta?.thinking ?? "",
    calls: part.tool_calls ?? [],
  };
}

/** A finished result: the same of the whole. */
export function whole(result) {
  const choice = result.choices?.[0];
  const message = choice?.message ?? result.message ?? {};
  const output = (result.output ?? []).flatMap((item) => item.content ?? []);
  return {
    text: texts(message.content) || texts(result.response) || choice?.text || texts(output) || texts(result.content) || "",
    thinking: message.thinking ?? message.reasoning_content ?? message.reasoning ?? result.thinking ?? "",
    calls: message.tool_calls ?? [],
  };
}

function texts(content) {
  if (isText(content)) return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (isText(part) ? part : texts(part?.text))).join("");
}
