// The keypad on the page, and the keyboard, which a barcode reader is as well.

// A reader types faster than any hand: so many milliseconds a character at most, on average.
const SCANNED_MS = 30;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ./_-";

function changed(entry) {
  entry.dispatchEvent(new Event("input", { bubbles: true }));
}

function type(entry, text) {
  if (entry.disabled || (entry.maxLength > 0 && entry.value.length >= entry.maxLength)) return;
  entry.value += text;
  changed(entry);
}

function key(text) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "key";
  button.dataset.key = text;
  button.textContent = text;
  return button;
}

function letters(button, pad) {
  const digits = [...pad.childNodes];
  let shown = false;
  button.addEventListener("click", () => {
    shown = !shown;
    pad.classList.toggle("letters", shown);
    pad.replaceChildren(...(shown ? [...LETTERS].map(key) : digits));
    button.textContent = shown ? button.dataset.labelDigits : button.dataset.labelLetters;
  });
}

// The entries that an attribute names, one or several.
function named(ids) {
  return ids.split(" ").map((id) => document.getElementById(id));
}

// Of several entries a pad types into the one that was touched last, at first the first.
function target(entries) {
  let current = entries[0];
  const look = () => {
    for (const entry of entries) entry.classList.toggle("current", entries.length > 1 && entry === current);
  };
  for (const entry of entries) {
    entry.addEventListener("focus", () => { current = entry; look(); });
  }
  look();
  return () => current;
}

function enable(root) {
  for (const button of root.querySelectorAll("[data-needs]")) {
    const entries = named(button.dataset.needs);
    const least = Number(button.dataset.least);
    const look = () => { button.disabled = entries.some((entry) => entry.disabled || entry.value.length < least); };
    for (const entry of entries) entry.addEventListener("input", look);
    look();
  }
}

function scanned(root) {
  const entry = root.querySelector("[data-scanned]");
  if (!entry) return;
  const how = entry.form.querySelector("[data-how]");
  let first = 0;
  let count = 0;
  entry.addEventListener("keydown", (event) => {
    if (event.key.length === 1) {
      if (count === 0) first = event.timeStamp;
      count += 1;
    }
    if (event.key === "Enter") {
      how.value = count > 3 && (event.timeStamp - first) / count < SCANNED_MS ? "scanned" : "typed";
    }
  });
}

export function keypads(root) {
  for (const pad of root.querySelectorAll("[data-pad]")) {
    const current = target(named(pad.dataset.pad));
    pad.addEventListener("click", (event) => {
      const pressed = event.target.closest("button");
      if (!pressed) return;
      const entry = current();
      if ("erase" in pressed.dataset) {
        entry.value = entry.value.slice(0, -1);
        changed(entry);
      } else type(entry, pressed.dataset.key);
    });
    const switcher = root.querySelector(`[data-letters="${pad.dataset.pad}"]`);
    if (switcher) letters(switcher, pad);
  }
  enable(root);
  scanned(root);
}
