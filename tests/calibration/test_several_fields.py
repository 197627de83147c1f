"""A TIFF of several fields given to a calibration: all of them count, or it is said."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from edgehemo.cli import run
from edgehemo.errors import EdgeHemoWarning
from edgehemo.images.reading import read_fields, read_frame
from edgehemo_calibration.api import calibrate_illumination
from edgehemo_calibration.commands.pictures import read_frames
from edgehemo_calibration.measuring import measure_stain
from tests.support.tiff import page_of, tiff


def empty_fields(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    fall = 210 - 20 * np.hypot(*np.mgrid[-1:1:240j, -1:1:320j])[..., None]
    return [
        np.clip(fall + rng.normal(0, 1, (240, 320, 3)), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def stack_of(pictures: list[np.ndarray], path: Path) -> Path:
    path.write_bytes(tiff([page_of(picture) for picture in pictures]))
    return path


def test_a_flat_field_is_taken_from_every_field(tmp_path: Path) -> None:
    stack = stack_of(empty_fields(3), tmp_path / "empty.tif")
    assert [frame.source for frame in read_frames((str(stack),))] == [
        f"{stack}#page={page}" for page in (1, 2, 3)
    ]
    assert calibrate_illumination([stack]).frames == 3


def test_a_stain_is_measured_in_every_field(cases_root: Path) -> None:
    stack = cases_root / "stack_of_3_fields.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = measure_stain([stack], profile=None, um_per_px=0.2)
    assert together.fields == len(read_fields(stack)) == 3


def test_where_one_field_is_read_one_line_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = stack_of(empty_fields(2), tmp_path / "empty.tif")

    def twice(*_: object, **__: object) -> int:
        read_frame(stack)
        read_frame(stack)
        return 0

    monkeypatch.setattr("edgehemo.cli.edgehemo.main", twice)
    warnings.simplefilter("always", EdgeHemoWarning)
    assert run(["calibrate"]) == 0
    said = capsys.readouterr().err
    assert re.fullmatch(r"edgehemo: \S+: holds 2 fields; only the first is read here\n", said)


def test_other_warnings_stay_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object, **__: object) -> int:
        warnings.warn("of a library", RuntimeWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("edgehemo.cli.edgehemo.main", warn)
    with pytest.warns(RuntimeWarning, match="of a library"):
        run(["x"])
