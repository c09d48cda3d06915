/** What stopped answers had said, by job, as long as this tab is open: Foreman keeps no part of a cancelled job's answer. */
const KEY = "foreman-stopped";
const MOST = 10;

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export function keepStopped(id, text) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries([...Object.entries(kept()).filter(([one]) => one !== id), [id, text]].slice(-MOST))));
  } catch {
    // there is no room for it
  }
}

/** What it had said, or nothing. */
export function stopped(id) {
  return kept()[id] ?? "";
}
