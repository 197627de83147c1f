"""Every code with its title, what it means and what to do: as a page, as Markdown, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from edgehemo.guidance.catalogue import Guidance, catalogue, guidance_with, placeholders
from edgehemo.guidance.codes import Kind
from edgehemo.pages.environment import page_environment

# What each kind of code is called, in the order of the pages.
HEADINGS: dict[Kind, str] = {
    "quality": "Quality of a field",
    "camera": "Faults of the camera",
    "capture": "While fields are taken",
    "withheld": "Why a sample has no result",
    "doubt": "What looks wrong in a sample that has a result",
    "finding": "What a person must look at",
    "value": "Why a value is not given",
    "device": "What the doctor finds",
    "drift": "What has changed over weeks",
    "kiosk": "What stops the work at the kiosk",
    "sending": "Why a message is not with its receiver",
    "error": "Errors",
}


def guidance_of(kind: Kind) -> Iterator[Guidance]:
    """All codes of a kind; a place for a value shows its name, as ``<profile>``."""
    for code, entry in catalogue().items():
        if entry.kind == kind:
            names = placeholders(entry.reason) | placeholders(entry.action)
            yield guidance_with(code, {name: f"<{name}>" for name in names})


def help_text() -> str:
    """All codes as plain text, for a terminal or a printed page."""
    parts = []
    for kind in get_args(Kind):
        parts.append(HEADINGS[kind].upper())
        parts += [_as_text(item) for item in guidance_of(kind)]
    return "\n\n".join(parts)


def help_page() -> str:
    """All codes as one self-contained HTML page.

    Each code is an anchor: ``help.html#OUT_OF_FOCUS``.
    """
    sections = [(kind, HEADINGS[kind], list(guidance_of(kind))) for kind in get_args(Kind)]
    template = page_environment("edgehemo.guidance").get_template("help.html.j2")
    return template.render(sections=sections)


def catalogue_markdown() -> str:
    """All codes as a page of Markdown for the documentation, a heading a code.

    Each code is an anchor of its own, ``#OUT_OF_FOCUS``, whatever the headings become.
    """
    parts = [
        "# What every code means",
        "What a check of quality, a camera, a result or an error says, and what to do about it. "
        "`edgehemo quality --codes` prints the same, and `--help-page FILE` writes it as a page "
        "for a device without a network.",
    ]
    for kind in get_args(Kind):
        parts.append(f"## {HEADINGS[kind]}")
        parts += [_as_markdown(item) for item in guidance_of(kind)]
    return "\n\n".join(parts) + "\n"


def _as_text(item: Guidance) -> str:
    said = f"\n  It says: {item.reason}" if item.reason else ""
    return (
        f"{item.code}: {item.title}\n  What it means: {item.meaning}{said}"
        f"\n  What to do: {item.action}"
    )


def _as_markdown(item: Guidance) -> str:
    said = f"\n\nIt says: *{_plain(item.reason)}*" if item.reason else ""
    return (
        f'<a id="{item.code}"></a>\n\n### {_plain(item.title)}\n\n`{item.code}`\n\n'
        f"{_plain(item.meaning)}{said}\n\n**What to do:** {_plain(item.action)}"
    )


def _plain(text: str) -> str:
    """A text that Markdown shows as it stands; what lies between backticks stays code."""
    parts = text.split("`")
    parts[::2] = [
        part.replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_") for part in parts[::2]
    ]
    return "`".join(parts)
