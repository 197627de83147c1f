"""A field read by itself, and a sample from its fields' readings: the device's own code.

A field's reading hangs on its bytes, the bundle, the profile and the scale alone, so that fields
can be read in any order on any machine. What `edgehemo screen` makes of a field hangs on the fields
before it as well, in three ways, and a sample makes up for them in its own order: the sharpest
field so far judges the focus of the next (`focus_on_slide`), the scale of the slide overrules one
that is read wrongly (then the field is read again), and a place that was counted counts once.
"""

from __future__ import annotations

import json
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgehemo.errors import EdgeHemoError, FieldError, ImageError, UsageError
from edgehemo.images.frame import Frame
from edgehemo.images.reading import picture_of
from edgehemo.measurands import MEASURANDS
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.quality.check import QualityReport
from edgehemo.quality.focus import focus_on_slide
from edgehemo.report.result import ScreeningResult
from edgehemo.screening.field import FieldReading
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.provenance import provenance_of
from edgehemo.screening.repeats import sketch_of
from edgehemo.screening.resuming import kept, resumed
from edgehemo.screening.sample import SampleReading, Screening, UnreadableImage
from edgehemo.screening.scale_check import is_another
from edgehemo_laboratory.archive.equipment import ReadingEquipment
from edgehemo_laboratory.archive.sources import person_of
from edgehemo_laboratory.clock import now

# As a row of `tables.FIELD_ROWS` or `tables.SAMPLE_ROWS` has it.
Row = dict[str, Any]
_LEVEL = 6
INDICES = ("hgb_index", "hct_index", "rbc_index")


class MissingPictureError(EdgeHemoError):
    """The archive does not hold a picture's bytes any more, or holds others."""


def frame_of(equipment: ReadingEquipment, sha256: str, page: int, name: str) -> Frame:
    """A field's frame. ImageError where it cannot be decoded, MissingPictureError."""
    data = equipment.archive.picture(sha256)
    if data is None:
        raise MissingPictureError("its bytes are not in the archive, or are not what they were")
    return replace(picture_of(data, name).frame(page), source=name, original=None)


def read_field(equipment: ReadingEquipment, ask: Mapping[str, Any]) -> tuple[Row, bytes]:
    """Read one field; its row, and all that was read of it, compressed.

    ask: field, sha256, page, profile, um_per_px. Raises MissingPictureError; any other error is
    nobody's fault but this software's.
    """
    begun_s = time.perf_counter()
    field = str(ask["field"])
    reader = equipment.reader(ask["profile"], ask["um_per_px"])
    try:
        frame = frame_of(equipment, ask["sha256"], ask["page"], field)
        reading = reader.read(frame)
    except (FieldError, ImageError) as error:
        said = str(error).removeprefix(f"{field}: ")
        seconds = time.perf_counter() - begun_s
        return {"status": "unreadable", "error": said, "seconds": seconds}, b""
    if reading.accepted:
        reading = replace(reading, place=sketch_of(frame))
    row = {"status": "read", "seconds": time.perf_counter() - begun_s, **field_row(reading)}
    return row, zlib.compress(kept([reading]), _LEVEL)


def field_row(reading: FieldReading) -> Row:
    """What queries ask of a field's reading."""
    cells, indices = reading.cells, reading.indices
    focus = next((check.value for check in reading.quality.checks if check.name == "focus"), None)
    row: Row = {
        "accepted": reading.accepted,
        "failed": list(reading.quality.faults),
        "width": reading.width,
        "height": reading.height,
        "um_per_px": reading.um_per_px,
        "scale_source": reading.scale_source,
        "focus": focus,
    }
    if cells is not None:
        counts = cells.interior_counts
        named: dict[str, Counter[str]] = {}
        for cell in cells.cells:
            named.setdefault(cell.kind, Counter())[cell.type] += 1
        row |= {
            "rbc": counts["rbc"].value,
            "wbc": counts["wbc"].value,
            "platelet": counts["platelet"].value,
            "area_mm2": cells.interior_area_mm2,
            "types": json.dumps(named, sort_keys=True),
        }
    if indices is not None:
        row |= {name: getattr(indices, name) for name in INDICES}
    return row


def unpacked(blob: bytes) -> FieldReading:
    """The reading that `read_field` packed."""
    (reading,) = resumed(zlib.decompress(blob))
    if not isinstance(reading, FieldReading):
        raise UsageError("a field's reading cannot be read again: it holds none")
    return reading


