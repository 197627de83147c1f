"""Records for tests: a slide that is known, screened and stored in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgehemo.anaemia.who_grade import Person
from edgehemo.images.frame import Frame
from edgehemo.records.circumstances import Circumstances
from edgehemo.records.recording import Recording
from edgehemo.records.store import Writer
from edgehemo.records.taking import begin
from edgehemo.report.result import name_of
from edgehemo.screening.field import FieldReader
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.recorded import RecordedAs
from edgehemo.screening.sample import Screening, screen_frames
from edgehemo.screening.stopping import StopRule
from tests.support.screening_fakes import BUNDLE_DIGEST, TruthFinder, scripted

MADE_AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def provenance(made_at: datetime = MADE_AT) -> Provenance:
    return Provenance(made_at, BUNDLE_DIGEST, "truth 1", None, None, 0.25, True)


def started(writer: Writer, sample: str | None = "S-1", **given: Any) -> Recording:
    """A sample that was begun."""
    circumstances = Circumstances(
        um_per_px=0.25, rule=StopRule(), runtime="onnx", precision="int8", threads=1
    )
    taking = begin(
        writer,
        owner=given.pop("owner", "command"),
        sample=sample,
        circumstances=circumstances,
        person=given.pop("person", Person(30.0, "female")),
        **given,
    )
    return Recording(writer, taking, "test device", None, "amina")


def stored(
    writer: Writer,
    frames: Sequence[Frame],
    finder: TruthFinder,
    sample: str | None = "S-1",
    *,
    made_at: datetime = MADE_AT,
    each: Callable[[int], None] | None = None,
    **given: Any,
) -> RecordedAs | None:
    """Screen frames and store what they come to; each: called after every field."""
    recording = started(writer, sample, **given)
    screening = Screening(FieldReader(finder, um_per_px=0.25, check=scripted()))

    def keep(result: Any, frame: Frame | None) -> None:
        recording.add(len(screening.images) - 1, result, frame)
        if each is not None:
            each(len(screening.images))

    named = (replace(frame, source=name_of(frame.source)) for frame in frames)
    reading = screen_frames(named, screening, keep)
    return recording.finish(reading, provenance(made_at))


def files_in(folder: Path) -> set[str]:
    """The names of the contents below a folder of records."""
    return {path.name for path in (folder / "contents").rglob("*") if path.is_file()}


def device_file(folder: Path, **records: object) -> Path:
    """A device configuration whose data lie in the folder."""
    lines = [
        'schema = "edgehemo.device/1"', 'name = "test"', 'board = "workstation"',
        "[paths]", f"data = {json.dumps(str(folder))}",
    ]  # fmt: skip
    if records:
        lines.append("[records]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in records.items()]
    path = folder / "device.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path
