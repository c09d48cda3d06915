import { ask, get } from "./api.js";
import { Composer } from "./chat_composer.js";
import { ChatList, forget, jobsOf, nameOf, rename } from "./chat_list.js";
import { ChatModels } from "./chat_models.js";
import { Settings } from "./chat_settings.js";
import { MARK, history as told, marks, messagesOf, newId, placeOf, rebuilt, standing, titleOf } from "./chat_thread.js";
import { ChatTurn } from "./chat_turn.js";
import { confirm } from "./confirm.js";
import { every, fill, gently, h, once, pause, say } from "./dom.js";
import { stringify } from "./exact_json.js";
import { bytes, plural } from "./format.js";
import { requestOf } from "./job_request.js";
import { modelNames } from "./model_names.js";

const WAITING = 2000; // ms between looks at what waits
const NEAR = 80; // px from the end within which what comes is followed
const TRIES = 20; // to delete what is still being cancelled

/** Chat with any model: each answer is a job, and the jobs are the conversation. */
export function playgroundView(main, { control, feed, link, id, query }) {
  const chat = { id: id ?? null, title: "" };
  const title = h("h1.grow", {}, "Chat");
  const name = h("div.row.titled", {}, title);
  const turns = h("ol.turns", { "aria-label": "Conversation" });
  const words = h("p.hidden", { role: "status" });
  const errorLine = h("p.error-line", { role: "alert", hidden: true });
  const models = new ChatModels(query.get("model") ?? "");
  const settings = new Settings();
  const list = new ChatList(chat.id);
  const composer = new Composer(chat.id, { send, stop: () => running().forEach((one) => one.stop()) });
  const sight = new IntersectionObserver((seen) => seen.forEach((one) => one.isIntersecting && look(one.target)), { rootMargin: "300px" });
  let said = []; // the turns, `{ input, columns }`
  let rows = [];
  let most = Infinity; // bytes of a request
  const { signal } = control;
  let ending = true; // whether the end is read
  let lastScroll = 0;
  let unheard = false; // whether the error that is shown is that nobody answered
  const sizes = new ResizeObserver(toEnd);

  fill(main, h("div.chat", {}, list.element, h("div.talk", { onclick: opened }, name, models.element, settings.element, errorLine, turns, words, composer.element)));

  const shared = {
    hears: { announce: (text) => say(words, text), changed: () => changed() },
    modelOf: (column) => models.chosen.find((one) => one.column === column)?.model ?? "a model",
    edit: (row, input) => submit(said.indexOf(row.turn), input).catch((error) => composer.say(error.message)),
    again: (row, column) => again(row, column).catch((error) => composer.say(error.message)),
    goOn: (row, column, results) => goOn(row, column, results).catch((error) => composer.say(error.message)),
  };
  const readList = gently(() => !signal.aborted && list.read(), 1000);

  const listModels = once(modelNames, (names) => !signal.aborted && models.list(names), (error) => refuse(error, "Models cannot be listed: "));
  const readLimit = once(() => get("/queue"), ({ defaults }) => composer.limit((most = defaults.max_body)), () => {});
  const opening = once(chat.id ? open : async () => {}, () => {}, refuse);
  readAll();
  if (!chat.id) composer.area.focus();

  /** Read what was not read yet, since nobody answered. */
  function readAll() {
    if (unheard) fail("");
    unheard = false;
    readList();
    listModels();
    readLimit();
    opening();
  }

  function refuse(error, about = "") {
    unheard ||= error.status === 0;
    if (!signal.aborted) fail(about + error.message);
    if (error.status === undefined) throw error;
  }

  function fail(text) {
    say(errorLine, text);
    errorLine.hidden = !text;
  }

  async function open() {
    const { jobs } = await jobsOf(`${MARK}${chat.id}-`);
    const columns = standing(jobs);
    const requests = new Map(await Promise.all([...columns].map(async ([column, [newest]]) => [column, await requestOf(newest.job.job_id)])));
    if (signal.aborted) return;
    if (!jobs.length) return fail("There is no such conversation: its jobs were deleted, or were kept as long as jobs are kept.");
    const { system, turns: found } = rebuilt(columns, new Map([...requests].map(([column, request]) => [column, request.messages ?? []])));
    said = found;
    const newest = [...columns].filter(([column]) => said.at(-1)?.columns.has(column)).sort(([one], [other]) => one - other);
    models.take(newest.map(([column, [{ job }]]) => ({ column, model: job.model })), Math.max(...columns.keys()));
    settings.take(requests.get(newest[0][0]), system);
    call(nameOf(chat.id) ?? placeOf(jobs[0]).title);
    rows = said.map((turn) => new ChatTurn(turn, shared));
    turns.append(...rows.map((row) => row.element));
    for (const row of rows) sight.observe(row.element);
    await Promise.all((rows.at(-1)?.all ?? []).map((one) => one.refresh()));
    changed();
    ending = true;
    toEnd();
    composer.area.focus({ preventScroll: true });
  }

  function look(element) {
    sight.unobserve(element);
    rows.find((row) => row.element === element)?.all.forEach((one) => one.job || one.refresh());
  }

  function running() {
    return rows.flatMap((row) => row.all).filter((one) => one.running);
  }

  function changed() {
    if (signal.aborted) return;
    composer.busy(running().length > 0);
    for (const row of rows) for (const answers of row.answers.values()) for (const one of answers) one.renewable(row === rows.at(-1) && one === answers.at(-1) && !running().length);
    readList();
  }

  /** Who reads the end of the conversation goes on reading it, until they scroll up. */
  function scrolled() {
    const { documentElement: page } = document;
    if (innerHeight + scrollY >= page.scrollHeight - NEAR) ending = true;
    else if (scrollY < lastScroll) ending = false;
    lastScroll = scrollY;
  }

  /** Who opens something wants to see it, and not the end. */
  function opened(event) {
    if (event.target.closest("summary, .asked button")) ending = false;
  }

  function toEnd() {
    if (ending) scrollTo(0, document.documentElement.scrollHeight);
  }

  function call(text) {
    chat.title = text;
    document.title = `${text} · Foreman`;
    say(title, text);
    fill(name, title, h("button.small", { onclick: naming }, "Rename"), h("button.small", { onclick: remove }, "Delete"));
  }

  function naming() {
    const field = h("input", { value: chat.title, maxLength: 100, required: true, "aria-label": "Name of the conversation", onkeydown: (event) => event.key === "Escape" && call(chat.title) });
    const keep = (event) => {
      event.preventDefault();
      if (!field.value.trim()) return;
      rename(chat.id, field.value.trim());
      call(field.value.trim());
      name.querySelector("button").focus();
      readList();
    };
    fill(name, h("form.row.grow", { onsubmit: keep }, field, h("button.primary", {}, "Keep"), h("span.muted", {}, "Kept in this browser, and with the jobs of your next prompt.")));
    field.select();
  }

  async function remove() {
    const prefix = `${MARK}${chat.id}-`;
    try {
      const { jobs } = await jobsOf(prefix);
      if (!(await confirm({ title: "Delete this conversation?", words: `It is its ${plural(jobs.length, "job")}: they are deleted, with what was asked and answered. This cannot be undone.`, verb: "Delete" }))) return;
      await Promise.all(running().map((one) => one.stop()));
      const path = `/jobs/delete?${new URLSearchParams({ custom_id: `${prefix}*` })}`;
      for (let tries = 0; tries < TRIES; tries += 1) {
        const { skipped } = await (await ask(path, { method: "POST" })).json();
        if (!skipped) break;
        await pause(300);
      }
      forget(chat.id);
      composer.keep(null);
      location.hash = "#/playground";
    } catch (error) {
      fail(error.message);
    }
  }

  async function send(input, text) {
    if (running().length) throw new Error("An answer still comes: stop it first, or wait until it has ended.");
    if (!chat.id) {
      chat.id = list.current = newId();
      call(titleOf(text));
      try {
        await submit(said.length, input);
      } catch (error) {
        chat.id = list.current = null; // nothing has become of it
        say(title, "Chat");
        fill(name, title);
        throw error;
      }
      history.replaceState(null, "", `#/playground/${chat.id}`);
      composer.keep(chat.id);
    } else await submit(said.length, input);
  }

  /** Put a prompt at this place of the conversation, to all models; what stood there and after it goes. */
  async function submit(place, input) {
    const before = said.slice(0, place);
    const bodies = models.chosen.map(({ column, model }) => body(model, { column, turn: place, step: 0 }, [...told(before, column), { input, steps: [] }]));
    const outcomes = await Promise.allSettled(bodies.map(post));
    const bad = outcomes.find((one) => one.status === "rejected");
    if (outcomes.every((one) => one.status === "rejected")) throw bad.reason;
    for (const row of rows.splice(place)) {
      for (const one of row.all) if (one.running) one.stop();
      row.leave();
      row.element.remove();
    }
    const turn = { input, columns: new Map(models.chosen.map(({ column }) => [column, []])) };
    const row = new ChatTurn(turn, shared);
    said = [...before, turn];
    rows.push(row);
    ending = true;
    turns.append(row.element);
    models.chosen.forEach(({ column, model }, at) => {
      const { value, reason } = outcomes[at];
      begin(row, column, model, { results: [], answer: null, job: null }, value, reason);
    });
    toEnd();
  }

  function begin(row, column, model, step, job, refusal) {
    row.turn.columns.get(column).push(step);
    const answer = row.add(column, model, step);
    if (job) answer.begin({ ...job, model });
    else answer.refuse(refusal.message);
    changed();
  }

  async function again(row, column) {
    const place = said.indexOf(row.turn);
    const steps = row.turn.columns.get(column);
    const last = steps.at(-1);
    const model = models.chosen.find((one) => one.column === column)?.model ?? last.job?.model;
    const until = [...steps.slice(0, -1), { results: last.results, answer: null }];
    const job = await post(body(model, { column, turn: place, step: steps.length - 1 }, [...told(said.slice(0, place), column), { input: row.turn.input, steps: until }]));
    steps.pop();
    row.drop(column);
    begin(row, column, model, { results: last.results, answer: null, job: null }, job);
  }

  async function goOn(row, column, results) {
    const place = said.indexOf(row.turn);
    const steps = row.turn.columns.get(column);
    const model = models.chosen.find((one) => one.column === column)?.model ?? steps.at(-1).job?.model;
    const until = [...steps, { results, answer: null }];
    const job = await post(body(model, { column, turn: place, step: steps.length }, [...told(said.slice(0, place), column), { input: row.turn.input, steps: until }]));
    begin(row, column, model, { results, answer: null, job: null }, job);
  }

  function body(model, place, thread) {
    if (!model) throw new Error("There is no model to ask: see Models in the head of the page.");
    return { model, messages: messagesOf(settings.system, thread), ...settings.read(), ...marks(chat, place) };
  }

  async function post(json) {
    const size = new Blob([stringify(json)]).size;
    if (size > most) throw new Error(`The conversation with its files has ${bytes(size)}, and a request at most ${bytes(most)}: leave files out, or begin a new conversation.`);
    return (await ask("/jobs", { method: "POST", json })).json();
  }

  const heard = (event) => {
    const ids = new Set(event.detail.map((change) => change.job_id));
    for (const one of running()) if (ids.has(one.id)) one.refresh();
    if (event.detail.some((change) => change.custom_id?.startsWith(MARK))) readList();
  };
  const all = () => link.state !== "dead" && running().forEach((one) => one.refresh());
  every(WAITING, signal, () => !document.hidden && all());
  feed.addEventListener("changes", heard, { signal });
  feed.addEventListener("reset", all, { signal });
  link.addEventListener("change", () => link.state !== "dead" && readAll(), { signal });
  addEventListener("scroll", scrolled, { passive: true, signal });
  sizes.observe(turns);
  signal.addEventListener("abort", () => {
    sight.disconnect();
    sizes.disconnect();
    for (const row of rows) row.leave();
    composer.leave();
  });
}
