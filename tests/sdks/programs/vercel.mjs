// The Vercel AI SDK's calls through its providers for OpenAI and Anthropic; prints one JSON object.

import { setTimeout } from "node:timers/promises";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import {
  embed,
  experimental_cancelBatch as cancelBatch,
  experimental_getBatchResults as getBatchResults,
  experimental_getBatchStatus as getBatchStatus,
  experimental_listBatches as listBatches,
  experimental_startBatch as startBatch,
  generateText,
  streamText,
} from "ai";

const baseURL = `${process.env.FOREMAN_URL}/v1`;
const openai = createOpenAI({ baseURL, apiKey: "unused" });
const anthropic = createAnthropic({ baseURL, apiKey: "unused" });
const asked = { prompt: "hello #echo", maxRetries: 0 };

async function streamed(model) {
  let text = "";
  const { textStream } = streamText({
    model,
    ...asked,
    onError({ error }) {
      throw error;
    },
  });
  for await (const part of textStream) text += part;
  return text;
}

async function ended(provider, batch) {
  let found = batch;
  while (found.status === "pending") {
    await setTimeout(50);
    found = await getBatchStatus({ provider, batch });
  }
  const results = [];
  for await (const one of getBatchResults({ provider, batch })) results.push([one.id, one.status, one.text ?? null]);
  return [found.rawStatus, results];
}

const lines = (...texts) => texts.map(([id, prompt]) => ({ id, type: "text", model: "a", prompt }));
const said = {};

for (const [name, model] of [
  ["chat", openai.chat("a")],
  ["responses", openai.responses("a")],
  ["messages", anthropic("a")],
]) {
  said[name] = [(await generateText({ model, ...asked })).text, await streamed(model)];
}

const first = await generateText({ model: openai("a"), ...asked });
const then = await generateText({
  model: openai("a"),
  ...asked,
  prompt: "again #echo",
  providerOptions: { openai: { previousResponseId: first.providerMetadata.openai.responseId } },
});
said.continued = then.text;
said.embedding = (await embed({ model: openai.embedding("a"), value: "hello" })).embedding;

for (const [name, provider] of [
  ["openai", openai],
  ["anthropic", anthropic],
]) {
  const batch = await startBatch({ provider, requests: lines(["one", "hello #echo"], ["bad", "#status=400"]) });
  const results = await ended(provider, batch);
  const slow = await startBatch({ provider, requests: lines(["slow", "#silent"]) });
  await cancelBatch({ provider, batch: slow });
  const cancelled = await ended(provider, slow);
  const newest = (await listBatches({ provider, limit: 1 })).batches[0].id;
  said[name] = { results, cancelled, listed: newest === slow.id };
}

console.log(JSON.stringify(said));
