/** The colours of the page: the system's, or light or dark ones. `early.js` sets them before anything is drawn. */
const KEY = "foreman-theme";
export const THEMES = ["system", "light", "dark"];

export function theme() {
  const kept = localStorage.getItem(KEY);
  return THEMES.includes(kept) ? kept : "system";
}

export function paint(name) {
  localStorage.setItem(KEY, name);
  document.documentElement.dataset.theme = name;
}
