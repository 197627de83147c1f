"""`edgehemo calibrate types`: cells by lot, sorted by a person, compared, kept in the profile."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.cells.typing import CellClassifier, CellTyper
from edgehemo.cli import run as edgehemo
from edgehemo.errors import CalibrationError, UsageError
from edgehemo.profile.profile import load_profile
from edgehemo_calibration.commands.calibrate import calibrate
from edgehemo_calibration.drawn_cells import (
    NOT_A_RED_CELL,
    PICTURE_PX,
    TO_SORT,
    UNSURE,
    Lot,
    cell_picture,
    compared,
    disagreements,
    read_drawn,
    sorted_cells,
)
from tests.support.classifiers import TYPES, AlwaysRed, entry
from tests.support.schemas import validate
from tests.support.screening_fakes import TruthFinder, scripted, simulated_frames, use_equipment


def calibrated(*arguments: Any) -> Result:
    return CliRunner().invoke(calibrate, [str(a) for a in arguments], standalone_mode=False)


@pytest.fixture
def fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three simulated fields, whose red cells the model all calls `red`."""
    folder = tmp_path / "fields"
    folder.mkdir()
    finder = TruthFinder()
    for number, frame in enumerate(simulated_frames(finder, count=3)):
        picture = folder / f"{number}.png"
        cv2.imwrite(str(picture), np.ascontiguousarray(frame.pixels[..., ::-1]))
        finder.truths[str(picture)] = finder.truths[frame.source]
    typer = CellTyper({"morphology": CellClassifier(AlwaysRed(), entry("morphology"))})
    use_equipment(monkeypatch, finder, typer=typer, check=scripted())
    return folder


def drawn_from(fields: Path, cells: int = 60, **options: object) -> Path:
    folder = fields.parent / "cells"
    extra = [part for name, value in options.items() for part in (f"--{name}", value)]
    done = calibrated(
        "types", "draw", fields, "--out", folder, "--cells", cells, "--um-per-px", 0.25, *extra
    )
    assert done.exception is None, done.exception
    return folder


def sort_into(folder: Path, name: str, count: int) -> None:
    for file in sorted((folder / TO_SORT).iterdir())[:count]:
        file.rename(folder / name / file.name)


def test_cells_are_drawn_sorted_and_kept(fields: Path, tmp_path: Path) -> None:
    report, profile = tmp_path / "drawn.json", tmp_path / "microscope.json"
    folder = drawn_from(fields, json=report, seed=5)
    validate(json.loads(report.read_text()))
    assert len(list((folder / TO_SORT).iterdir())) == 60
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {
        TO_SORT, UNSURE, NOT_A_RED_CELL, *TYPES,
    }  # fmt: skip
    with pytest.raises(CalibrationError, match="60 of 60 cells are not sorted yet"):
        raise calibrated("types", "check", folder, "--out", profile).exception or AssertionError
    sort_into(folder, "red", 57)
    sort_into(folder, UNSURE, 3)
    written = tmp_path / "check.json"
    done = calibrated("types", "check", folder, "--out", profile, "--json", written)
    assert done.exception is None and done.return_value == 0
    answer = json.loads(written.read_text())
    validate(answer)
    assert answer["shares_given"] and answer["differ"] == [
        {"model": "red", "person": UNSURE, "cells": 3}
    ]
    part = load_profile(profile).red_cell_types
    assert part is not None and (part.shown, part.agreed) == (60, 57)


def test_too_little_agreement_is_kept_and_says_that_no_share_is_given(
    fields: Path, tmp_path: Path
) -> None:
    folder, profile = drawn_from(fields), tmp_path / "microscope.json"
    sort_into(folder, "red", 40)
    sort_into(folder, "green", 20)
    done = calibrated("types", "check", folder, "--out", profile)
    assert done.return_value == 1 and "no shares are given" in done.output
    assert "called red, sorted as green: 20" in done.output
    assert load_profile(profile).red_cell_types is not None


