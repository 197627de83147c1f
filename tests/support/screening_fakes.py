"""Stand-ins for a screening without a model: a finder that knows the truth, scripted verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgehemo.capture import simulated
from edgehemo.cells.cell import CELL_KINDS, Cell, FieldCells
from edgehemo.cells.counting import expected_count
from edgehemo.cells.finder import interior_mask
from edgehemo.cells.typing import CellTyper
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.equipment import Equipment
from edgehemo.estimate.network import NetworkTask
from edgehemo.field.canonical import CanonicalField
from edgehemo.images.frame import Frame
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.quality import check_field
from edgehemo.quality.check import Check, QualityReport
from edgehemo.screening.field import FieldCheck, FieldReader
from edgehemo.simulation.field import FieldTruth

BUNDLE_DIGEST = "ab" * 32
SCORE = 0.97


class TruthFinder:
    """Finds exactly the cells that were drawn; truths are noted by the frame's source."""

    def __init__(self) -> None:
        self.truths: dict[str, FieldTruth] = {}
        # What `edgehemo bench` reads of a real finder's network.
        self.runner: Any = SimpleNamespace(name="truth", version="1", run=lambda codes: codes)

    def find(self, field: CanonicalField) -> FieldCells:
        truth = self.truths[field.source]
        cells = tuple(
            Cell(
                drawn.kind,
                max(0.0, drawn.x0),
                max(0.0, drawn.y0),
                min(float(field.frame_width), drawn.x1),
                min(float(field.frame_height), drawn.y1),
                SCORE,
            )
            for drawn in truth.cells
        )
        interior = interior_mask(field.valid)
        across, down = field.frame_px_per_canonical_px

        def is_interior(cell: Cell) -> bool:
            x, y = cell.centre
            column = min(max(int(x / across), 0), field.width - 1)
            row = min(max(int(y / down), 0), field.height - 1)
            return bool(interior[row, column])

        counts = {kind: sum(cell.kind == kind for cell in cells) for kind in CELL_KINDS}
        inside = {
            kind: sum(cell.kind == kind and is_interior(cell) for cell in cells)
            for kind in CELL_KINDS
        }
        return FieldCells(
            cells,
            counts,
            {
                kind: expected_count(np.full(number, SCORE, np.float32), relative_sd=0.03)
                for kind, number in inside.items()
            },
            float(np.count_nonzero(interior)) * (field.um_per_px / 1000) ** 2,
        )


def simulated_frames(finder: TruthFinder, count: int = 1, **options: Any) -> list[Frame]:
    """Small frames of one simulated slide whose truth the finder knows."""
    settings = {"width_px": 320, "height_px": 240, "um_per_px": 0.25, "hgb_g_per_l": 110.0}
    slide = simulated.SimulatedOptions(fields=count, **{**settings, **options})
    frames = []
    with simulated.SimulatedMicroscope(slide) as microscope:
        for index in range(count):
            microscope.move_to_field(index)
            frame = microscope.frame(1.0)
            assert microscope.truth is not None
            finder.truths[frame.source] = microscope.truth
            frames.append(frame)
    return frames


def passed() -> QualityReport:
    return QualityReport((Check("focus", 2.0, 1.0, "pass"),))


def blurred() -> QualityReport:
    action = "Turn the fine focus until the cells are sharp."
    return QualityReport((Check("focus", 0.2, 1.0, "fail", "focus.blurred", action),))


def scripted(verdicts: Mapping[str, QualityReport] | None = None) -> FieldCheck:
    """A check that judges by the frame's source; it accepts where nothing is scripted."""
    known = verdicts or {}

    def check(field: CanonicalField, frame: Frame, /, **_: object) -> QualityReport:
        return known.get(frame.source, passed())

    return check


@dataclass(frozen=True)
class FakeEquipment(Equipment):
    """Equipment whose finder knows the truth, without networks."""

    typer: CellTyper = field(default_factory=lambda: CellTyper({}))
    check: FieldCheck = check_field

    @property
    def envelope(self) -> None:
        return None

    def reader(
        self, um_per_px: float | None = None, *, networks: tuple[NetworkTask, ...] | None = None
    ) -> FieldReader:
        return replace(super().reader(um_per_px, networks=networks), check=self.check)

    def open_typer(self) -> CellTyper:
        return self.typer

    def open_networks(self, tasks: tuple[NetworkTask, ...]) -> None:
        return None


def use_equipment(
    monkeypatch: pytest.MonkeyPatch,
    finder: TruthFinder,
    *,
    profile: CalibrationProfile | None = None,
    device: DeviceConfiguration | None = None,
    typer: CellTyper | None = None,
    check: FieldCheck = check_field,
) -> None:
    """Let the commands and `edgehemo.screen` run on this finder instead of a bundle's."""
    equipment = FakeEquipment(
        device=device or load_device("workstation"),
        bundle=SimpleNamespace(  # type: ignore[arg-type]
            digest=BUNDLE_DIGEST, manifest=SimpleNamespace(name="truth", serial=1)
        ),
        finder=finder,  # type: ignore[arg-type]
        profile=profile,
        profile_name="profile.json" if profile is not None else None,
        typer=typer or CellTyper({}),
        check=check,
    )

    def opened(bundle: object, profile_path: object) -> Any:
        return equipment

    # The first imports `edgehemo.api`, which must not do so while the second is in force: it would
    # keep the fake.
    monkeypatch.setattr("edgehemo.api.open_equipment", opened)
    monkeypatch.setattr("edgehemo.device.equipment.open_equipment", opened)
