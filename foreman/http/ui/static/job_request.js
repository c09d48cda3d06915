import { kept } from "./access.js";
import { ask } from "./api.js";
import { client, curl, python } from "./as_code.js";
import { asked } from "./conversation.js";
import { copy } from "./copy.js";
import { fill, h } from "./dom.js";
import { parse, stringify } from "./exact_json.js";
import { Parts, folded, long } from "./parts.js";
import { Pictures } from "./pictures.js";

const CODE = {
  curl: { title: "a command that sends the request again", make: curl },
  Python: { title: "a program with the SDK or httpx", make: python },
  "Foreman client": { title: "a program with Foreman's own Python library", make: client },
};

/** What was asked: the conversation as it was sent, with its images, and the rest of the request. */
export class Asked {
  constructor() {
    this.body = h("div", {});
    this.copies = h("span.row", { role: "group", "aria-label": "Copy as", hidden: true }, h("span.muted", {}, "Copy as"), Object.keys(CODE).map((name) => this.copier(name)));
    this.element = h("section.card", { "aria-label": "Asked" }, h("div.row", {}, h("h2", {}, "Asked"), this.copies), this.body);
    this.parts = new Parts(new Pictures());
  }

  /** Know the job as it is now, which the copies are made of. */
  of(job) {
    this.job = job;
    this.copies.hidden = !this.request;
  }

  copier(name) {
    const { title, make } = CODE[name];
    const { origin } = location;
    const code = () => make({ endpoint: this.job.endpoint, request: this.request, url: origin, token: kept("token") !== null, own: ownFields(this.job) });
    return h("button.small", { title, "aria-label": `Copy as ${name}`, onclick: () => copy(code(), `The request as ${name}`) }, name);
  }

  show(request) {
    this.request = request;
    this.copies.hidden = !this.job;
    const said = asked(request);
    const { messages, prompt, input, system, instructions, images, ...rest } = request;
    const messageOf = ({ role, parts }) => h("div.message", {}, h("span.label", {}, role), this.parts.show(parts, { model: role === "assistant" }));
    fill(this.body, said.map(messageOf), said.length ? folded("The rest of the request", rest) : long(stringify(request, null, 2)));
  }

  /** Say why there is no request to show. */
  say(words) {
    fill(this.body, h("p.muted", {}, words));
  }

  stop() {
    this.parts.stop();
  }
}

/** What the job was given besides its request. */
function ownFields({ priority, metadata, custom_id: name }) {
  const given = metadata && Object.keys(metadata).length ? metadata : null;
  return { priority: priority === "normal" ? null : priority, custom_id: name, metadata: given };
}

/** Read the request of a job, by `parse` of exact_json.js. Throws AnswerError where it is gone, SyntaxError where it is no JSON. */
export async function requestOf(id) {
  const response = await ask(`/jobs/${encodeURIComponent(id)}/request`);
  return parse(await response.text());
}
