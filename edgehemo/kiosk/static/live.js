// The live picture: the next one is asked for when this one is shown, so that none is ever late.
// The server answers with the newest picture that was not shown yet.
//
// It is drawn, not put into an image: of an image the browser keeps what it unpacked for as long as
// it has memory to spare, which for a new picture each time comes to half a gigabyte.
const RETRY_MS = 500;
// The drawing that is followed. It moves into the page that takes the place of its own, so that it
// never goes black between two.
let followed = null;
let leaves = null;

async function picture(address, signal) {
  const answer = await fetch(address, { cache: "no-store", signal });
  if (answer.status !== 200) throw new Error("no picture comes");
  return createImageBitmap(await answer.blob());
}

function draw(drawing, bitmap) {
  if (drawing.width !== bitmap.width) drawing.width = bitmap.width;
  if (drawing.height !== bitmap.height) drawing.height = bitmap.height;
  // The drawing takes the bitmap over: none is left behind to be collected.
  drawing.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}

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
