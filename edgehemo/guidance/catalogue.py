"""Every code a person can meet, with what it means and what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class CodeHelp:
    """One code: a short title, what it means, and the operator's action in one sentence."""

    code: str
    title: str
    meaning: str
    action: str


@lru_cache(maxsize=1)
def all_help() -> dict[str, CodeHelp]:
    """Code -> help, in the order the checks are made (from ``help.json`` of this package)."""
    text = Path(__file__).with_name("help.json").read_text(encoding="utf-8")
    return {code: CodeHelp(code=code, **entry) for code, entry in json.loads(text).items()}


def help_for(code: str) -> CodeHelp:
    """The help of one code; KeyError where there is none."""
    return all_help()[code]


def help_text() -> str:
    """All codes as plain text, for a terminal or a printed page."""
    return "\n\n".join(
        f"{item.code}: {item.title}\n  What it means: {item.meaning}\n  What to do: {item.action}"
        for item in all_help().values()
    )


CaptureCode = Literal["timeout", "unplugged", "frozen", "dark", "setting_refused", "not_found"]

# What the operator is told for each fault; a camera may say something more precise.
ACTIONS: dict[CaptureCode, str] = {
    "timeout": "Check the camera's cable and power, then try again.",
    "unplugged": "Plug the camera in again and check the cable.",
    "frozen": "Unplug the camera, plug it in again and try once more.",
    "dark": "Switch the lamp on and check that nothing blocks the light.",
    "setting_refused": "Choose a value this camera supports in the device configuration.",
    "not_found": "Check that the camera is plugged in and named as `edgehemo doctor` lists it.",
}

Advice = Literal["turn_focus", "find_cells", "refocus", "hold_still", "move_on", "taken"]

# What the operator is told; one sentence each.
ADVICE: dict[Advice, str] = {
    "turn_focus": "Turn the focus slowly through the sharpest point and a little beyond.",
    "find_cells": "Move to a place with single red cells and focus on them.",
    "refocus": "Turn the focus until the picture is as sharp as it was.",
    "hold_still": "Hold the slide still.",
    "move_on": "Move the slide to the next field.",
    "taken": "Field taken; move the slide to the next field.",
}
