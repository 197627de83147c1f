"""Every code a person can meet, from the catalogue of guidance."""

from __future__ import annotations

from docs.generation.markdown import cell, code, table
from edgehemo.guidance.catalogue import ACTIONS, ADVICE, all_help


def codes_page() -> str:
    """The page of all codes."""
    parts = [
        "# Every code, and what to do",
        "",
        "The same page for a device without a network: `edgehemo quality --help-page help.html`.",
        "",
        "## Quality of a field",
        "",
    ]
    for item in all_help().values():
        parts += [
            f"### {item.title} {{ #{item.code} }}",
            "",
            f"`{item.code}`: {item.meaning}",
            "",
            f"**{item.action}**",
            "",
        ]
    for title, entries in (("Faults of the camera", ACTIONS), ("While fields are taken", ADVICE)):
        rows = [(code(name), cell(text)) for name, text in entries.items()]
        parts += [f"## {title}", "", table(("code", "what to do"), rows)]
    return "\n".join(parts)
