import { whole } from "./answer.js";
import { ask, getJob } from "./api.js";
import { Lines } from "./chat_lines.js";
import { ChatStream } from "./chat_stream.js";
import { copy } from "./copy.js";
import { fill, h, say } from "./dom.js";
import { isText, stringify } from "./exact_json.js";
import { ENDED, count, pill, reason, seconds, speed, took } from "./format.js";
import { keepStopped, stopped } from "./stopped_answers.js";
import { Written } from "./written.js";

const CANCELLED = "Stopped. What was said so far goes with your next prompt; close this tab before that, and it is gone.";

/**
 * One answer of one model: a job, shown while it comes and after. `step` is its place in the conversation, whose
 * `answer` is what the model is told of it later.
 */
export class ChatAnswer {
  constructor(model, step, { announce, changed, again, results }) {
    Object.assign(this, { model, step, announce, changed, results });
    this.id = step.job?.job_id ?? null;
    this.state = step.job?.state ?? null;
    this.said = step.answer?.content ?? "";
    this.thought = "";
    this.badge = h("span.badge");
    this.stopping = h("button.small", { hidden: true, onclick: () => this.stop(), "aria-label": `Stop the answer of ${model}` }, "Stop");
    this.thinking = h("details.thought", { hidden: true }, h("summary", {}, "Thinking"), (this.thoughts = new Lines()).element);
    this.text = h("div.spoken", {}, (this.plain = new Lines(this.said)).element);
    this.calls = h("div.calls", { hidden: true });
    this.errorLine = h("p.bad.long", { role: "alert", hidden: true });
    this.waits = h("p.muted", { hidden: true });
    this.figures = h("span.muted.figures");
    this.copying = h("button.small", { hidden: true, onclick: () => copy(this.said, "The answer"), "aria-label": `Copy the answer of ${model}` }, "Copy");
    this.renew = h("button.small", { hidden: true, onclick: again, "aria-label": `Answer again with ${model}` }, "Again");
    this.link = h("a", { "aria-label": `Job of this answer of ${model}` }, "Job");
    this.link.hidden = true;
    this.element = h("article.card.chat-answer", { "aria-label": `Answer of ${model}` }, h("div.row.speaker", {}, h("b.grow.long", {}, model), this.badge, this.stopping), this.waits, this.thinking, this.text, this.calls, this.errorLine, h("div.row.under", {}, this.figures, h("span.row", {}, this.copying, this.renew, this.link)));
    if (step.answer?.tool_calls) this.showCalls(step.answer.tool_calls);
    this.mark();
  }

  get running() {
    return this.id !== null && !ENDED.has(this.state);
  }

  leave() {
    this.left = true;
    this.written?.stop();
    this.stream?.stop();
  }

  /** Take the job that answers, from when it is stored. */
  begin(job) {
    this.id = job.job_id;
    this.state = job.state;
    this.step.job = job;
    this.mark();
    this.announce(`${this.model} is asked.`);
    this.refresh();
  }

  /** Show that the job could not be made. */
  refuse(words) {
    say(this.errorLine, words);
    this.errorLine.hidden = false;
    this.state = "failed";
    this.mark();
  }

  /** Read the job anew; follow what it says while it runs. */
  async refresh() {
    if (!this.id || this.left) return;
    let job;
    try {
      job = await getJob(this.id);
    } catch (error) {
      if (error.status === 404) this.gone();
      return;
    }
    if (this.left) return;
    const news = this.state !== job.state;
    this.state = job.state;
    this.startedAt ??= job.started_at && Date.parse(job.started_at);
    if (ENDED.has(job.state)) this.end(job, news);
    else {
      if (job.state !== "queued") this.stream ??= new ChatStream(this.id, { take: (part) => this.take(part), clear: () => this.clear() });
      this.waits.hidden = job.state !== "queued";
      say(this.waits, job.why?.text ? `Waits: ${reason(job.why)}${job.queue_position ? ` (position ${count(job.queue_position)})` : ""}` : "Waits for its turn.");
    }
    this.mark();
  }

