"""How a result changes: only by a new version, with who, when and why.

What was measured stays as it is. A version holds the state and all amendments in force: what a
person set in the place of what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from edgehemo.errors import RecordsError
from edgehemo.files.strict import Count, Record, Text
from edgehemo.records.audit import Action
from edgehemo.records.identifiers import sample_number
from edgehemo.records.results import (
    Change,
    State,
    StoredResult,
    Version,
    inserted,
    json_text,
    number_of,
    result_at,
    version_digest,
    versions_of,
)
from edgehemo.records.store import Writer

# Called in the transaction of a new version with the writer, the result and the version: whoever
# sends results makes its row there, or the version is not made.
VersionHook = Callable[[Writer, StoredResult, Version], None]

# Change -> the states it may start from, and the state it leads to; None: back to before the hold.
CHANGES: Mapping[Change, tuple[frozenset[State], State | None]] = {
    "signed": (frozenset({"unsigned"}), "signed"),
    "corrected": (frozenset({"unsigned", "signed", "corrected"}), "corrected"),
    "held": (frozenset({"unsigned", "signed", "corrected"}), "held"),
    "released": (frozenset({"held"}), None),
    "withdrawn": (frozenset({"unsigned", "signed", "corrected", "held"}), "withdrawn"),
}
ACTIONS: Mapping[Change, Action] = {
    "signed": "result signed",
    "corrected": "result corrected",
    "held": "result held",
    "released": "result released",
    "withdrawn": "result withdrawn",
}
MAX_REASON_CHARACTERS = 500


class RenamedCell(Record, frozen=True, kw_only=True):
    """A cell that a person named. field, cell: their places in the result, from 0. type: what it
    is; ``uncertain`` where the person could not tell either.
    """

    field: Count
    cell: Count
    type: Text


class Override(Record, frozen=True, kw_only=True):
    """A person's word in the place of the grade. grade: None where there is to be none."""

    grade: Text | None


class Amendments(Record, frozen=True, kw_only=True):
    """All that a person set in the place of what was measured. sample: the right number of a
    sample that was entered wrongly. cells: the newest name of each cell. override: of the grade.
    comment: for whoever reads the report.
    """

    sample: Text | None = None
    cells: tuple[RenamedCell, ...] = ()
    override: Override | None = None
    comment: Text | None = None

    def joined(self, later: Amendments) -> Amendments:
        """These with later ones over them."""
        cells = {(cell.field, cell.cell): cell for cell in (*self.cells, *later.cells)}
        return Amendments(
            sample=later.sample or self.sample,
            cells=tuple(cells[place] for place in sorted(cells)),
            override=later.override or self.override,
            comment=later.comment or self.comment,
        )

    def stored(self) -> dict[str, Any]:
        """As a row holds them: what is set."""
        values = self.model_dump()
        return {key: value for key, value in values.items() if value not in (None, [], ())}


def change(
    writer: Writer,
    identifier: str,
    what: Change,
    *,
    by: str,
    reason: str = "",
    amendments: Amendments | None = None,
    hooks: tuple[VersionHook, ...] = (),
) -> Version:
    """Make a new version of a result; it is on the disk when this returns.

    reason: needed of all but signing. amendments: of a correction, or what signing takes in.
    hooks: called in the same transaction. Raises RecordsError where the result's state does not
    allow it.
    """
    if what not in CHANGES:
        raise RecordsError(f"a result is not {what}")
    reason = reason.strip()
    if what != "signed" and not reason:
        raise RecordsError("say why with a reason: a result changes for one only")
    if len(reason) > MAX_REASON_CHARACTERS:
        raise RecordsError(f"a reason has at most {MAX_REASON_CHARACTERS} characters")
    if not by.strip():
        raise RecordsError("say who does it")
    if what == "corrected" and amendments is None:
        raise RecordsError("a correction says what is corrected")
    if what not in ("corrected", "signed") and amendments is not None:
        raise RecordsError(f"a result that is {what} is not corrected at the same time")
    if amendments is not None:
        amendments = amendments.checked()
        if amendments.sample is not None:
            amendments = amendments.model_copy(update={"sample": sample_number(amendments.sample)})
    with writer.transaction():
        number = number_of(writer, identifier)
        result = result_at(writer, number)
        before = result.latest
        allowed, state = CHANGES[what]
        if before.state not in allowed:
            possible = [name for name, (states, _) in CHANGES.items() if before.state in states]
            raise RecordsError(
                f"{result.id} is {before.state} and cannot be {what}; it can be "
                f"{' or '.join(possible) or 'changed no more'}"
            )
        if state is None:
            state = _before_hold(result)
        if what == "corrected" and before.state == "unsigned":
            # What nobody has answered for yet is still to be signed.
            state = "unsigned"
        held = dict(before.amendments)
        if amendments is not None:
            _refuse_unknown_cells(writer, result, amendments)
            held = Amendments.model_validate(held).joined(amendments).stored()
        added_version(writer, result, what, state, held, by=by, reason=reason)
        made = versions_of(writer, number)[-1]
        for hook in hooks:
            hook(writer, result_at(writer, number), made)
    return made


def added_version(
    writer: Writer,
    result: StoredResult,
    what: Change,
    state: State,
    amendments: Mapping[str, Any],
    *,
    by: str,
    reason: str,
) -> None:
    """Insert the next version and its audit entry, in the transaction under way."""
    stamp = writer.stamp()
    row: dict[str, object] = {
        "result": result.number,
        "version": result.latest.version + 1,
        "state": state,
        "change": what,
        "sample": amendments.get("sample", result.sample),
        "amendments": json_text(amendments),
        "by": by,
        "at": stamp.text,
        "clock": stamp.clock,
        "reason": reason,
    }
    details = {"version": row["version"], "row": version_digest(row)}
    entry = writer.entry(ACTIONS[what], result.id, details, by=by)
    inserted(writer.connection, "version", {**row, "audit": entry.number})


def _before_hold(result: StoredResult) -> State:
    """The state from which the result was held."""
    for version in reversed(result.versions):
        if version.state != "held":
            return version.state
    return "unsigned"


def _refuse_unknown_cells(writer: Writer, result: StoredResult, amendments: Amendments) -> None:
    """RecordsError for a renamed cell that the result does not have."""
    if not amendments.cells:
        return
    images = result.document(writer).record["images"]
    for cell in amendments.cells:
        known = images[cell.field].get("cells") if cell.field < len(images) else None
        if known is None or cell.cell >= len(known):
            raise RecordsError(f"{result.id} has no cell {cell.cell + 1} in field {cell.field + 1}")


def amendments_of(version: Version) -> Amendments:
    """The amendments in force in a version."""
    return Amendments.model_validate(json.loads(json.dumps(version.amendments)))
