"""From a kiosk's stored fields to a bundle in use: cells that people named teach the next model.

The fields are simulated, so no figure here says anything of real blood: that every step takes what
the one before left is what is tested.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.cli import run
from edgehemo.errors import EXIT_DONE
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.results import result_of
from edgehemo.records.reviews import review
from edgehemo.records.store import Writer
from edgehemo.screening.field import FieldReading
from edgehemo_export.checkpoints import load_checkpoint
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file, stored

pytestmark = [pytest.mark.lab, pytest.mark.host]
SAMPLES, FIELDS, CELLS = 7, 2, 20
# A wider cell is called a macrocyte here: something that pictures of cells can tell.
WIDE_UM = 7.4
CONFIG = """
# So few steps teach nobody what looks strange.
familiarity = false
[loop]
batch_size = 32
warmup_steps = 5
validate_every = 80
"""


def reviewed_records(data: Path) -> None:
    """Samples whose red cells a person named."""
    finder = TruthFinder()
    with Writer(RecordsFolder.below(data)) as writer:
        for sample in range(SAMPLES):
            frames = simulated_frames(
                finder, count=FIELDS, seed=sample, width_px=480, height_px=360
            )
            done = stored(writer, frames, finder, f"S-{sample}")
            assert done is not None
            images = result_of(writer, done.result_id).document(writer).images()
            for place, image in enumerate(images):
                assert isinstance(image, FieldReading) and image.cells is not None
                red = [n for n, cell in enumerate(image.cells.cells) if cell.kind == "rbc"]
                for number in red[:CELLS]:
                    cell = image.cells.cells[number]
                    wide = max(cell.x1 - cell.x0, cell.y1 - cell.y0) * image.um_per_px
                    name = "macrocyte" if wide > WIDE_UM else "normal"
                    review(writer, done.result_id, field=place, cell=number, type=name, by="sup")


def test_cells_that_people_named_become_a_bundle_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device_file(tmp_path / "data")))
    reviewed_records(tmp_path / "data")
    cells, checkpoint = str(tmp_path / "set"), str(tmp_path / "morphology.safetensors")
    settings = tmp_path / "small.toml"
    settings.write_text(CONFIG)
    assert run(["records", "export", "--all", "--format", "training", "--out", cells]) == EXIT_DONE
    trained = ["train", "morphology", "--data", cells, "--out", checkpoint, "--init", "shipped"]
    assert run([*trained, "--steps", "120", "--config", str(settings)]) == EXIT_DONE
    assert run(["evaluate", checkpoint, "--data", cells, "--save"]) == EXIT_DONE
    record = load_checkpoint(Path(checkpoint)).record
    assert len(record["training_data"]) == 1 and "SIMULATED" in record["training_data"][0]
    assert record["configuration"]["drawn_share"] == 0.0
    (accuracy,) = [item["value"] for item in record["metrics"] if item["name"] == "accuracy"]
    assert accuracy >= 0.7, "wide and narrow cells are told apart"

    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED_BUNDLE, bundle)
    exported = ["export", checkpoint, "--int8", "--format", "onnx", "--keep-others"]
    assert run([*exported, "--calibration", cells, "--out", str(bundle)]) == EXIT_DONE
    capsys.readouterr()
    assert run(["bundle", "install", str(bundle), "--json", "-"]) == EXIT_DONE
    installed = json.loads(capsys.readouterr().out)
    assert "morphology" in json.dumps(installed)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (entry,) = [model for model in manifest["models"] if model["name"] == "morphology"]
    assert "own cells, SIMULATED" in entry["training_data"][0]
    assert [(item["format"], item["precision"]) for item in entry["artefacts"]] == [
        ("onnx", "int8")
    ]
