// What a live picture's light is, in numbers and as a histogram: the engineer's pages.
// The server sends it with each picture; a page without places for it shows nothing.
export function look(view) {
  if (!view.rgb) return;
  for (const [place, text] of [
    ["[data-rgb]", view.rgb.join(" · ")],
    ["[data-clipped]", percent(view.clipped)],
    ["[data-black]", percent(view.black)],
  ]) {
    const shown = document.querySelector(place);
    if (shown && shown.textContent !== text) shown.textContent = text;
  }
  bars(document.querySelector("[data-histogram]"), view.histogram);
}

function percent(share) {
  const decimals = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return `${new Intl.NumberFormat(document.documentElement.lang, decimals).format(share * 100)} %`;
}

// The tallest bar fills the height; the bars at both ends are what is black and what is clipped.
function bars(drawing, shares) {
  if (!drawing) return;
  const tallest = Math.max(...shares, 0.001);
  const rects = drawing.querySelectorAll("rect");
  shares.forEach((share, number) => {
    const height = share > 0 ? Math.max(1, (share / tallest) * 40) : 0;
    rects[number]?.setAttribute("height", height.toFixed(1));
    rects[number]?.setAttribute("y", (40 - height).toFixed(1));
  });
}
