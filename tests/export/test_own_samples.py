"""Samples of a laboratory's own that an analyser measured: read, called, drawn to practise on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.images.reading import read_frame
from edgehemo_export.commands.dataset import draw
from edgehemo_export.data.relabels import labelled_images
from edgehemo_export.data.sets.own import own_fields, own_sets
from edgehemo_export.data.sets.own_samples import sample_fields
from edgehemo_export.data.simulated.own_set import LABELS, UM_PER_PX, draw_own_set
from edgehemo_export.data.smears import ANAEMIA, CONTROL, label_of, smear_images
from edgehemo_export.data.splits import part_of
from edgehemo_export.models.anaemia_screen.data import screen_images
from edgehemo_export.models.anaemia_screen.training import OWN_SHARE, read_config, shares_with_own
from edgehemo_export.models.field_estimator.data import training_images

pytestmark = pytest.mark.host
SAMPLES = 6


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn set of few samples."""
    out = tmp_path_factory.mktemp("drawn") / "cells"
    line = f"--out {out} --samples {SAMPLES} --json -"
    said = CliRunner().invoke(draw, line, catch_exceptions=False)
    assert said.exit_code == 0
    told = json.loads(said.stdout)
    assert told["schema"] == "edgehemo.dataset-draw/1" and told["cells"] > 100
    return out


def test_a_drawn_set_is_one_that_training_reads(drawn: Path, tmp_path: Path) -> None:
    (own,) = own_sets(drawn)
    assert own.told.simulated and own.told.um_per_px == UM_PER_PX
    fields = own_fields(own)
    assert len(fields) == SAMPLES == len({item.group for item in fields})
    labels = {label for item in fields for label in item.cells.labels}
    assert {"normal", "ovalocyte", "rbc"} <= labels <= set(LABELS)
    # A box lies where the cell does: darker than what is between the cells.
    pixels = read_frame(fields[0].cells.path).pixels.astype(float)
    clear = np.percentile(pixels[..., 1], 90)
    inside = [pixels[int(y), int(x), 1] for x, y in fields[0].cells.centres]
    assert np.median(inside) < 0.9 * clear
    assert all(image.complete == {"rbc", "wbc", "platelet"} for image in labelled_images(drawn))
    with pytest.raises(UsageError, match="holds something already"):
        draw_own_set(drawn, samples=3)
    draw_own_set(tmp_path / "again", samples=3)
    for path in sorted((tmp_path / "again").rglob("*.txt")):
        assert path.read_bytes() == (drawn / path.relative_to(tmp_path / "again")).read_bytes()


def test_samples_bear_their_values_and_are_called_by_them(drawn: Path) -> None:
    (own,) = own_sets(drawn)
    with (drawn / "samples.csv").open(newline="") as file:
        rows = {row["sample"]: row for row in csv.DictReader(file)}
    fields = sample_fields(own)
    assert [item.sample for item in fields] == sorted(rows)
    assert all(
        item.values["hgb_g_per_l"] == pytest.approx(float(rows[item.sample]["hgb_g_per_l"]))
        for item in fields
    )
    called = {image.path: image.label for image in smear_images(drawn)}
    hgb = {item.path: item.values["hgb_g_per_l"] for item in fields}
    assert called == {path: label_of(value) for path, value in hgb.items()}
    assert (label_of(114.9), label_of(115.0), label_of(130.0)) == (ANAEMIA, None, CONTROL)
    screened = screen_images(drawn)
    assert {image.path for image in screened} == {
        p for p, label in called.items() if label in (0, 1)
    }
    assert {image.source for image in screened} == {"practice"}
    # The field estimator takes those of the training part, and no value of them.
    taken = training_images(drawn, 100, None)
    assert {i.path for i in taken} == {i.path for i in fields if part_of(i.group) == "train"}


def test_own_samples_are_a_quarter_of_what_the_screen_draws() -> None:
    config = read_config()
    shares = shares_with_own(config, ["mine", "empty"], {"mine", "anerbc"}).source_shares
    assert shares["mine"] / sum(shares.values()) == pytest.approx(OWN_SHARE)
    assert "empty" not in shares
    said = config.model_copy(update={"source_shares": {"mine": 1.0}})
    assert shares_with_own(said, ["mine"], {"mine"}) is said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("113.7", "11.37", "row 2: hgb_g_per_l 11.37 is outside .* if it is in g/dL, multiply"),
        ("0.3246", "32.46", "hct_l_per_l 32.46 is outside .* if it is in per cent"),
        ("S02,", "S01,", "row 3: sample 'S01' is in row 2 already"),
        ("S02,", "S99,", "row 3: no picture for sample 'S99'"),
        ("hgb_g_per_l", "hgb_g_per", "hgb_g_per"),
        ("138.6", "", "row 3: hgb_g_per_l is empty"),
    ],
)
def test_a_table_that_is_wrong_names_its_rows(
    drawn: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("images", "labels", "dataset.toml"):
        (folder / name).symlink_to(drawn / name)
    text = (drawn / "samples.csv").read_text()
    assert old in text
    (folder / "samples.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(EdgeHemoError, match=said) as caught:
        smear_images(folder)
    assert "samples.csv" in str(caught.value)