def in_its_place(
    reading: FieldReading, profile: CalibrationProfile | None, sharpest: float | None
) -> FieldReading:
    """A field's reading as it is after the fields before it, of which the sharpest was so sharp
    (per pixel of the frame; None before any).
    """
    checks = list(reading.quality.checks)
    for place, check in enumerate(checks):
        if check.name == "focus" and check.verdict != "fail" and check.value is not None:
            reference = profile.focus if profile is not None else None
            checks[place] = focus_on_slide(check.value, reading.um_per_px, reference, sharpest)
    quality = QualityReport(tuple(checks))
    if quality.accepted:
        return replace(reading, quality=quality)
    return replace(reading, quality=quality, cells=None, indices=None, place="")


def read_sample(
    equipment: ReadingEquipment, fields: Sequence[Mapping[str, Any]]
) -> tuple[Row, bytes]:
    """A sample from its fields' readings, in their order; its row, and result.json, compressed.

    fields: rows of `tables.SAMPLE_PLAN`, each with ``status``, ``error`` and ``reading`` of its
    field. UsageError for a sample that nobody can screen as one.
    """
    begun_s = time.perf_counter()
    first = fields[0]
    for column, called in (("profile", "profiles"), ("um_per_px", "scales that were told")):
        if len({each[column] for each in fields}) > 1:
            raise UsageError(f"its fields have several {called}; a sample is screened with one")
    reader = equipment.reader(first["profile"], first["um_per_px"])
    screening = Screening(reader, person=person_of(first), bundle_sha256=equipment.bundle.digest)
    again = 0
    for each in fields:
        name = str(each["name"])
        if each["status"] != "read":
            screening.take(UnreadableImage(name, f"{name}: {each['error']}"))
            continue
        reading = replace(unpacked(each["reading"]), image=name)
        sharpest = screening.sharpest_of(reading.width, reading.height)
        slide = screening.scale_of(reading.width, reading.height)
        if slide is None or not is_another(reading.scale_source, reading.um_per_px, slide):
            screening.take(in_its_place(reading, reader.profile, sharpest))
            continue
        again += 1
        frame = frame_of(equipment, each["sha256"], each["page"], name)
        try:
            reading = reader.read(frame, sharpest=sharpest, slide=slide)
        except FieldError as error:
            screening.take(UnreadableImage(name, str(error)))
            continue
        if reading.accepted:
            reading = replace(reading, place=sketch_of(frame))
        screening.take(reading)
    sample = screening.finish()
    record = _record(equipment, sample, first)
    row = {
        "status": "read",
        "seconds": time.perf_counter() - begun_s,
        "looked_again": again,
        **sample_row(sample, record),
    }
    return row, zlib.compress(json.dumps(record, separators=(",", ":")).encode(), _LEVEL)


def _record(
    equipment: ReadingEquipment, sample: SampleReading, first: Mapping[str, Any]
) -> dict[str, Any]:
    """The sample as result.json has it."""
    provenance = provenance_of(
        equipment.bundle,
        equipment.profile(first["profile"]),
        None if first["profile"] is None else "profile.json",
        um_per_px=first["um_per_px"],
        simulated=bool(first["simulated"]),
        now=now(),
    )
    try:
        labels = SampleLabels(first["sample"], None, first["site"])
    except UsageError:  # a folder's name may be anything
        labels = SampleLabels(str(first["sample_key"]))
    return ScreeningResult(sample, provenance, labels=labels).record


def sample_row(sample: SampleReading, record: Mapping[str, Any]) -> Row:
    """What queries ask of a sample."""
    row: Row = {
        "outcome": record["outcome"],
        "withheld": None if sample.withheld is None else sample.withheld.code,
        "fields": len(sample.images),
        "accepted": len(sample.accepted),
        "refused": len(sample.refused),
        "unreadable": len(sample.unreadable),
        "counting_error": sample.counting_error,
        "rbc": sample.counts["rbc"].value,
        "wbc": sample.counts["wbc"].value,
        "platelet": sample.counts["platelet"].value,
        "grade": None if sample.anaemia is None else sample.anaemia.grade,
    }
    if sample.types is not None:
        if sample.types.red_cells is not None:
            shares = {each.type: each.share for each in sample.types.red_cells}
            row["red_types"] = json.dumps(shares, sort_keys=True)
        if sample.types.white_cells is not None:
            counts = {name: count.value for name, count in sample.types.white_cells.items()}
            row["white_types"] = json.dumps(counts, sort_keys=True)
    if sample.indices is not None:
        row |= {name: getattr(sample.indices.mean, name) for name in INDICES}
    for measurand in MEASURANDS:
        interval = None if sample.estimate is None else getattr(sample.estimate, measurand)
        if interval is not None:
            short = measurand.partition("_")[0]
            row |= {
                measurand: interval.value,
                f"{short}_low": interval.low,
                f"{short}_high": interval.high,
            }
    return row
