/** The words in what a target says, in the shapes of all endpoints. */

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

/** What was asked, as `[{ role, text, images }]`. */
export function asked(request) {
  const list = [request.messages, request.input].find(Array.isArray) ?? [];
  const said = list.filter((message) => message !== null && typeof message === "object").map((message) => ({
    role: message.role ?? "user",
    text: texts(message.content),
    images: (message.images ?? []).length + (Array.isArray(message.content) ? message.content.filter((part) => /image/.test(part?.type)).length : 0),
  }));
  const system = request.system ?? request.instructions;
  if (system) said.unshift({ role: "system", text: texts(system), images: 0 });
  const prompt = request.prompt ?? (typeof request.input === "string" ? request.input : null);
  if (prompt) said.push({ role: "user", text: texts(prompt), images: (request.images ?? []).length });
  return said;
}

function texts(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part === "string" ? part : (part?.text ?? ""))).join("");
}