  take({ text, thinking }) {
    if (this.left) return;
    if (thinking) {
      this.thought += thinking;
      this.thinking.hidden = false;
      if (!this.said) this.thinking.open = true;
      this.thoughts.add(thinking);
    }
    if (text && !this.said) this.thinking.open = false;
    if (text) this.plain.add(text);
    this.said += text;
  }

  clear() {
    this.said = this.thought = "";
    this.plain.set("");
    fill(this.text, this.plain.element);
    this.thoughts.set("");
    this.thinking.hidden = true;
  }

  end(job, news) {
    this.stream?.stop();
    this.stream = null;
    this.waits.hidden = true;
    this.job = job;
    if (job.state === "cancelled" && !job.result) {
      if (this.said) keepStopped(this.id, this.said);
      else this.said = stopped(this.id);
    }
    const { text, thinking, calls } = job.result ? whole(job.result) : { text: this.said, thinking: this.thought, calls: [] };
    this.said = text;
    this.draw(text);
    this.thoughts.set(thinking);
    this.thinking.hidden = !thinking;
    if (news) this.thinking.open = false;
    if (calls.length) this.showCalls(calls);
    const words = job.state === "done" ? "" : job.state === "cancelled" && text ? CANCELLED : (job.error ?? `The job was ${job.state}.`);
    say(this.errorLine, words);
    this.errorLine.hidden = !words;
    this.errorLine.classList.toggle("bad", job.state !== "cancelled");
    say(this.figures, figures(job));
    if (text || calls.length) this.step.answer = { role: "assistant", content: text, ...(calls.length ? { tool_calls: calls } : {}) };
    if (news) this.announce(job.state === "done" ? `${this.model} has answered.` : `${this.model}: ${job.state}.`);
    this.mark();
    this.changed();
  }

  /** Draw the Markdown of a text that grows no more. */
  draw(text) {
    this.written?.stop();
    this.written = new Written(text);
    fill(this.text, this.written.element);
  }

  /** The job was deleted or pruned; what it said may stand in a later request. */
  gone() {
    this.stream?.stop();
    this.id = null;
    this.state = null;
    this.link.hidden = true;
    if (this.said) this.draw(this.said);
    else say(this.errorLine, "Its job is no longer there.");
    this.errorLine.hidden = Boolean(this.said);
    this.mark();
    this.changed();
  }

  showCalls(calls) {
    fill(
      this.calls,
      calls.map((call) => h("div", {}, h("span.label", {}, "calls "), h("b.mono", {}, call.function?.name ?? "?"), h("pre", { tabIndex: 0 }, written(call.function?.arguments)))),
      this.results?.(calls),
    );
    this.calls.hidden = false;
  }

  mark() {
    const { running } = this;
    fill(this.badge, this.state && this.state !== "done" ? pill(this.state) : "");
    this.stopping.hidden = !running;
    this.text.toggleAttribute("aria-busy", running && this.state !== "queued");
    this.copying.hidden = running || !this.said;
    this.link.hidden = !this.id;
    if (this.id) this.link.href = `#/jobs/${this.id}`;
  }

  /** Let it be made again; only the last answer can be. */
  renewable(yes) {
    this.renew.hidden = !yes || this.running;
  }

  async stop() {
    this.stopping.disabled = true;
    try {
      await ask(`/jobs/${this.id}/cancel`, { method: "POST" });
    } catch (error) {
      if (error.status !== 409) this.refuse(error.message);
    }
    this.stopping.disabled = false;
    this.refresh();
  }
}

function written(given) {
  return isText(given) ? given : stringify(given ?? {}, null, 2);
}

/** Tokens, speed and the time to the first token, as far as they are known. */
function figures(job) {
  const { answer_tokens: tokens, tokens_per_second: fast, first_token_seconds: first } = job.usage ?? {};
  const lasted = job.completed_at ? took(job) : null;
  return [tokens && `${count(tokens)} tokens`, fast && speed(fast), Number.isFinite(first) && `first after ${seconds(first)}`, lasted !== null && `took ${seconds(lasted)}`].filter(Boolean).join(" · ");
}
