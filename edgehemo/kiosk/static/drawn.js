// Pictures that are drawn, not put into images: of an image the browser keeps what it unpacked for as
// long as it has memory to spare. On a page that stays for months every picture is a new one; of live
// pictures alone that comes to half a gigabyte. A drawing is gone with its place on the page.

// The picture at an address. Throws where there is none.
export async function picture(address, signal) {
  const answer = await fetch(address, { cache: "no-store", signal });
  if (answer.status !== 200) throw new Error("no picture comes");
  return createImageBitmap(await answer.blob());
}

// The drawing takes the bitmap over: none is left behind to be collected.
export function draw(drawing, bitmap) {
  if (drawing.width !== bitmap.width) drawing.width = bitmap.width;
  if (drawing.height !== bitmap.height) drawing.height = bitmap.height;
  drawing.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}

// On a page that is not shown yet, and loads nothing: a drawing in the place of each small picture.
export function toBeDrawn(page) {
  for (const image of page.querySelectorAll("img[data-drawn]")) {
    const drawing = page.createElement("canvas");
    drawing.dataset.drawn = image.getAttribute("src");
    drawing.role = "img";
    drawing.ariaLabel = image.alt;
    image.replaceWith(drawing);
  }
}

// On the page that takes the place of another: what that one has already moves over.
export function drawn(body, before) {
  const there = new Map([...before.querySelectorAll("canvas[data-drawn]")]
    .map((drawing) => [drawing.dataset.drawn, drawing]));
  for (const drawing of body.querySelectorAll("canvas[data-drawn]")) {
    const known = there.get(drawing.dataset.drawn);
    if (known) {
      known.ariaLabel = drawing.ariaLabel;
      drawing.replaceWith(known);
    } else fill(drawing);
  }
}

async function fill(drawing) {
  try {
    draw(drawing, await picture(drawing.dataset.drawn));
  } catch {
    // The image says in words what is missing.
    const image = new Image();
    image.alt = drawing.ariaLabel;
    image.src = drawing.dataset.drawn;
    drawing.replaceWith(image);
  }
}
