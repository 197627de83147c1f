"""The functions people look for: `edgehemo.screen`, `quality`, `cells`, `classify`, `estimate`."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import edgehemo
from edgehemo import api
from edgehemo.demo.demonstration import sample_image
from edgehemo.errors import FieldError, ImageError
from edgehemo.screening.field import FieldReading


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated field as a file."""
    path = tmp_path_factory.mktemp("pictures") / "field.png"
    path.write_bytes(sample_image())
    return path


def test_a_package_of_the_same_name_is_called_and_imported_from() -> None:
    from edgehemo.quality import check_field

    assert edgehemo.quality.check_field is check_field  # type: ignore[attr-defined]
    for name in ("quality", "cells", "estimate"):
        assert callable(getattr(edgehemo, name))
        signature = inspect.signature(getattr(edgehemo, name))
        assert signature == inspect.signature(getattr(api, name))


def test_quality_and_cells_of_one_picture(picture: Path) -> None:
    report = edgehemo.quality(picture)
    reading = edgehemo.cells(str(picture))
    assert isinstance(reading, FieldReading)
    assert reading.quality == report
    assert reading.cells is not None
    assert reading.cells.counts["rbc"] > 5
    assert reading.indices is None
    for shown in (repr(report), repr(reading), repr(reading.cells)):
        assert len(shown) < 300


def test_a_refused_picture_is_searched_all_the_same() -> None:
    empty = np.full((240, 320, 3), 200, np.uint8)
    reading = edgehemo.cells(empty, um_per_px=0.2)
    assert not reading.accepted
    assert reading.cells is not None
    assert reading.image == "picture"


def test_screen_reads_an_array_as_it_reads_the_file(picture: Path) -> None:
    pixels = edgehemo.read_frame(picture).pixels
    from_array = edgehemo.screen(pixels)
    from_file = edgehemo.screen(picture)
    (one,), (other,) = from_array.reading.images, from_file.reading.images
    assert isinstance(one, FieldReading) and isinstance(other, FieldReading)
    assert one.image == "picture 1"
    assert one.cells == other.cells
    assert from_array.reading.indices == from_file.reading.indices
    # `estimate` asks the field estimator too, whatever the profile stands on.
    asked = edgehemo.screen(picture, field_estimator=True).reading.indices
    assert edgehemo.estimate([picture]).indices == asked != from_file.reading.indices
    assert len(repr(from_array)) < 300


def test_arrays_and_files_in_one_sample(picture: Path, tmp_path: Path) -> None:
    pixels = edgehemo.read_frame(picture).pixels
    result = edgehemo.screen([picture, pixels], tmp_path / "out")
    assert [image.image for image in result.reading.images] == [str(picture), "picture 2"]
    assert sorted(p.name for p in (tmp_path / "out" / "fields").iterdir()) == [
        "001_field.jpg",
        "002_picture_2.jpg",
    ]


def test_classify_one_cell(picture: Path) -> None:
    verdict = edgehemo.classify(picture, "nucleated", um_per_px=0.2)
    assert sum(verdict.probabilities.values()) + verdict.rejected == pytest.approx(1, abs=1e-3)
    assert len(repr(verdict)) < 200


@pytest.mark.parametrize("function", [edgehemo.screen, api.quality, api.cells, api.estimate])
def test_a_missing_path_raises(function: object, tmp_path: Path) -> None:
    missing = tmp_path / "gone.png"
    with pytest.raises(ImageError, match=r"gone\.png: there is no such file or folder"):
        function(missing)  # type: ignore[operator]


def test_an_array_that_is_not_a_picture_is_refused() -> None:
    with pytest.raises(FieldError, match="uint8 RGB"):
        edgehemo.quality(np.zeros((48, 64), np.uint8))