def test_the_same_seed_draws_the_same_cells_and_no_file_name_tells_the_model(
    fields: Path,
) -> None:
    folder = drawn_from(fields, seed=3)
    first = {p.name: p.read_bytes() for p in (folder / TO_SORT).iterdir()}
    folder.rename(fields.parent / "other")
    again = drawn_from(fields, seed=3)
    assert {p.name: p.read_bytes() for p in (again / TO_SORT).iterdir()} == first
    assert not any(name in file for file in first for name in TYPES)


def test_a_folder_in_use_is_not_written_into(fields: Path) -> None:
    folder = drawn_from(fields)
    with pytest.raises(UsageError, match="is not empty"):
        raise calibrated("types", "draw", fields, "--out", folder).exception or AssertionError


def test_too_few_named_cells_are_refused(fields: Path, tmp_path: Path) -> None:
    for picture in sorted(fields.iterdir())[1:]:
        picture.unlink()
    out = tmp_path / "few"
    code = edgehemo(["calibrate", "types", "draw", str(fields), "--out", str(out)])
    assert code == 2 and not out.exists()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / "red" / "cell_0002.png").unlink(), "in no folder of a type"),
        (
            lambda folder: (folder / "green" / "cell_0002.png").write_bytes(b""),
            "lie in two folders: cell_0002.png",
        ),
        (lambda folder: (folder / "drawn.json").unlink(), "holds no drawn.json"),
        (lambda folder: (folder / "drawn.json").write_text("{"), "cannot be read"),
        (
            lambda folder: (folder / "drawn.json").write_text('{"cells": 3}'),
            "cannot be read",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_and_the_profile_stays(
    fields: Path, tmp_path: Path, harm: Any, says: str
) -> None:
    folder, profile = drawn_from(fields), tmp_path / "microscope.json"
    sort_into(folder, "red", 60)
    harm(folder)
    done = calibrated("types", "check", folder, "--out", profile)
    assert isinstance(done.exception, CalibrationError) and says in str(done.exception)
    assert not profile.exists()


def test_every_disagreement_is_counted(fields: Path) -> None:
    folder = drawn_from(fields)
    sort_into(folder, "red", 58)
    sort_into(folder, NOT_A_RED_CELL, 2)
    drawn = read_drawn(folder)
    said = sorted_cells(folder, drawn)
    assert [(item.type, item.shown, item.agreed) for item in compared(drawn, said)] == [
        ("red", 60, 58)
    ]
    assert disagreements(drawn, said) == [("red", NOT_A_RED_CELL, 2)]


@given(st.integers(0, 300), st.integers(1, 60), st.integers(0, 2**31 - 1))
def test_a_lot_keeps_as_many_as_it_may_and_nothing_twice(seen: int, wanted: int, seed: int) -> None:
    lot: Lot[int] = Lot(wanted, seed)
    for item in range(seen):
        lot.offer(partial(int, item))
    assert lot.seen == seen and len(lot.kept) == min(seen, wanted)
    assert len(set(lot.kept)) == len(lot.kept) and sorted(lot.shuffled()) == sorted(lot.kept)


def test_every_thing_has_the_same_chance() -> None:
    drawn: Counter[int] = Counter()
    for seed in range(2000):
        lot: Lot[int] = Lot(5, seed)
        for item in range(20):
            lot.offer(partial(int, item))
        drawn.update(lot.kept)
    # 2000 draws of a quarter each: 500, with a standard deviation of 19.
    assert all(400 < drawn[item] < 600 for item in range(20))


def test_a_picture_of_a_cell_is_centred_on_it() -> None:
    pixels = np.full((200, 300, 3), 220, np.uint8)
    cv2.circle(pixels, (120, 80), 15, (200, 60, 60), -1)
    picture = cell_picture(pixels, (120.0, 80.0), 0.25)
    rows, columns = np.nonzero(picture[..., 1] < 140)
    assert picture.shape == (PICTURE_PX, PICTURE_PX, 3)
    assert rows.mean() == pytest.approx((PICTURE_PX - 1) / 2, abs=1)
    assert columns.mean() == pytest.approx((PICTURE_PX - 1) / 2, abs=1)
