/**
 * A conversation as its jobs tell it. Each answer is a job; its request has all that was said before, so the newest job
 * of a model tells the whole. Where an answer belongs stands in the job's metadata: `chat`, `title`, `column`, `turn`
 * (the prompts before it) and `step` (the rounds of tools since the prompt).
 */

export const MARK = "chat-"; // custom ids begin so
const TITLE = 60; // characters

export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(10)), (byte) => "0123456789abcdefghjkmnpqrstvwxyz"[byte % 32]).join("");
}

export function titleOf(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > TITLE ? `${line.slice(0, TITLE - 1)}…` : line || "Images";
}

/** What marks a job as an answer of a conversation. */
export function marks({ id, title }, { column, turn, step }) {
  return { custom_id: `${MARK}${id}-${turn}-${column}`, metadata: { chat: id, title, column: `${column}`, turn: `${turn}`, step: `${step}` } };
}

/** Where a job belongs: `{ chat, title, column, turn, step }`, or null for a job of something else. */
export function placeOf(job) {
  const { chat, title, column, turn, step } = job.metadata ?? {};
  if (!chat || ![column, turn, step].every((one) => /^\d{1,4}$/.test(one ?? ""))) return null;
  return { chat, title: title || "Untitled", column: Number(column), turn: Number(turn), step: Number(step) };
}

/** The messages of a request as `{ system, turns }`; a turn is `{ input, steps }`, a step `{ results, answer }`. */
export function parse(messages) {
  const turns = [];
  let system = "";
  for (const message of messages) {
    const turn = turns.at(-1);
    if (message.role === "system") system = message.content;
    else if (message.role === "user") turns.push({ input: message, steps: [{ results: [], answer: null }] });
    else if (!turn) continue;
    else if (message.role === "tool") {
      if (turn.steps.at(-1).answer) turn.steps.push({ results: [], answer: null });
      turn.steps.at(-1).results.push(message);
    } else turn.steps.at(-1).answer = message;
  }
  return { system, turns };
}

/** The messages of a request for the next answer in a column, of `turns` as `parse` makes them. */
export function messagesOf(system, turns) {
  const said = turns.flatMap(({ input, steps }) => [input, ...steps.flatMap(({ results, answer }) => [...results, ...(answer ? [answer] : [])])]);
  return [...(system ? [{ role: "system", content: system }] : []), ...said];
}

/**
 * The jobs that are part of a conversation as it stands, by column, turn and step; `jobs` are newest first. A prompt
 * that was edited and an answer that was made again leave older jobs behind, which are not.
 */
export function standing(jobs) {
  const columns = new Map();
  for (const job of jobs) {
    const place = placeOf(job);
    if (!place) continue;
    if (!columns.has(place.column)) columns.set(place.column, []);
    const chain = columns.get(place.column);
    const later = chain.at(-1); // made after this one
    if (!later || before(place, later)) chain.push({ ...place, job });
  }
  return columns;
}

function before(one, other) {
  return one.turn < other.turn || (one.turn === other.turn && one.step < other.step);
}

/**
 * A conversation from its standing jobs and, by column, the messages of the newest job's request. Turns are
 * `{ input, columns }`, where a column has `{ results, answer, job }` for each step.
 */
export function rebuilt(columns, requests) {
  const newest = [...columns].filter(([column]) => requests.has(column)).sort(([, one], [, other]) => (one[0].job.job_id < other[0].job.job_id ? 1 : -1));
  if (!newest.length) return { system: "", turns: [] };
  const { system, turns: spoken } = parse(requests.get(newest[0][0]));
  const turns = spoken.map(({ input }) => ({ input, columns: new Map() }));
  for (const [column, chain] of newest) {
    const own = parse(requests.get(column)).turns;
    own.forEach((there, turn) => {
      const jobs = new Map(chain.filter((one) => one.turn === turn).map((one) => [one.step, one.job]));
      const same = turns[turn] && JSON.stringify(there.input) === JSON.stringify(turns[turn].input); // else of an edited prompt
      if (same && jobs.size) turns[turn].columns.set(column, there.steps.map((step, number) => ({ ...step, job: jobs.get(number) ?? null })));
    });
  }
  turns.forEach(({ columns: answered }, turn) => {
    if (!answered.size) answered.set(newest[0][0], spoken[turn].steps.map((step) => ({ ...step, job: null }))); // its jobs are gone
  });
  return { system, turns };
}

/** What a column has been told before `turn`; a column that came later knows what the first one knew. */
export function history(turns, column) {
  return turns.map(({ input, columns }) => ({ input, steps: columns.get(column) ?? [...columns.values()][0] ?? [] }));
}
