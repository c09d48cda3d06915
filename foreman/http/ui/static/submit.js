import { ask, get } from "./api.js";
import { fill, h, once, say } from "./dom.js";
import { STATES, plural } from "./format.js";
import { requestOf } from "./job_request.js";
import { modelNames } from "./model_names.js";
import { notifyAllSwitch, watchSubmitted } from "./notifications.js";
import { ENDPOINTS, payload } from "./payload.js";
import { prefill } from "./prefill.js";

const SIMPLE = ["prompt", "system", "options", "schema", "extra"]; // fields that the whole request as JSON stands for

/** A form for one job, filled in from the job that `?from=` names; it leads to the job's page. */
export function submitView(main, { control, link, query }) {
  const from = query.get("from");
  const models = h("datalist", { id: "models" });
  const errorLine = h("p.error-line", { role: "alert", hidden: true });
  const button = h("button.primary", {}, "Submit");
  const field = (label, input, note) => h("label", {}, label, input, note && h("span.muted", {}, note));
  const input = (name, props = {}) => h("input", { name, autocomplete: "off", ...props });
  const area = (name, props = {}) => h("textarea", { name, rows: 3, ...props });
  const select = (name, values, chosen) => h("select", { name }, values.map((value) => h("option", { value, selected: value === chosen }, value)));
  const group = (name, ...fields) => h("fieldset", {}, h("legend", {}, name), h("div.grid", {}, fields));
  const model = input("model", { required: true });
  model.setAttribute("list", "models");
  const images = h("input", { type: "file", accept: "image/*", multiple: true });
  const attempts = input("max_attempts", { type: "number", min: 1, max: 20 });
  const timeout = input("timeout", { type: "number", min: 0.001, step: "any" });
  const kept = { images: [], files: [] }; // of the job that the form was filled in from
  const sent = h("p.row", { hidden: true });
  const whole = field("Request", h("textarea", { name: "request", rows: 16, required: true, disabled: true, spellcheck: false }), "JSON, as it is sent; names such as <image-1.png> stand for its files");
  whole.hidden = true;
  const events = STATES.map((state) => h("input", { type: "checkbox", value: state }));
  const form = h(
    "form.card.form",
    { onsubmit: send, onkeydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit() },
    field("Model", model),
    models,
    whole,
    field("Prompt", h("textarea", { name: "prompt", rows: 6, required: true })),
    field("System prompt", h("textarea", { name: "system", rows: 2 })),
    h(
      "details",
      {},
      h("summary", {}, "More"),
      group(
        "When",
        field("Priority", select("priority", ["high", "normal", "low"], "normal")),
        field("Not before", input("not_before", { type: "datetime-local", step: 1 })),
        field("Start by", input("start_by", { type: "datetime-local", step: 1 }), "expires if not started by then"),
        field("Attempts at most", attempts),
        field("Time limit", timeout, "seconds for one attempt"),
      ),
      group(
        "Request",
        field("Endpoint", select("endpoint", ENDPOINTS, ENDPOINTS[0]), "sets the form of request and answer"),
        h("div", {}, field("Images", images, "sent along with the prompt"), sent),
        field("Options", area("options", { placeholder: '{"temperature": 0.2}' }), "JSON, named as the endpoint names them"),
        field("Schema of the answer", area("schema", { placeholder: '{"type": "object", "properties": …}' }), "JSON Schema that the answer must follow"),
        field("Other fields", area("extra", { placeholder: '{"think": true}' }), "JSON, sent beside the prompt: tools, think, …"),
      ),
      group("Label", field("Custom id", input("custom_id", { maxLength: 64 })), field("Metadata", area("metadata", { placeholder: "project = colours" }), "name = value, one a line")),
      group(
        "Webhook",
        field("Webhook", input("state_webhook_url", { type: "url", placeholder: "https://…" }), "receives the job's events"),
        h("div.events", { role: "group", "aria-label": "States sent to the webhook" }, h("b", {}, "States sent to the webhook"), events.map((event) => h("label.check", {}, event, event.value)), h("span.muted", {}, "none chosen: all")),
      ),
    ),
    notifyAllSwitch(),
    errorLine,
    h("div.row.end", {}, h("span.muted", {}, "or Ctrl + Enter"), button),
  );
  fill(main, h("h1", {}, "New job"), form);
  const reads = [
    once(
      () => from && Promise.all([get(`/jobs/${encodeURIComponent(from)}`), requestOf(from)]),
      (found) => found && !form.elements.prompt.value && fillIn(...found), // what was written meanwhile stays
      (error) => tell(error.status === 404 ? `There is no job ${from} to begin from.` : error.message),
    ),
    once(
      modelNames,
      (names) => {
        fill(models, names.map((name) => h("option", { value: name })));
        if (!model.value && names.length) model.value = names[0];
      },
      () => {},
    ),
    once(
      () => get("/queue"),
      ({ defaults }) => {
        attempts.placeholder = defaults.max_attempts;
        timeout.placeholder = defaults.timeout;
      },
      () => {},
    ),
  ];
  const readAll = () => reads.forEach((read) => read());
  link.addEventListener("change", () => link.state !== "dead" && readAll(), { signal: control.signal });
  readAll();
  form.elements.prompt.focus();

  function tell(words) {
    errorLine.hidden = false;
    say(errorLine, words);
    errorLine.scrollIntoView({ block: "nearest" });
  }

  function fillIn(job, request) {
    errorLine.hidden = true;
    const { fields, ...more } = prefill(job, request);
    Object.assign(kept, more);
    if (fields.request !== undefined) {
      for (const name of SIMPLE) hide(form.elements[name]);
      hide(images);
      whole.hidden = form.elements.request.disabled = false;
    }
    for (const [name, value] of Object.entries(fields)) {
      const element = form.elements[name];
      if (element.tagName === "SELECT" && ![...element.options].some((one) => one.value === value)) element.append(h("option", { value }, value));
      element.value = value;
    }
    form.querySelector("details").open = true;
    showKept();
    form.elements.request.setSelectionRange(0, 0); // read from its beginning
    form.elements[fields.request === undefined ? "prompt" : "request"].focus();
  }

  function hide(element) {
    element.disabled = element.closest("label").hidden = true;
  }

  function showKept() {
    sent.hidden = !kept.images.length;
    fill(sent, h("span.muted", {}, `with ${plural(kept.images.length, "image")} of the job`), h("button.small", { type: "button", onclick: () => ((kept.images = []), showKept()) }, "Leave out"));
  }

  async function send(event) {
    event.preventDefault();
    if (button.disabled) return;
    const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
    button.disabled = true;
    errorLine.hidden = true;
    try {
      const chosen = events.filter((one) => one.checked).map((one) => one.value);
      const json = payload(given, [...kept.images, ...(await Promise.all([...images.files].map(read)))], chosen, kept.files);
      const { job_id: id } = await (await ask("/jobs", { method: "POST", json })).json();
      watchSubmitted(id, json.custom_id);
      location.hash = `#/jobs/${id}`;
    } catch (error) {
      tell(error.message);
    } finally {
      button.disabled = false;
    }
  }
}

/** A file as `{ type, data }`, the data in base64. */
function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve({ type: file.type, data: reader.result.slice(reader.result.indexOf(",") + 1) });
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}
