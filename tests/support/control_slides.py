"""Control slides for tests: runs around known means, a profile with targets, scripted readings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgehemo.control.check import checked, control_slide, with_slide
from edgehemo.control.history import Clearance, ControlCheck, content_to_seal, read_history
from edgehemo.control.repeatability import BACKGROUND, Run
from edgehemo.estimate.values import FieldIndices
from edgehemo.profile.profile import CalibrationProfile, new_profile
from edgehemo.profile.seal import sealed_content
from edgehemo.quality.check import Check, QualityReport
from edgehemo.screening.field import FieldReading

WHEN = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
MEANS = {"hgb_index": 0.09, "cell_od_green": 0.20, "cell_area_um2": 44.0, BACKGROUND: 180.0}


def run_of(number: int, rng: np.random.Generator, shift: Mapping[str, float] | None = None) -> Run:
    moved = shift or {}
    values = {k: v * (1 + 0.02 * rng.normal()) + moved.get(k, 0.0) for k, v in MEANS.items()}
    return Run(f"run {number}", values, fields=5, refused=0)


def profile_with_slide(runs: int = 20) -> CalibrationProfile:
    rng = np.random.default_rng(0)
    slide = control_slide("normal", [run_of(i, rng) for i in range(runs)], WHEN)
    profile = new_profile(WHEN, software_version="0.1.0", microscope="No 7", camera="HQ")
    return with_slide(profile, slide)


def check_of(profile: CalibrationProfile, at: datetime, *history: Any, **shift: float) -> Any:
    rng = np.random.default_rng(int(at.timestamp()))
    return checked(
        replace(run_of(0, rng), values={k: v + shift.get(k, 0.0) for k, v in MEANS.items()}),
        profile.controls[0],
        history,
        profile_sha256=profile.digest(),
        at=at,
    )


def append_record(path: Path, record: ControlCheck | Clearance) -> None:
    """Add a record to a history in a file, as versions of before did."""
    lines = [
        json.dumps(item.model_dump(exclude_none=True)) for item in (*read_history(path), record)
    ]
    seal = sealed_content(content_to_seal(lines))
    assert seal is not None
    lines.append(json.dumps({"kind": "seal", **seal.model_dump()}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def indices(density: float) -> FieldIndices:
    return FieldIndices(
        cell_cover=0.45, cell_od_red=0.05, cell_od_green=density, cell_od_blue=0.06,
        field_od_red=0.02, field_od_green=0.45 * density, field_od_blue=0.02, dark_share=0.4,
        cell_area_um2=44.0, cell_area_cv=0.1, rbc_per_mm2=9000.0, area_mm2=0.01, single_cells=50,
        scale_source="profile",
    )  # fmt: skip


def reading(image: str, density: float, *, failed: str = "") -> FieldReading:
    """A field of that density of red cells and a background of 180 counts; refused where a code
    is given.
    """
    check = (
        Check("focus", 1.0, 0.5, "fail", failed, "focus")
        if failed
        else Check("focus", 1.0, 0.5, "pass")
    )
    return FieldReading(
        image=image,
        width=640,
        height=480,
        um_per_px=0.2,
        scale_source="profile",
        quality=QualityReport((check,)),
        cells=None,
        indices=None if failed else indices(density),
        background_rgb=(180.0, 180.0, 180.0),
    )
