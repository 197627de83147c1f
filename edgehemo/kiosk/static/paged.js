// A list longer than the screen is turned over page by page; nothing scrolls.
export function paged(root) {
  for (const list of root.querySelectorAll("[data-paged]")) {
    const items = [...list.querySelectorAll("[data-item]")];
    const room = Number(list.dataset.paged);
    if (items.length <= room) continue;
    const each = room - 1;
    const pages = Math.ceil(items.length / each);
    let page = 0;
    const more = document.createElement("button");
    more.type = "button";
    more.className = "tile more-tile";
    list.append(more);
    const look = () => {
      items.forEach((item, number) => { item.hidden = Math.floor(number / each) !== page; });
      more.textContent = `${page + 1} / ${pages}  →`;
    };
    more.addEventListener("click", () => { page = (page + 1) % pages; look(); });
    look();
  }
}
