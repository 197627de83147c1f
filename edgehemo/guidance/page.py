"""Every quality code with its title, what it means and what to do: the offline help page."""

from __future__ import annotations

from dataclasses import asdict

from edgehemo.guidance.catalogue import ACTIONS, all_help
from edgehemo.pages.environment import page_environment


def help_page() -> str:
    """All codes, and the faults a camera can have, as one self-contained HTML page.

    Each code is an anchor: ``help.html#OUT_OF_FOCUS``.
    """
    quality = [{**asdict(item), "reason": ""} for item in all_help().values()]
    faults = [
        {
            "code": code,
            "title": code.replace("_", " ").capitalize(),
            "meaning": "The camera reports this fault.",
            "reason": "",
            "action": action,
        }
        for code, action in ACTIONS.items()
    ]
    sections = (
        ("quality", "Quality of a field", quality),
        ("camera", "Faults of the camera", faults),
    )
    template = page_environment("edgehemo.guidance").get_template("help.html.j2")
    return template.render(sections=sections)
