"""Does a built site fetch anything from elsewhere when it is read?

    python -m docs.generation.offline SITE

Names every script, style, font, picture or frame that a page or style sheet of SITE takes from
another host, and ends with 1 when there is one. Links that a reader may follow are no resources.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

# Element -> the attributes whose address a browser loads by itself.
LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "input": ("src",),
}
# Relations of <link> that are told to search engines and never loaded.
_NOT_LOADED = {"canonical", "alternate", "author", "license", "next", "prev", "help"}
_ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_STYLE_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""", re.I)


class _Resources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._in_style = tag == "style"
        if tag == "link" and set((given.get("rel") or "").lower().split()) <= _NOT_LOADED:
            return
        for name in LOADED.get(tag, ()):
            value = (given.get(name) or "").strip()
            # A srcset holds several addresses; a comma may stand inside any other one.
            for address in value.split(",") if name == "srcset" else [value]:
                if _ELSEWHERE.match(address.strip()):
                    self.found.append(f"<{tag} {name}> {address.strip()}")
        self.found += _in_style(given.get("style") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += _in_style(data)


def in_page(text: str) -> list[str]:
    """What an HTML page loads from elsewhere."""
    parser = _Resources()
    parser.feed(text)
    parser.close()
    return parser.found


def in_site(site: Path) -> Iterator[str]:
    """What the pages and style sheets of a site load from elsewhere, each with its file."""
    for file in sorted(site.rglob("*")):
        if file.suffix in (".html", ".svg"):
            found = in_page(file.read_text(encoding="utf-8"))
        elif file.suffix == ".css":
            found = _in_style(file.read_text(encoding="utf-8"))
        else:
            continue
        for resource in found:
            yield f"{file.relative_to(site)}: {resource}"


def _in_style(text: str) -> list[str]:
    return [f"style {address}" for address in _STYLE_ADDRESS.findall(text)]


if __name__ == "__main__":
    built = Path(sys.argv[1])
    if not (built / "index.html").is_file():
        sys.exit(f"{built}: there is no built site")
    if resources := list(in_site(built)):
        sys.exit("\n".join(["the site fetches from elsewhere:", *resources]))
