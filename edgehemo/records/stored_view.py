"""A stored result as the view of a report: with its versions, reviews and overrides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgehemo.records.controls import control_mark
from edgehemo.records.deidentified import View
from edgehemo.records.results import StoredResult, Version, result_of
from edgehemo.records.store import Reader
from edgehemo.records.versions import amendments_of
from edgehemo.report.asked_cells import cells_shown
from edgehemo.report.building import report_view
from edgehemo.report.evidence import MOST_CELLS, Pictures
from edgehemo.report.folder import SHOWN_OF_EACH
from edgehemo.report.histogram import Histogram, histogram
from edgehemo.report.pictures import Picture, annotated, cell_picture, jpeg, shrunk
from edgehemo.report.standing import Amended, Standing, VersionSaid
from edgehemo.report.view import ReportView
from edgehemo.screening.field import FieldReading
from edgehemo.words.language import Words

if TYPE_CHECKING:
    from edgehemo.screening.recorded import AuditHead


def stored_view(
    reader: Reader,
    identifier: str,
    words: Words,
    *,
    evidence: bool = True,
    seen: View | None = None,
    audit: AuditHead | None = None,
) -> ReportView:
    """The view of a stored result's report.

    reader: the records; a writer reads too. identifier: see `records.results.number_of`. evidence:
    with pictures and sizes, which take most of the time; the first page needs neither. seen: how
    results leave the device; None: with the names as they are stored. audit: the head of the chain,
    now's where it is None. Raises RecordsError where there is no such result or its reading is
    gone; a picture that was purged is left out.
    """
    result = result_of(reader, identifier)
    seen = View.of(reader, identified=True) if seen is None else seen
    head = reader.head() if audit is None else audit
    document = result.document(reader)
    record = {**seen.record(result, document.record), "result_id": result.id}
    pictures, sizes = Pictures(), None
    if evidence:
        readings = document.images()
        pictures, sizes = _pictures(reader, result, record, readings), _sizes(readings)
    return report_view(
        record,
        words,
        pictures=pictures,
        sizes=sizes,
        standing=standing_of(reader, result, seen, head),
    )


def standing_of(reader: Reader, result: StoredResult, seen: View, head: AuditHead) -> Standing:
    """Where a stored result stands, as it may be told."""
    amendments = amendments_of(result.latest)
    taken = result.fields[0].taken_at if result.fields else None
    override = amendments.override
    return Standing(
        device=seen.name("device", result.device) or "",
        taken_at=_moment(taken or result.made_at, seen),
        month=(taken or result.made_at)[:7],
        clock_set=result.clock == "set",
        state=result.latest.state,
        versions=_versions(result, seen),
        person=result.person,
        grade=None if override is None else override.grade or "",
        cells={(cell.field, cell.cell): cell.type for cell in amendments.cells},
        comment=amendments.comment if seen.identified else None,
        control_mark=control_mark(reader, result),
        audit=head,
    )


def _moment(text: str, seen: View) -> datetime | None:
    return datetime.fromisoformat(text) if seen.identified else None


def _versions(result: StoredResult, seen: View) -> tuple[VersionSaid, ...]:
    made: list[VersionSaid] = []
    before: Version | None = None
    for version in result.versions:
        made.append(
            VersionSaid(
                version=version.version,
                change=version.change,
                by=seen.name("operator", version.by) or "",
                at=_moment(version.at, seen),
                month=version.at[:7],
                clock_set=version.clock == "set",
                reason=version.reason if seen.identified else "",
                amended=_amended(before, version, seen),
            )
        )
        before = version
    return tuple(made)


def _amended(before: Version | None, version: Version, seen: View) -> Amended:
    """What a version changed against the one before."""
    if before is None:
        return Amended()
    earlier, now = amendments_of(before), amendments_of(version)
    known = {(cell.field, cell.cell): cell.type for cell in earlier.cells}
    named = sum(known.get((cell.field, cell.cell)) != cell.type for cell in now.cells)
    sample = None
    if before.sample != version.sample:
        sample = (
            seen.name("sample", before.sample) or "",
            seen.name("sample", version.sample) or "",
        )
    grade = None
    if now.override is not None and now.override != earlier.override:
        grade = now.override.grade or ""
    comment = now.comment if seen.identified and now.comment != earlier.comment else None
    return Amended(sample=sample, grade=grade, cells=named, comment=comment)


def _sizes(readings: list[Any]) -> Histogram | None:
    return histogram(item for item in readings if isinstance(item, FieldReading) and item.accepted)


def _pictures(
    reader: Reader, result: StoredResult, record: Mapping[str, Any], readings: list[Any]
) -> Pictures:
    """Drawn fields, the first of each verdict, and the cells that ask for a person, undrawn."""
    fields: dict[int, Picture] = {}
    cells: dict[tuple[int, int], Picture] = {}
    shown = {True: 0, False: 0}
    named = {(cell.field, cell.cell) for cell in amendments_of(result.latest).cells}
    asked = cells_shown(record, named)[:MOST_CELLS]
    for stored, reading in zip(result.fields, readings, strict=True):
        place = stored.position
        if stored.sha256 is None or not reader.contents.has(stored.sha256):
            continue
        if not isinstance(reading, FieldReading):
            continue
        wanted = [cell for cell in asked if cell.field == place]
        is_shown = shown[reading.accepted] < SHOWN_OF_EACH
        if not wanted and not is_shown:
            continue
        frame = stored.frame(reader)
        for cell in wanted:
            cells[cell.field, cell.cell] = jpeg(cell_picture(frame.pixels, cell.box))
        if is_shown:
            shown[reading.accepted] += 1
            fields[place] = jpeg(shrunk(annotated(frame, reading)))
    return Pictures(fields, cells)
