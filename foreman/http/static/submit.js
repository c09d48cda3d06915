import { ask, get } from "./api.js";
import { fill, h, say } from "./dom.js";

/** A form for one job; it leads to the job's page. */
export function submit(main) {
  const models = h("datalist", { id: "models" });
  const fault = h("p.fault", { role: "alert", hidden: true });
  const button = h("button.primary", {}, "Submit");
  const field = (label, input, note) => h("label", {}, label, input, note && h("span.muted", {}, note));
  const input = (name, props = {}) => h("input", { name, autocomplete: "off", ...props });
  const model = input("model", { required: true });
  model.setAttribute("list", "models");
  const form = h(
    "form.card.form",
    { onsubmit: send },
    field("Model", model),
    models,
    field("Prompt", h("textarea", { name: "prompt", rows: 6, required: true })),
    field("System prompt", h("textarea", { name: "system", rows: 2 })),
    h(
      "details",
      {},
      h("summary", {}, "More"),
      h(
        "div.grid",
        {},
        field("Priority", h("select", { name: "priority" }, ["high", "normal", "low"].map((value) => h("option", { value, selected: value === "normal" }, value)))),
        field("Not before", input("not_before", { type: "datetime-local" })),
        field("Attempts at most", input("max_attempts", { type: "number", min: 1, max: 20, placeholder: "3" })),
        field("Time limit", input("timeout", { type: "number", min: 1, step: "any" }), "seconds for one attempt"),
        field("Custom id", input("custom_id", { maxLength: 64 })),
        field("Webhook", input("state_webhook_url", { type: "url", placeholder: "https://…" })),
      ),
    ),
    fault,
    h("div.row.end", {}, button),
  );
  fill(main, h("h1", {}, "New job"), form);
  get("/api/tags").then(
    (found) => {
      fill(models, found.models.map((one) => h("option", { value: one.name })));
      if (!model.value && found.models.length) model.value = found.models[0].name;
    },
    () => {},
  );
  form.elements.prompt.focus();

  async function send(event) {
    event.preventDefault();
    const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
    const { prompt, system, not_before: notBefore, max_attempts: attempts, timeout, ...rest } = given;
    const json = {
      ...rest,
      messages: [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: prompt }],
      ...(notBefore ? { not_before: new Date(notBefore).toISOString() } : {}),
      ...(attempts ? { max_attempts: Number(attempts) } : {}),
      ...(timeout ? { timeout: Number(timeout) } : {}),
    };
    button.disabled = true;
    fault.hidden = true;
    try {
      const { job_id: id } = await (await ask("/jobs", { method: "POST", json })).json();
      location.hash = `#/jobs/${id}`;
    } catch (problem) {
      fault.hidden = false;
      say(fault, problem.message);
    } finally {
      button.disabled = false;
    }
  }
  return () => {};
}
