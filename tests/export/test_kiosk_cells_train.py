"""Cells that people named at a kiosk, exported from its records, are what training reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')

from edgehemo.records.deidentified import View
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.formats import FORMATS
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.results import result_of
from edgehemo.records.reviews import review
from edgehemo.records.store import Writer
from edgehemo_export.data.sets.own import own_sets
from edgehemo_export.models.classifiers.checkpoint import classifier_net
from edgehemo_export.models.classifiers.morphology.run import read_config
from edgehemo_export.models.classifiers.morphology.specification import SPEC
from edgehemo_export.models.classifiers.run import train_classifier
from edgehemo_export.training.task import Run
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import stored

SAMPLES, CELLS = 4, 8


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `edgehemo records export --format training` writes of four samples, eight cells each."""
    folder = tmp_path_factory.mktemp("kiosk")
    fakes = TruthFinder()
    frames = simulated_frames(fakes, count=SAMPLES, width_px=480, height_px=360)
    out = folder / "our-cells"
    with Writer(RecordsFolder.below(folder / "data")) as writer:
        names = []
        for number, frame in enumerate(frames):
            named = replace(frame, source=f"slide-{number}.png")
            fakes.truths[named.source] = fakes.truths[frame.source]
            done = stored(writer, [named], fakes, f"SAMPLE-{number}", site="A", operator="b")
            assert done is not None
            names.append(done.result_id)
            for cell in range(CELLS):
                said = ("normal", "target_cell")[cell % 2]
                review(writer, done.result_id, field=0, cell=cell, type=said, by="c")
        results = [result_of(writer, name) for name in names]
        view = View.of(writer, identified=False)
        FORMATS["training"].write(Exporting(writer, results, view, writer.head()), out)
    return out


def test_training_reads_what_the_kiosk_exported(exported: Path, tmp_path: Path) -> None:
    (own,) = own_sets(exported)
    assert own.told.groups == "table" and own.told.simulated
    config = read_config(
        None,
        {
            "model": {"architecture": "red_cell_small"},
            "loop": {"steps": 3, "batch_size": 8, "validate_every": 0, "warmup_steps": 1},
            "familiarity": False,
        },
    )
    first = train_classifier(SPEC, exported, config, tmp_path / "work", Run())
    counts = {
        name: sum(by.values())
        for part in ("train", "tune")
        for name, by in first.record["crops"][part].items()
    }
    assert set(counts) == {own.told.name}
    assert first.record["training_data"] == [own.licence] and "SIMULATED" in own.licence
    # From there on the last layer alone, as few cells ask for.
    second = train_classifier(SPEC, exported, config, tmp_path / "again", Run(initial=first))
    assert second.record["learnt"] == "head"
    assert sum(second.record["images"].values()) < SAMPLES * CELLS  # the test part is kept out
    assert classifier_net(SPEC, second).config.architecture == "red_cell_small"
