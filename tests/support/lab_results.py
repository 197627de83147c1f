"""Results of every standing, stored, for tests of what laboratories are sent."""

from __future__ import annotations

from edgehemo.interop.lab_result import LabResult, lab_result
from edgehemo.records.deidentified import View
from edgehemo.records.results import Change, result_of
from edgehemo.records.store import Writer
from edgehemo.records.versions import Amendments, Override, change

STANDINGS = ("preliminary", "final", "corrected", "held", "in error", "cancelled")
_CHANGES: dict[str, tuple[Change, ...]] = {
    "preliminary": (),
    "final": ("signed",),
    "corrected": ("signed", "corrected"),
    "held": ("signed", "held"),
    "in error": ("signed", "withdrawn"),
    "cancelled": ("withdrawn",),
}


def changed(writer: Writer, result_id: str, standing: str) -> None:
    """Bring a fresh result to a standing."""
    for what in _CHANGES[standing]:
        amendments = None
        if what == "corrected":
            amendments = Amendments(
                sample="S-77", override=Override(grade="severe"), comment="a|b^c~d\\e&f"
            )
        change(writer, result_id, what, by="dr.okello", reason="seen", amendments=amendments)


def told(writer: Writer, result_id: str, *, identified: bool = True) -> LabResult:
    """A stored result as laboratories know it."""
    return lab_result(writer, result_of(writer, result_id), View.of(writer, identified=identified))
