/** The time by the server's clock. It stands still while Foreman is not heard, so that nothing goes on counting. */
const SLACK = 1500; // ms; the header that tells the time counts whole seconds
let ahead = 0; // ms by which the server's clock is ahead of this one
let stopped = null;

export function now() {
  return stopped ?? Date.now() + ahead;
}

/** Learn the server's time from the Date header of an answer. */
export function learn(date) {
  const found = Date.parse(date) + 500 - Date.now();
  if (Math.abs(found - ahead) > SLACK) ahead = Math.abs(found) > SLACK ? found : 0;
}

export function stop() {
  stopped ??= now();
}

export function go() {
  stopped = null;
}
