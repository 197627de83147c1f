"""From a checkpoint on: stored, judged by the split it stands on, from the command line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.errors import UsageError

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')

import torch

from edgehemo_export.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from edgehemo_export.commands.evaluate import evaluate
from edgehemo_export.commands.train import train
from edgehemo_export.data.relabels import LabelledImage
from edgehemo_export.data.splits import EARLIER_SPLIT, SPLIT_NAME, model_split, read_recorded_moves
from edgehemo_export.models.finder import evaluation as finder_evaluation
from edgehemo_export.models.finder.export import held_out_images
from edgehemo_export.models.finder.training import read_config
from edgehemo_export.nets.architectures import CellFinderNet
from tests.support.tiny_finder import TINY


def tiny_checkpoint(path: Path) -> Path:
    torch.manual_seed(0)
    net = CellFinderNet(TINY)
    point = {
        "threshold": 0.5,
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "count_relative_sd": 0.1,
    }
    record = {
        "configuration": {
            **read_config().model_dump(),
            "model": TINY.model_dump(),
        },
        "operating_points": dict.fromkeys(CELL_KINDS, point),
        "training_envelope": {
            "features": ["a"],
            "mean": [0.0],
            "precision": [[1.0]],
            "warn_above": 1.0,
            "fail_above": 2.0,
            "fields": 20,
        },
        "training_data": ["none"],
        "images": {"none": 0},
        "steps": 0,
        "seconds": 0.0,
        "run": {"software_version": "0", "torch": "0"},
    }
    save_checkpoint(path, Checkpoint("cell_finder", dict(net.state_dict()), record))
    return path


def test_checkpoints_come_back_and_strangers_are_refused(tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path / "a.safetensors")
    loaded = load_checkpoint(path)
    assert loaded.task == "cell_finder" and loaded.record["steps"] == 0
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match="truncated"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(UsageError, match="pickled"):
        load_checkpoint(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="pickled"):
        load_checkpoint(path)
    with pytest.raises(UsageError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_stored_operating_points_come_back_as_records(tmp_path: Path) -> None:
    from edgehemo_export.models.finder.checkpoint import operating_points

    points = operating_points(load_checkpoint(tiny_checkpoint(tmp_path / "a.safetensors")))
    assert set(points) == set(CELL_KINDS)
    assert all(point.calibration.slope == 1.0 for point in points.values())


@pytest.mark.real
def test_train_and_evaluate_from_the_command_line(data_root: Path, tmp_path: Path) -> None:
    """A run of a few steps on a corner of the real boxes, resumed by calling it again."""
    corner = tmp_path / "data" / "bccd"
    (corner / "images").mkdir(parents=True)
    (corner / "boxes").mkdir()
    for label in sorted((data_root / "bccd" / "boxes").iterdir())[::8]:
        (corner / "boxes" / label.name).symlink_to(label)
        image = data_root / "bccd" / "images" / f"{label.stem}.jpg"
        (corner / "images" / image.name).symlink_to(image)
    config = tmp_path / "tiny.toml"
    config.write_text(
        "[loop]\nsteps = 3\nbatch_size = 2\nwarmup_steps = 1\n[source_shares]\nbccd = 1.0\n"
        "simulated = 0.0\n"
        "[crop]\nside_px = 64\n"
        "[model]\nstride4 = 16\nstride8 = 16\nstride16 = 16\nhead = 16\nblocks = 1\n"
    )
    out = tmp_path / "finder.safetensors"
    arguments = ["cell-finder", "--data", str(corner.parent), "--out", str(out)]
    arguments += ["--config", str(config), "--threads", "1"]
    for _ in range(2):
        done = CliRunner().invoke(train, arguments, standalone_mode=False)
        assert done.exception is None, done.output
    assert load_checkpoint(out).record["steps"] == 3
    report = tmp_path / "metrics.json"
    done = CliRunner().invoke(
        evaluate,
        [str(out), "--data", str(corner.parent), "--save", "--json", str(report)],
        standalone_mode=False,
    )
    assert done.exception is None, done.output
    metrics = json.loads(report.read_text())["metrics"]
    assert {item["name"] for item in metrics} >= {"mAP50", "AP50 rbc"}
    card = out.with_suffix(".md").read_text()
    assert "## Kept-out test part" in card and "| bccd | mAP50 |" in card
    assert f"`{SPLIT_NAME}`" in card and EARLIER_SPLIT not in card
    # The same weights, had they been trained under the split before.
    saved = load_checkpoint(out)
    assert saved.record["split"] == SPLIT_NAME
    record = {key: value for key, value in saved.record.items() if key != "split"}
    save_checkpoint(out, Checkpoint(saved.task, saved.weights, record))
    done = CliRunner().invoke(
        evaluate,
        [str(out), "--data", str(corner.parent), "--save", "--json", str(report)],
        standalone_mode=False,
    )
    assert done.exception is None, done.output
    told = json.loads(report.read_text())
    assert told["split"] == SPLIT_NAME
    assert told["split_note"] in " ".join(done.stderr.split())
    card = out.with_suffix(".md").read_text()
    assert f"Split `{EARLIER_SPLIT}`" in card and told["split_note"] in card


@pytest.mark.real
def test_weights_of_the_earlier_split_are_never_judged_by_what_they_were_trained_on(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LookedError(Exception):
        """Ends an evaluation once it has chosen its images."""

    def look(images: list[LabelledImage], _: object) -> None:
        seen.append({image.key for image in images})
        raise LookedError

    monkeypatch.setattr(finder_evaluation, "examine", look)
    checkpoint = load_checkpoint(tiny_checkpoint(tmp_path / "a.safetensors"))
    seen: list[set[str]] = []
    for split in (EARLIER_SPLIT, SPLIT_NAME):
        record = {**checkpoint.record, "split": split}
        with pytest.raises(LookedError):
            finder_evaluation.evaluate(
                Checkpoint(checkpoint.task, checkpoint.weights, record), data_root, "test"
            )
    before = read_recorded_moves().part_before("cell_finder")
    earlier, now = seen
    assert earlier < now and not earlier & set(before)
    assert now - earlier <= {key for key, part in before.items() if part != "test"}
    held_out = {i.key for i in held_out_images(data_root, model_split("cell_finder", {}))}
    assert held_out and not held_out & set(before)
