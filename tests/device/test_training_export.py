"""Reviewed cells and paired values leave as a data set that can teach, without whose they are."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.cli import run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, RecordsError, UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.records.deidentified import View
from edgehemo.records.exports.dataset import (
    CELLS_TABLE,
    DATASET_FILE,
    SAMPLES_TABLE,
    DatasetFile,
    dataset_text,
    read_dataset,
)
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.formats import FORMATS
from edgehemo.records.exports.training_export import CELL_PX
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.pairs import pair
from edgehemo.records.results import result_of
from edgehemo.records.reviews import review
from edgehemo.records.store import Writer
from edgehemo.records.versions import change
from edgehemo.screening.field import FieldReading
from edgehemo_calibration.analyser.pairs import read_pairs
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file, stored

FAKES = TruthFinder()
TELLING = ("SAMPLE-7", "SAMPLE-8", "opamina", "suprose", "Kisumu", "jane-doe")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    frames = simulated_frames(FAKES, count=2, width_px=480, height_px=360)
    named = [replace(frame, source=f"jane-doe-{n}.png") for n, frame in enumerate(frames)]
    for frame, new in zip(frames, named, strict=True):
        FAKES.truths[new.source] = FAKES.truths[frame.source]
    return named


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with Writer(RecordsFolder.below(tmp_path / "data")) as opened:
        yield opened


def kept(writer: Writer, frames: list[Frame], sample: str) -> str:
    done = stored(writer, frames, FAKES, sample, site="Kisumu", operator="opamina")
    assert done is not None
    return done.result_id


@pytest.fixture
def reviewed(writer: Writer, frames: list[Frame]) -> list[str]:
    """Two samples with cells that people named, one of them twice, one unsure."""
    names = [kept(writer, frames, "SAMPLE-7"), kept(writer, frames[:1], "SAMPLE-8")]
    for name in names:
        for cell, said in enumerate(("target_cell", "normal", "ovalocyte", None)):
            review(writer, name, field=0, cell=cell, type=said, by="suprose")
        review(writer, name, field=0, cell=1, type="teardrop", by="suprose")
        review(writer, name, field=0, cell=4, type=None, is_cell=False, by="suprose")
    pair(
        writer, "SAMPLE-7", {"hgb_g_per_l": 101.0, "hct_l_per_l": 0.31}, analyser="X", by="suprose"
    )
    pair(writer, "SAMPLE-8", {"hgb_g_per_l": 120.5}, analyser="X", by="suprose")
    return names


def write(writer: Writer, names: list[str], out: Path, *, identified: bool = False) -> None:
    results = [result_of(writer, name) for name in names]
    view = View.of(writer, identified=identified)
    FORMATS["training"].write(Exporting(writer, results, view, writer.head()), out)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_newest_word_on_each_cell_is_the_folder_it_lies_in(
    writer: Writer, reviewed: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    write(writer, reviewed, out)
    rows = rows_of(out / CELLS_TABLE)
    assert sorted(row["class"] for row in rows) == sorted(
        2 * ["target_cell", "teardrop", "ovalocyte", "not_a_cell"]
    )
    assert {row["file"] for row in rows} == {
        path.relative_to(out).as_posix() for path in (out / "cells").rglob("*.png")
    }
    assert all(row["file"].startswith(f"cells/{row['class']}/") for row in rows)
    assert len({row["group"] for row in rows}) == 2
    dataset = read_dataset(out)
    assert dataset.pixels == "canonical" and dataset.um_per_px == CANONICAL_UM_PER_PX
    assert dataset.groups == "table" and dataset.simulated
    assert dataset.classes["teardrop"] == "teardrop" and dataset.name.startswith("own_d_")
    assert "FILL THIS IN" in (out / DATASET_FILE).read_text("utf-8")


def test_a_cell_is_cut_as_the_device_cuts_it(
    writer: Writer, reviewed: list[str], frames: list[Frame], tmp_path: Path
) -> None:
    write(writer, reviewed, tmp_path / "set")
    result = result_of(writer, reviewed[0])
    reading = result.document(writer).images()[0]
    rows = rows_of(tmp_path / "set" / CELLS_TABLE)
    (row,) = [row for row in rows if row["result"] == result.id and row["class"] == "target_cell"]
    decoded = cv2.imread(str(tmp_path / "set" / row["file"]))
    assert decoded is not None and decoded.shape == (CELL_PX, CELL_PX, 3)
    codes = canonical_field(frames[0], um_per_px=0.25).to_uint8()
    assert isinstance(reading, FieldReading) and reading.cells is not None
    cell = reading.cells.cells[0]
    x, y = cell.centre
    left, top = round(x - CELL_PX / 2), round(y - CELL_PX / 2)
    inside = codes[max(0, top) : top + CELL_PX, max(0, left) : left + CELL_PX]
    crop = decoded[..., ::-1][
        max(0, -top) : max(0, -top) + inside.shape[0],
        max(0, -left) : max(0, -left) + inside.shape[1],
    ]
    assert np.array_equal(crop, inside)


def test_nothing_in_it_tells_whose_it_is(
    writer: Writer, reviewed: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    write(writer, reviewed, out)
    for path in out.rglob("*"):
        assert not any(word in str(path.relative_to(out)) for word in TELLING)
        if path.is_file():
            data = path.read_bytes()
            assert not any(word.encode() in data for word in TELLING), path
            assert b"2026-11-20" not in data
            assert path.suffix != ".png" or (b"tEXt" not in data and b"eXIf" not in data)
    rows = rows_of(out / CELLS_TABLE)
    assert all(len(row["month"]) == len("2026-11") for row in rows)
    assert all(row["by"].startswith("P-") and row["group"].startswith("S-") for row in rows)
    with pytest.raises(UsageError, match="never holds names"):
        write(writer, reviewed, tmp_path / "other", identified=True)
    assert not (tmp_path / "other").exists()


def test_paired_samples_are_what_the_analyser_calibration_takes(
    writer: Writer, reviewed: list[str], frames: list[Frame], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    write(writer, reviewed, out)
    pairs = read_pairs(out / SAMPLES_TABLE, out / "fields")
    assert {tuple(item.reference.items()) for item in pairs} == {
        (("hgb_g_per_l", 101.0),),
        (("hgb_g_per_l", 120.5),),
    }
    assert sorted(len(item.images) for item in pairs) == [1, 2]
    picture = cv2.imread(str(max(pairs, key=lambda item: len(item.images)).images[0]))
    assert picture is not None and np.array_equal(picture[..., ::-1], frames[0].pixels)


def test_what_cannot_teach_is_left_out(
    writer: Writer, reviewed: list[str], frames: list[Frame], tmp_path: Path
) -> None:
    change(writer, reviewed[0], "withdrawn", by="sup", reason="wrong slide")
    write(writer, reviewed, tmp_path / "set")
    rows = rows_of(tmp_path / "set" / CELLS_TABLE)
    assert {row["result"] for row in rows} == {reviewed[1]}
    # A picture that is gone.
    result = result_of(writer, reviewed[1])
    assert result.fields[0].sha256 is not None
    writer.contents.remove(result.fields[0].sha256)
    with pytest.raises(RecordsError, match="nothing to learn from"):
        write(writer, reviewed, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(RecordsError, match="nothing to learn from"):
        write(writer, [kept(writer, frames[:1], "SAMPLE-9")], tmp_path / "none")


def test_an_earlier_export_is_replaced_and_nothing_else(
    writer: Writer, reviewed: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    write(writer, reviewed, out)
    before = {path.relative_to(out) for path in out.rglob("*.png")}
    write(writer, reviewed[1:], out)
    after = {path.relative_to(out) for path in out.rglob("*.png")}
    assert after < before and len(rows_of(out / CELLS_TABLE)) == 4
    other = tmp_path / "holiday"
    other.mkdir()
    (other / "photo.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds something else"):
        write(writer, reviewed, other)
    assert [path.name for path in other.iterdir()] == ["photo.jpg"]


def test_the_command_writes_it_and_notes_it(
    frames: list[Frame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device_file(tmp_path / "data")))
    with Writer(RecordsFolder.below(tmp_path / "data")) as writer:
        name = kept(writer, frames[:1], "SAMPLE-7")
        review(writer, name, field=0, cell=0, type="target_cell", by="sup")
    out = tmp_path / "set"
    command = ["records", "export", "--all", "--format", "training", "--out", str(out)]
    assert run(command) == EXIT_DONE
    assert "1 result: " in capsys.readouterr().out
    assert len(rows_of(out / CELLS_TABLE)) == 1 and not (out / SAMPLES_TABLE).exists()
    assert run([*command, "--identified"]) == EXIT_BAD_INPUT
    assert "never holds names" in capsys.readouterr().err
    with Writer(RecordsFolder.below(tmp_path / "data")) as writer:
        said = writer.rows("SELECT details FROM audit WHERE action = 'result exported'")
    assert '"format":"training"' in said[0][0].replace(" ", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'Own Set'", "name"),
        ("name = 'own'\nlayot = 'folders'", "did you mean layout"),
        ("name = 'own'\nlayout = 'pile'", "layout"),
        ("name = 'own'\num_per_px = -1", "um_per_px"),
        ("name = ", "no readable TOML"),
        ("", "name"),
    ],
)
def test_a_dataset_file_that_is_wrong_says_where_and_what(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / DATASET_FILE).write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_dataset(tmp_path)
    assert DATASET_FILE in str(caught.value)


def test_a_dataset_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_dataset(tmp_path)
    dataset = DatasetFile(
        name="own_x",
        licence='mine "alone"\\ \n',
        um_per_px=0.1,
        classes={"A b": "monocyte", "c": ""},
    )
    text = dataset_text(dataset, {"licence": "terms"}, ("a note",))
    (tmp_path / DATASET_FILE).write_text(text, "utf-8")
    assert read_dataset(tmp_path) == dataset
    assert text.startswith("# a note\n") and "# terms\n" in text
