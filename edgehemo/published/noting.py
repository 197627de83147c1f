"""What of a publication stands in the chain of the records: what was put in use, and left again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgehemo.published.state import Published
from edgehemo.published.terms import Kind, Standing
from edgehemo.records.audit import Action

_ACTIONS: Mapping[Kind, Action] = {
    "bundle": "bundle changed",
    "language": "language changed",
    "settings": "configuration changed",
}
_SAID: Mapping[Standing, str] = {
    "on trial": "published and installed",
    "in use": "published and put in use",
    "fell back": "left again",
}


def note_of(item: Published) -> tuple[Action, dict[str, Any]] | None:
    """The entry for how a publication now stands; None where nothing that is in use changed."""
    said = _SAID.get(item.standing)
    if said is None or (item.kind == "bundle" and item.standing == "in use"):
        return None
    details = {said: item.name, "serial": item.serial, "sha256": item.digest}
    if item.words:
        details["why"] = item.words
    return _ACTIONS[item.kind], details
