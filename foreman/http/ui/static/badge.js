/** A number before the title of the page: what ended while nobody looked. It goes when somebody does. */
let unseen = 0;
const title = document.querySelector("title");
const mark = /^\(\d+\) /;

export function badge() {
  unseen += 1;
  write();
}

function write() {
  const bare = document.title.replace(mark, "");
  const wanted = unseen ? `(${unseen}) ${bare}` : bare;
  if (document.title !== wanted) document.title = wanted;
}

function look() {
  if (document.hidden || !unseen) return;
  unseen = 0;
  write();
}

new MutationObserver(write).observe(title, { childList: true }); // views set it anew
document.addEventListener("visibilitychange", look);
addEventListener("focus", look);
