"""The record of a screening: what result.json holds, and what the report is drawn from.

Its shape is described by edgehemo/schemas/screen-1.schema.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgehemo.capture.sources import camera_spec
from edgehemo.measurands import BLOOD_FACTS
from edgehemo.screening.field import FieldReading
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.sample import SampleReading, UnreadableImage

SCREEN_SCHEMA = "edgehemo.screen/1"
SCREEN_SCHEMA_FILE = "screen-1.schema.json"
NOTICE = (
    "For research and screening only: this is not a diagnosis. "
    "Confirm every result with a laboratory measurement before anyone is treated on it."
)
SIMULATED_NOTICE = (
    "SIMULATED: these pictures were drawn by the simulated microscope. "
    "No person, no blood and no real instrument stands behind any number here."
)


def screen_record(
    reading: SampleReading, provenance: Provenance, pictures: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """The JSON values of a sample's result; ``pictures``: index of an image -> its drawn file."""
    drawn = pictures or {}
    return {
        "schema": SCREEN_SCHEMA,
        "notice": NOTICE,
        "simulated": provenance.simulated,
        "outcome": "withheld" if reading.withheld is not None else "reported",
        "withheld": withheld_record(reading),
        "images": [
            image_record(image, drawn.get(index)) for index, image in enumerate(reading.images)
        ],
        "sample": sample_record(reading),
        "anaemia": reading.anaemia.as_json() if reading.anaemia is not None else None,
        "anaemia_reason": reading.anaemia_reason,
        "anaemia_screen": (
            reading.anaemia_screen.as_json() if reading.anaemia_screen is not None else None
        ),
        "provenance": provenance.as_json(),
    }


def name_of(source: str) -> str:
    """What a result calls a source: a file's name without its folders, a camera as it is."""
    return source if camera_spec(source) is not None else Path(source).name


def image_record(image: FieldReading | UnreadableImage, picture: str | None) -> dict[str, Any]:
    """One entry of ``images``; a refused field has checks and no number."""
    if isinstance(image, UnreadableImage):
        name = name_of(image.image)
        return {"image": name, "error": image.error.replace(image.image, name)}
    cells = image.cells
    return {
        "image": name_of(image.image),
        "accepted": image.accepted,
        "width": image.width,
        "height": image.height,
        "um_per_px": image.um_per_px,
        "scale_source": image.scale_source,
        "picture": picture,
        "checks": [check.as_json() for check in image.quality.checks],
        "counts": dict(cells.counts) if cells is not None else None,
        "interior_counts": (
            {kind: count.as_json() for kind, count in cells.interior_counts.items()}
            if cells is not None
            else None
        ),
        "interior_area_mm2": cells.interior_area_mm2 if cells is not None else None,
        "indices": image.indices.as_json() if image.indices is not None else None,
        "cells": [cell.as_json() for cell in cells.cells] if cells is not None else None,
    }


def withheld_record(reading: SampleReading) -> dict[str, str] | None:
    """Why a sample has no result, None where it has one."""
    return asdict(reading.withheld) if reading.withheld is not None else None


def sample_record(reading: SampleReading) -> dict[str, Any]:
    """The part ``sample``: how much was read, and what it says together."""
    return {
        "images": len(reading.images),
        "accepted": len(reading.accepted),
        "refused": len(reading.refused),
        "unreadable": len(reading.unreadable),
        "stopped_by": reading.stopped_by,
        "counts": {kind: count.as_json() for kind, count in reading.counts.items()},
        "counting_error": reading.counting_error,
        "indices": reading.indices.as_json() if reading.indices is not None else None,
        "types": reading.types.as_json() if reading.types is not None else None,
        **estimate_record(reading),
    }


def estimate_record(reading: SampleReading) -> dict[str, Any]:
    """The concentrations, or null for each with the reason under ``reasons``."""
    if reading.estimate is not None:
        return reading.estimate.as_json()
    why = reading.withheld
    reason = "withheld" if why is None else why.reason
    code = "SAMPLE_WITHHELD" if why is None else why.code
    return {
        **dict.fromkeys(BLOOD_FACTS),
        "reasons": dict.fromkeys(BLOOD_FACTS, reason),
        "reason_codes": dict.fromkeys(BLOOD_FACTS, code),
        "estimators": {},
        "calibration": "none",
        "notes": [],
    }


def screen_json_schema() -> dict[str, Any]:
    """The JSON Schema of the record, as shipped in the package."""
    text = files("edgehemo.schemas").joinpath(SCREEN_SCHEMA_FILE).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@dataclass(frozen=True)
class ScreeningResult:
    """What a screening came to: the reading, what it was made with, and where the report lies.

    pictures: index of an image -> its drawn field, relative to the report. report: the page's
    path, None when nothing was written.
    """

    reading: SampleReading
    provenance: Provenance
    pictures: Mapping[int, str] = field(default_factory=dict)
    report: Path | None = None

    def __repr__(self) -> str:
        report = f", {self.report}" if self.report is not None else ""
        return f"<ScreeningResult {self.reading!r}{report}>"

    @cached_property
    def record(self) -> dict[str, Any]:
        """The JSON values of result.json."""
        return screen_record(self.reading, self.provenance, self.pictures)
