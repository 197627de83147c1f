"""Every quality code with its title, what it means and what to do: the offline help page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


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
    text = files("edgehemo.quality").joinpath("help.json").read_text(encoding="utf-8")
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
