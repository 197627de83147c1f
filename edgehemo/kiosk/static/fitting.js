// A list has as many rows as the screen has room for: the page is asked for again where it is not so.
const LEAST = 3;
const MOST = 24;

export function fitting(root) {
  const list = root.querySelector("[data-rows]");
  const row = list?.querySelector(".row-of");
  if (!row) return;
  const head = list.querySelector(".row-head")?.offsetHeight ?? 0;
  const least = Number.parseFloat(getComputedStyle(row).minHeight);
  const fit = Math.min(MOST, Math.max(LEAST, Math.floor((list.clientHeight - head) / least)));
  if (!Number.isFinite(fit) || fit === Number(list.dataset.rows)) return;
  const here = new URL(document.body.dataset.here || location.href, location.href);
  if (here.searchParams.get("rows") === String(fit)) return;
  const page = Number(here.searchParams.get("page") ?? 1);
  here.searchParams.set("rows", String(fit));
  here.searchParams.set("page", String(Math.floor(((page - 1) * Number(list.dataset.rows)) / fit) + 1));
  location.replace(here);
}
