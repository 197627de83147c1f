"""What every HTML page the project writes must be: one look, self-contained, policed, and one that
a screen reader can lead through.
"""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from importlib.resources import files

_VOID = {"meta", "br", "img", "hr", "input", "link", "line", "rect", "path", "circle"}
# Attributes that make a browser fetch something.
_FETCHING = ("src", "href", "srcset", "data", "poster", "action", "xlink:href")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.seen: set[str] = set()
        self.headings = [0]
        self.said = False
        self.policy = ""
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.seen.add(tag)
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag == "html":
            self.language = given.get("lang", "")
        for name in _FETCHING:
            if given.get(name, "#").split(":")[0] != "data" and given.get(name, "#")[:1] != "#":
                self.faults.append(f"<{tag} {name}={given[name]!r}> is fetched")
        if any(name.startswith("on") for name in given):
            self.faults.append(f"<{tag}> runs a script")
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        if tag == "th":
            self.said = False
        if tag not in _VOID:
            self.open.append(tag)

    def handle_data(self, data: str) -> None:
        self.said |= bool(data.strip())

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")
        if tag == "th" and not self.said:
            self.faults.append("a column has no name")


def faults_of_page(page: str) -> list[str]:
    """What is wrong with a page, empty where nothing is."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    look = files("edgehemo.pages").joinpath("templates", "look.css").read_text("utf-8").strip()
    wrong = [
        (look not in page, "has not the shared look"),
        (not page.startswith("<!DOCTYPE html>"), "has no doctype"),
        (not reader.language.startswith("en"), "names no language"),
        (not reader.policy.startswith("default-src 'none'"), "has no security policy"),
        ("script" in reader.seen, "holds a script"),
        ("h1" not in reader.seen, "has no heading"),
        ("main" not in reader.seen, "has no main part"),
        (
            any(after > before + 1 for before, after in itertools.pairwise(reader.headings)),
            "leaves a level of headings out",
        ),
        (bool(reader.open), f"leaves {', '.join(reader.open)} open"),
    ]
    return reader.faults + [said for is_wrong, said in wrong if is_wrong]
