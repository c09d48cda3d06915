import { ChatAnswer } from "./chat_answer.js";
import { apart, message, shown } from "./chat_files.js";
import { fill, h, keyed } from "./dom.js";
import { bytes } from "./format.js";

/** A prompt and its answers side by side. `turn` is its part of the conversation, `{ input, columns }`. */
export class ChatTurn {
  constructor(turn, chat) {
    this.turn = turn;
    this.chat = chat;
    this.answers = new Map(); // by column, the answers of its steps
    this.asked = h("div.asked");
    this.columns = h("div.side");
    this.element = h("li.turn", {}, this.asked, this.columns);
    this.showInput();
    for (const [column, steps] of turn.columns) for (const step of steps) this.add(column, step.job?.model ?? chat.modelOf(column), step);
  }

  get all() {
    return [...this.answers.values()].flat();
  }

  leave() {
    for (const answer of this.all) answer.leave();
  }

  /** Add an answer to a column and return it; an answer in place of another one has the same step. */
  add(column, model, step) {
    if (!this.answers.has(column)) this.answers.set(column, []);
    const answers = this.answers.get(column);
    const answer = new ChatAnswer(model, step, {
      ...this.chat.hears,
      again: () => this.chat.again(this, column),
      results: (calls) => this.resultsFor(column, step, calls),
    });
    answers.push(answer);
    this.draw();
    return answer;
  }

  /** Take the last answer of a column away. */
  drop(column) {
    const answer = this.answers.get(column).pop();
    answer.leave();
    this.draw();
    return answer;
  }

  draw() {
    const columns = [...this.answers].sort(([one], [other]) => one - other);
    this.columns.dataset.columns = columns.length;
    keyed(this.columns, columns, {
      key: ([column]) => column,
      make: () => ({ element: h("div.column") }),
      update: ({ element }, [, answers]) => fill(element, answers.map((one) => one.element)),
    });
  }

  showInput() {
    const { text, files } = apart(this.turn.input);
    this.editing = h("button.small", { onclick: () => this.edit(), "aria-label": `Edit the prompt “${text.slice(0, 40)}”` }, "Edit");
    fill(this.asked, h("div.prompt", {}, text && h("p.text", {}, text), files.map(shownFile)), this.editing);
  }

  edit() {
    const { text, files } = apart(this.turn.input);
    const area = h("textarea", { value: text, rows: Math.min(12, text.split("\n").length + 1), "aria-label": "Edit the prompt" });
    const back = () => {
      this.showInput();
      this.editing.focus();
    };
    const send = () => this.chat.edit(this, message(area.value.trim(), files));
    const form = h(
      "form.editor",
      {
        onsubmit: (event) => {
          event.preventDefault();
          if (area.value.trim() || files.length) send();
        },
        onkeydown: (event) => {
          if (event.key === "Escape") back();
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
        },
      },
      area,
      files.length > 0 && h("p.muted", {}, `Sent again with it: ${files.map((one) => one.name).join(", ")}`),
      h("div.row.end", {}, h("span.muted.grow", {}, "What was said after it leaves the conversation; its jobs stay."), h("button", { type: "button", onclick: back }, "Leave as it was"), h("button.primary", {}, "Ask again")),
    );
    fill(this.asked, form);
    area.focus();
  }

  /** A form for what the called tools returned. */
  resultsFor(column, step, calls) {
    const fields = calls.map((call) => h("textarea", { rows: 2, required: true, placeholder: '{"result": …}' }));
    const form = h(
      "form.results",
      {
        onsubmit: (event) => {
          event.preventDefault();
          form.hidden = true;
          this.chat.goOn(this, column, calls.map((call, place) => ({ role: "tool", tool_name: call.function?.name ?? "", ...(call.id ? { tool_call_id: call.id } : {}), content: fields[place].value })));
        },
      },
      calls.map((call, place) => h("label", {}, `What ${call.function?.name ?? "the tool"} returns`, fields[place])),
      h("div.row.end", {}, h("button.primary.small", {}, calls.length > 1 ? "Send the results" : "Send the result")),
    );
    const steps = this.turn.columns.get(column);
    const next = steps[steps.indexOf(step) + 1];
    if (!next) return form;
    return next.results.map((one) => h("div", {}, h("span.label", {}, `${one.tool_name || "the tool"} returned`), h("pre", { tabIndex: 0 }, one.content)));
  }
}

function shownFile(file) {
  if (file.image) {
    const address = shown(file.image);
    return h("a", { href: address, target: "_blank" }, h("img.small-image", { src: address, alt: file.name }));
  }
  return h("details", {}, h("summary", {}, `${file.name}, ${bytes(file.size)}`), h("pre", { tabIndex: 0 }, file.text));
}
