// The live picture: the next one is asked for when this one is shown, so that none is ever late.
// The server answers with the newest picture that was not shown yet.
import { draw, picture } from "./drawn.js";

const RETRY_MS = 500;
// The drawing that is followed. It moves into the page that takes the place of its own, so that it
// never goes black between two.
let followed = null;
let leaves = null;

// The next one is loaded while the one before is shown, which stays where none comes.
async function follow(drawing, signal) {
  while (!signal.aborted) {
    try {
      const bitmap = await picture(drawing.dataset.live || "/live.jpg", signal);
      if (signal.aborted) bitmap.close();
      else draw(drawing, bitmap);
    } catch {
      await new Promise((over) => setTimeout(over, RETRY_MS));
    }
  }
}

export const live = {
  begin(root) {
    const drawing = root.querySelector("[data-live]");
    if (drawing && followed && drawing.dataset.live === followed.dataset.live) {
      drawing.replaceWith(followed);
      followed.ariaLabel = drawing.ariaLabel;
      return;
    }
    leaves?.abort();
    leaves = new AbortController();
    followed = drawing;
    if (drawing) follow(drawing, leaves.signal);
  },
  told(view) {
    const say = document.querySelector("[data-say]");
    const words = document.querySelector(`[data-advice="${view.advice}"]`);
    if (say && words && say.textContent !== words.textContent) say.textContent = words.textContent;
    const bar = document.querySelector("[data-bar]");
    if (bar) bar.value = view.bar;
  },
};
