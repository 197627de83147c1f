// The keyboard on the screen: it opens over the page for every text field without a pad of its own,
// shows what is typed, and goes away with what was typed, or without it. A real keyboard types into
// it, and into the field itself.

// Every row has so many keys at most; what is not named stands in the second layer.
const ROWS = {
  en: ["qwertyuiop", "asdfghjkl'", "zxcvbnm-"],
  es: ["qwertyuiop", "asdfghjklñ", "zxcvbnm-"],
  fr: ["azertyuiop", "qsdfghjklm", "wxcvbn'-"],
  pt: ["qwertyuiop", "asdfghjklç", "zxcvbnm-"],
  sw: ["qwertyuiop", "asdfghjkl'", "zxcvbnm-"],
};
const MORE = {
  en: ["@#%&*+=/_|", ".,:;?!()\"°", "<>[]~²×€"],
  es: ["áéíóúü@#%&", ".,:;?!()¿¡", "+=*/_\"°'"],
  fr: ["éèêëàâçùûî", "ïôœ.,:;?!/", "()+=%&_\""],
  pt: ["áâãàéêíóôõ", "ú.,:;?!()/", "+=%&_\"ºª"],
  sw: ["@#%&*+=/_|", ".,:;?!()\"°", "<>[]~²×€"],
};
const MORE_LABEL = { en: ", ? @", es: "á é ?", fr: "é è ?", pt: "á ã ?", sw: ", ? @" };
const DIGITS = "1234567890";
const DECIMAL_COMMA = ["es", "fr", "pt"];
// Fields that hold a number have ten digits and what a number needs.
const NUMERIC = ["numeric", "decimal"];
// A telephone has a keyboard of its own, of the size of its hand.
const NARROW = "(max-width: 560px)";
const FIELDS = "main input.entry:not([disabled]):not([readonly])";

function wants(entry) {
  if (!entry || !["text", "search"].includes(entry.type)) return false;
  return !document.querySelector(`[data-pad="${CSS.escape(entry.id)}"]`);
}

function labelOf(entry) {
  return entry.labels?.[0]?.textContent.trim() || entry.getAttribute("aria-label") || entry.placeholder;
}

class Keyboard {
  constructor(dialog, entry) {
    this.dialog = dialog;
    this.entry = entry;
    this.before = entry.value;
    const known = Object.hasOwn(ROWS, document.documentElement.lang);
    this.language = known ? document.documentElement.lang : "en";
    this.numeric = NUMERIC.includes(entry.inputMode);
    this.layer = ROWS;
    // Capitals for one letter, or until they are taken off again.
    this.shift = !this.numeric && entry.value === "" && entry.getAttribute("autocapitalize") !== "none" ? "one" : "";
    this.typed = dialog.querySelector("[data-typed]");
    this.keys = dialog.querySelector("[data-keys]");
  }

  open() {
    const { dialog, entry, typed } = this;
    dialog.querySelector("[data-label]").textContent = labelOf(entry);
    typed.maxLength = entry.maxLength;
    typed.value = entry.value;
    typed.setAttribute("aria-label", labelOf(entry));
    typed.addEventListener("input", () => this.said());
    typed.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.end(true);
    });
    // A touched key must not take the caret out of the text.
    dialog.addEventListener("pointerdown", (event) => { if (event.target !== typed) event.preventDefault(); });
    dialog.addEventListener("click", (event) => this.pressed(event.target.closest("button")));
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); this.end(false); });
    document.body.append(dialog);
    this.draw();
    dialog.showModal();
    typed.focus();
    typed.setSelectionRange(typed.value.length, typed.value.length);
  }

  rows() {
    if (this.numeric) {
      const point = DECIMAL_COMMA.includes(this.language) ? "," : ".";
      return ["123", "456-", `789${point}`, "0"];
    }
    return [DIGITS, ...this.layer[this.language]];
  }

  draw() {
    const rows = this.rows();
    this.keys.classList.toggle("numeric", this.numeric);
    const made = rows.flatMap((row, number) => {
      const keys = [...row].map((text) => this.key(text));
      if (this.numeric) return number === 0 ? [...keys, this.part("erase")] : keys;
      if (number === rows.length - 1) return [this.part("shift"), ...keys, this.part("erase")];
      return keys;
    });
    this.keys.replaceChildren(...made);
    for (const name of ["more", "space", "stop"]) this.dialog.querySelector(`[data-${name}]`).hidden = this.numeric;
    const more = this.dialog.querySelector("[data-more]");
    more.textContent = this.layer === ROWS ? MORE_LABEL[this.language] : "a b c";
    more.setAttribute("aria-pressed", String(this.layer === MORE));
  }

  key(text) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "key";
    const shown = this.shift ? text.toLocaleUpperCase(this.language) : text;
    button.dataset.key = button.textContent = shown;
    return button;
  }

  // A key with a picture, which waits in the template.
  part(name) {
    const button = this.dialog.querySelector(`template[data-part="${name}"]`).content.firstElementChild.cloneNode(true);
    if (name === "shift") {
      button.setAttribute("aria-pressed", String(this.shift !== ""));
      button.classList.toggle("held", this.shift === "all");
    }
    return button;
  }

  pressed(button) {
    if (!button) return;
    const does = button.dataset;
    if ("done" in does) return this.end(true);
    if ("cancel" in does) return this.end(false);
    if ("more" in does) this.layer = this.layer === ROWS ? MORE : ROWS;
    else if ("shift" in does) this.shift = { "": "one", one: "all", all: "" }[this.shift];
    else if ("erase" in does) this.erase();
    else if ("key" in does) this.type(does.key);
    if (!("erase" in does)) this.draw();
  }

  type(text) {
    const { typed } = this;
    const chosen = typed.selectionEnd - typed.selectionStart;
    if (typed.maxLength >= 0 && typed.value.length - chosen + text.length > typed.maxLength) return;
    typed.setRangeText(text, typed.selectionStart, typed.selectionEnd, "end");
    if (this.shift === "one") this.shift = "";
    this.said();
  }

  erase() {
    const { typed } = this;
    const from = typed.selectionStart === typed.selectionEnd ? Math.max(0, typed.selectionStart - 1) : typed.selectionStart;
    typed.setRangeText("", from, typed.selectionEnd, "end");
    this.said();
  }

  // What is typed stands in the field at once: the page knows it, whatever comes.
  said() {
    this.typed.scrollLeft = this.typed.scrollWidth;
    this.entry.value = this.typed.value;
    this.entry.dispatchEvent(new Event("input", { bubbles: true }));
  }

  end(keep) {
    if (!keep) {
      this.typed.value = this.before;
      this.said();
    }
    this.dialog.close();
    this.dialog.remove();
    this.entry.focus();
  }
}

export function keyboards() {
  document.addEventListener("click", (event) => {
    const entry = event.target.closest?.(FIELDS);
    const template = document.getElementById("keyboard");
    if (!template || !wants(entry) || matchMedia(NARROW).matches) return;
    new Keyboard(template.content.firstElementChild.cloneNode(true), entry).open();
  });
}

// Whether somebody types in it: the page is not made anew then.
export function keyboardIsOpen() {
  return document.querySelector("dialog.keyboard[open]") !== null;
}
