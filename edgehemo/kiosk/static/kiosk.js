// The page works without this script but for its keys; it spares the reload and follows the device.
import { keyboardIsOpen, keyboards } from "./keyboard.js";
import { keypads } from "./keypad.js";
import { person } from "./person.js";
import { paged } from "./paged.js";
import { fitting } from "./fitting.js";
import { drawn, toBeDrawn } from "./drawn.js";
import { live } from "./live.js";
import { look } from "./look.js";

const RETRY_MS = 2000;
const LIVES_MS = 10000;
// A finger that is down keeps the page under it; the click comes a moment after it is lifted.
const PRESSED_MS = 100;
let pressed = false;
let busy = false;
// The newest version that the device told of.
let told = 0;

function version() {
  return Number(document.body.dataset.version);
}

// Put a page's body in the place of this one, unless the person is typing and nothing changed.
function show(html) {
  const screen = document.body.dataset.screen;
  const reads = document.querySelector("#help:popover-open") !== null;
  const page = new DOMParser().parseFromString(html, "text/html");
  document.documentElement.lang = page.documentElement.lang;
  document.documentElement.dataset.theme = page.documentElement.dataset.theme;
  document.title = page.title;
  toBeDrawn(page);
  const body = document.importNode(page.body, true);
  drawn(body, document.body);
  document.body.replaceWith(body);
  // Whoever reads the help goes on reading while the page behind it moves on.
  if (reads && body.dataset.screen === screen) body.querySelector("#help")?.showPopover();
  begin();
}

// Where this page comes from: pages of an area have addresses of their own, all others are the
// state's.
function here() {
  return document.body.dataset.here || "/";
}

async function load() {
  const answer = await fetch(here());
  if (answer.ok) show(await answer.text());
}

// Follow the device, but leave the same page alone in which somebody is typing.
async function catchUp() {
  if (busy || told === version()) return;
  const answer = await fetch(here());
  if (!answer.ok || busy) return;
  const html = await answer.text();
  const screen = /data-screen="([a-z_]+)"/.exec(html)?.[1];
  // At a second screen the step goes on under the PIN that somebody types.
  const asks = document.getElementById("pin-form") && html.includes('id="pin-form"');
  while (pressed) await new Promise((over) => setTimeout(over, PRESSED_MS));
  if (busy) return;
  if ((screen !== document.body.dataset.screen && !asks) || !typed()) show(html);
}

async function post(form, button) {
  if (busy) return;
  busy = true;
  const values = new FormData(form, button);
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(values) });
    lost(false);
    show(await answer.text());
    // This page is what the device is about to tell of: it is not loaded a second time, under the
    // next touch.
    told = Math.max(told, version());
  } catch {
    lost(true);
  } finally {
    busy = false;
  }
  catchUp().catch(() => lost(true));
}

function lost(is) {
  const said = document.getElementById("lost");
  // A browser that has not given the token is told nothing, and nothing is lost.
  if (said) said.hidden = !is || document.body.dataset.screen === "token";
}

function typed() {
  return keyboardIsOpen() || [...document.querySelectorAll("main input:not([type=hidden])")].some((entry) =>
    entry.value !== entry.defaultValue || entry.checked !== entry.defaultChecked);
}

function follow() {
  const changes = new EventSource("/changes");
  changes.addEventListener("state", (event) => {
    lost(false);
    told = Number(event.data);
    catchUp().catch(() => lost(true));
  });
  changes.addEventListener("view", (event) => {
    const view = JSON.parse(event.data);
    live.told(view);
    look(view);
  });
  changes.addEventListener("full", () => changes.close());
  changes.addEventListener("error", () => {
    lost(true);
    if (changes.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  });
}

// A browser that hangs says nothing; whoever watches over it begins another.
function livesOn() {
  fetch("/seen", { cache: "no-store" }).catch(() => {});
}

function waits() {
  const pause = document.querySelector("[data-wait]");
  if (pause) setTimeout(load, Number(pause.dataset.wait) * 1000 + 500);
}

document.addEventListener("pointerdown", () => { pressed = true; });
for (const over of ["pointerup", "pointercancel"])
  document.addEventListener(over, () => setTimeout(() => { pressed = false; }, PRESSED_MS));

document.addEventListener("submit", (event) => {
  // A search is an address: the browser goes there.
  if (event.target.method !== "post") return;
  event.preventDefault();
  post(event.target, event.submitter);
});

function begin() {
  keypads(document);
  person(document);
  paged(document);
  fitting(document);
  live.begin(document);
  waits();
  const first = document.querySelector("[autofocus]");
  if (first && document.activeElement !== first) first.focus();
}

keyboards();
begin();
follow();
livesOn();
setInterval(livesOn, LIVES_MS);
