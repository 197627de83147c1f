// The live picture: the next one is asked for when this one is shown, so that none is ever late.
// The server answers with the first picture that comes after the question.
const RETRY_MS = 500;
let turn = 0;

function follow(image, mine) {
  let number = 0;
  const next = () => {
    if (mine !== turn || !image.isConnected) return;
    number += 1;
    image.src = `/live.jpg?n=${number}`;
  };
  image.addEventListener("load", next);
  image.addEventListener("error", () => setTimeout(next, RETRY_MS));
  next();
}

export const live = {
  begin(root) {
    turn += 1;
    const image = root.querySelector("[data-live]");
    if (image) follow(image, turn);
  },
  told(view) {
    const say = document.querySelector("[data-say]");
    const words = document.querySelector(`[data-advice="${view.advice}"]`);
    if (say && words && say.textContent !== words.textContent) say.textContent = words.textContent;
    const bar = document.querySelector("[data-bar]");
    if (bar) bar.value = view.bar;
  },
};
