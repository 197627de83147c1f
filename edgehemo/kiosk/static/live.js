// The live picture: the next one is asked for when this one is shown, so that none is ever late.
// The server answers with the newest picture that was not shown yet.
const RETRY_MS = 500;
let number = 0;
// The picture that is followed. It moves into the page that takes the place of its own, so that it
// never goes black between two.
let followed = null;

// The next one is loaded beside the one that is shown, which stays where none comes. What listens to
// it is let go of at once: it would hold the picture before it, and that the one before.
function next() {
  const shown = followed;
  if (!shown) return;
  number += 1;
  const fresh = shown.cloneNode();
  const over = (then) => () => {
    fresh.onload = fresh.onerror = null;
    if (shown === followed) then();
  };
  fresh.onload = over(() => {
    shown.replaceWith(fresh);
    followed = fresh;
    next();
  });
  fresh.onerror = over(() => setTimeout(() => { if (shown === followed) next(); }, RETRY_MS));
  fresh.src = `${shown.dataset.live || "/live.jpg"}?n=${number}`;
}

export const live = {
  begin(root) {
    const image = root.querySelector("[data-live]");
    if (image && followed && image.dataset.live === followed.dataset.live) {
      image.replaceWith(followed);
      followed.alt = image.alt;
      return;
    }
    followed = image;
    next();
  },
  told(view) {
    const say = document.querySelector("[data-say]");
    const words = document.querySelector(`[data-advice="${view.advice}"]`);
    if (say && words && say.textContent !== words.textContent) say.textContent = words.textContent;
    const bar = document.querySelector("[data-bar]");
    if (bar) bar.value = view.bar;
  },
};
