"""The one reading of a field: its stages, what is left out where, and who reads through it."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgehemo.cells.cell import FieldCells
from edgehemo.field import CanonicalField
from edgehemo.screening.field import FieldReader, Stage
from tests.conftest import REPOSITORY
from tests.support.screening_fakes import TruthFinder, blurred, scripted, simulated_frames

# What only `FieldReader` may call: whoever calls one of them beside it has a reading of his own.
STEPS = {"check_field", "field_indices"}
# Those that measure one step by itself, each with the reason.
ALONE = {
    "edgehemo/screening/field.py": "the reader itself",
    "benchmarks/few_pairs.py": "draws and measures a frame under many stains; finds nothing",
    "benchmarks/quality_rates.py": "judges one frame many times, altered; reads no cells",
}


class NamingEach:
    """Names every cell `normal`."""

    classifiers: dict[Any, Any] = {}  # noqa: RUF012 - never written

    def typed(self, _: CanonicalField, cells: FieldCells) -> FieldCells:
        from dataclasses import replace

        named = tuple(replace(cell, type="normal", type_score=0.9) for cell in cells.cells)
        return replace(cells, cells=named)


NETWORKS: Any = SimpleNamespace(measure=lambda _: {"hgb": 1.0}, screen_point=None)


def watched() -> tuple[list[str], Any]:
    """A list of what begins and ends, and the hook that fills it."""
    seen: list[str] = []

    @contextlib.contextmanager
    def hook(stage: Stage) -> Iterator[None]:
        seen.append(f"{stage} begins")
        yield
        seen.append(f"{stage} ends")

    return seen, hook


def test_every_stage_begins_and_ends_in_order() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    check = scripted()
    seen, hook = watched()
    reader = FieldReader(
        finder, typer=NamingEach(), networks=NETWORKS, um_per_px=0.25, on_stage=hook, check=check
    )
    reading = reader.read(frame)
    stages = ("canonical field", "cells", "quality", "types", "indices", "networks")
    assert seen == [f"{stage} {what}" for stage in stages for what in ("begins", "ends")]
    assert reading.accepted
    assert reading.cells is not None
    assert {cell.type for cell in reading.cells.cells} == {"normal"}
    assert reading.indices is not None
    assert reading.indices.model == {"hgb": 1.0}


def test_a_refused_field_has_a_verdict_and_nothing_else() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    check = scripted({frame.source: blurred()})
    seen, hook = watched()
    reader = FieldReader(
        finder, typer=NamingEach(), networks=NETWORKS, um_per_px=0.25, on_stage=hook, check=check
    )
    reading = reader.read(frame)
    assert not reading.accepted
    assert reading.cells is None
    assert reading.indices is None
    assert seen[-1] == "quality ends"


def test_a_refused_field_is_measured_where_that_was_asked_for() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    check = scripted({frame.source: blurred()})
    reading = FieldReader(finder, um_per_px=0.25, keep_refused=True, check=check).read(frame)
    assert not reading.accepted
    assert reading.cells is not None
    assert reading.indices is not None


def test_measuring_can_be_left_out_and_the_finder_too() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    check = scripted()
    judged = FieldReader(
        finder, networks=NETWORKS, um_per_px=0.25, measure=False, check=check
    ).read(frame)
    assert judged.cells is not None
    assert judged.indices is None
    alone = FieldReader(None, typer=NamingEach(), um_per_px=0.25, check=check).read(frame)
    assert alone.cells is None
    assert alone.indices is not None
    assert alone.indices.rbc_per_mm2 is None


def test_the_canonical_field_comes_with_the_same_reading() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    check = scripted()
    reader = FieldReader(finder, um_per_px=0.25, check=check)
    reading, field = reader.read_canonical(frame)
    assert reading == reader.read(frame)
    assert field.frame_um_per_px == reading.um_per_px == 0.25


def test_a_field_at_another_scale_has_the_light_that_was_estimated_once() -> None:
    from edgehemo.field.canonical import canonical_field

    (frame,) = simulated_frames(TruthFinder())
    first = canonical_field(frame, um_per_px=0.25)
    again = canonical_field(frame, um_per_px=0.2)
    reused = canonical_field(frame, um_per_px=0.2, illumination=first.illumination)
    assert reused.illumination is first.illumination
    assert (reused.transmittance == again.transmittance).all()
    assert (reused.valid == again.valid).all()


def test_a_reading_shows_itself_in_one_line() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    check = scripted({frame.source: blurred()})
    shown = repr(FieldReader(finder, um_per_px=0.25, keep_refused=True, check=check).read(frame))
    assert "refused: focus.blurred" in shown
    assert "0.25 um/px (given)" in shown
    assert len(shown) < 200


def calls_of(path: Path) -> set[str]:
    """The names of the functions that a module calls."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {
        getattr(node.func, "id", getattr(node.func, "attr", ""))
        for node in nodes
        if isinstance(node, ast.Call)
    }


def test_nobody_else_judges_and_measures_a_field() -> None:
    """Screening, the commands, the benchmark, calibration and training read in one way."""
    found = {}
    for folder in ("edgehemo", "calibration", "export", "benchmarks"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if steps := calls_of(path) & STEPS:
                found[path.relative_to(REPOSITORY).as_posix()] = steps
    assert set(found) == set(ALONE), found


def test_how_training_and_evaluation_differ_from_a_screening() -> None:
    """Each of the host's readers leaves out what its docstring says, and nothing more."""
    pytest.importorskip("torch")
    from edgehemo_export.data.field_tiles import training_reader
    from edgehemo_export.data.simulated.samples import READER

    finder = TruthFinder()
    training = training_reader(finder)
    assert training.finder is finder
    assert training.keep_refused and not training.measure
    assert training.envelope is None and training.um_per_px is None
    assert FieldReader(finder=None) == READER
