import { attached, forgetShown, message, shown } from "./chat_files.js";
import { fill, h, say } from "./dom.js";
import { bytes } from "./format.js";

const DRAFT = "foreman-chat-draft-"; // kept in the browser until it is sent

/** Where a prompt is written: text, and files that are chosen, dropped anywhere on the page or pasted. `send` gets the message. */
export class Composer {
  constructor(id, { send, stop }) {
    this.files = [];
    this.most = null; // bytes of a request
    this.send = send;
    this.area = h("textarea", { name: "prompt", rows: 2, placeholder: "Write a prompt", "aria-label": "Prompt", oninput: () => this.typed(), onkeydown: (event) => this.key(event), onpaste: (event) => this.pasted(event) });
    this.input = h("input", { type: "file", multiple: true, hidden: true, tabIndex: -1, "aria-hidden": "true", onchange: () => this.take([...this.input.files]) });
    this.chips = h("ul.chips", { "aria-label": "Attached files" });
    this.errorLine = h("p.bad.long", { role: "alert", hidden: true });
    this.note = h("span");
    const keys = h("span.typing", {}, "Enter sends, Shift + Enter begins a line.");
    this.stopping = h("button", { type: "button", hidden: true, onclick: stop }, "Stop");
    this.sending = h("button.primary", {}, "Send");
    this.element = h("form.card.composer", { onsubmit: (event) => this.submit(event) }, this.chips, this.area, this.errorLine, h("div.row", {}, h("button.small", { type: "button", onclick: () => this.input.click() }, "Attach"), this.input, h("p.muted.grow.limits", {}, keys, " ", this.note), this.stopping, this.sending));
    this.listening = new AbortController();
    for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => this.drag(event), { signal: this.listening.signal }); // beside it a browser would leave the page for the file
    this.keep(id);
    this.area.value = localStorage.getItem(this.draft) ?? "";
  }

  leave() {
    this.listening.abort();
    forgetShown();
  }

  /** Keep what is written under this conversation. */
  keep(id) {
    if (this.draft) localStorage.removeItem(this.draft);
    this.draft = DRAFT + (id ?? "new");
  }

  limit(most) {
    this.most = most;
    say(this.note, `Images and text files up to ${bytes(Math.floor(most / 4) * 3)}, with those sent before.`);
  }

  typed() {
    if (this.area.value) localStorage.setItem(this.draft, this.area.value);
    else localStorage.removeItem(this.draft);
    this.say("");
  }

  key(event) {
    if (event.key === "Escape" && !this.stopping.hidden) this.stopping.click();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.element.requestSubmit();
  }

  pasted(event) {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    this.take([...event.clipboardData.files]);
  }

  drag(event) {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    this.element.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop") this.take([...event.dataTransfer.files]);
  }

  async take(files) {
    this.say("");
    for (const file of files) {
      try {
        const one = await attached(file, this.most === null ? Infinity : (this.most / 4) * 3);
        this.files.push({ ...one, address: one.image && shown(one.image) });
      } catch (error) {
        this.say(error.message);
      }
    }
    this.input.value = "";
    this.show();
  }

  show() {
    fill(
      this.chips,
      this.files.map((file) => h("li.tag", {}, file.address && h("img", { src: file.address, alt: "", width: 24, height: 24 }), h("span.long", {}, `${file.name}, ${bytes(file.size)}`), h("button", { type: "button", "aria-label": `Remove ${file.name}`, onclick: () => this.remove(file) }, "×"))),
    );
  }

  remove(file) {
    this.files = this.files.filter((one) => one !== file);
    this.show();
    this.area.focus();
  }

  say(words) {
    say(this.errorLine, words);
    this.errorLine.hidden = !words;
  }

  busy(yes) {
    this.stopping.hidden = !yes;
  }

  async submit(event) {
    event.preventDefault();
    const text = this.area.value.trim();
    if ((!text && !this.files.length) || this.sending.disabled) return;
    this.sending.disabled = true;
    this.say("");
    try {
      await this.send(message(text, this.files), text || this.files[0].name);
      this.area.value = "";
      this.files = [];
      this.typed();
      this.show();
    } catch (error) {
      this.say(error.message);
    }
    this.sending.disabled = false;
    this.area.focus();
  }
}
