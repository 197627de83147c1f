"""Readers, splits, samples, training and export on the workstation."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.cells.records import CELL_KINDS
from edgehemo.errors import EdgeHemoError, UsageError, WithheldError

pytestmark = pytest.mark.host
torch = pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')

from edgehemo.bundle import load_bundle  # noqa: E402
from edgehemo.cells import open_cell_finder  # noqa: E402
from edgehemo.cells.maps import read_maps  # noqa: E402
from edgehemo_export import exporting  # noqa: E402
from edgehemo_export.architectures import (  # noqa: E402
    FINDER_MULTIPLE,
    CellFinderConfig,
    CellFinderNet,
)
from edgehemo_export.calibration_set import read_calibration_set  # noqa: E402
from edgehemo_export.canonical_set import CanonicalExample, prepare  # noqa: E402
from edgehemo_export.checkpoints import (  # noqa: E402
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from edgehemo_export.commands import evaluate, export, train  # noqa: E402
from edgehemo_export.datasets import read_data_root  # noqa: E402
from edgehemo_export.finder_evaluation import average_precision, match  # noqa: E402
from edgehemo_export.finder_samples import (  # noqa: E402
    SampleOptions,
    crop,
    draw_batch,
    targets,
    vary_colour,
)
from edgehemo_export.finder_training import (  # noqa: E402
    config_from_mapping,
    finder_loss,
    read_config,
    train_finder,
)
from edgehemo_export.formats import chosen_formats, chosen_precisions  # noqa: E402
from edgehemo_export.onnx_export import (  # noqa: E402
    export_fp32,
    largest_difference,
    quantise_int8,
)
from edgehemo_export.simulated_set import simulated_example  # noqa: E402
from edgehemo_export.splits import part_of  # noqa: E402

TINY = CellFinderConfig(stride4=16, stride8=16, stride16=16, head=16, blocks=1)


@pytest.fixture(scope="module")
def examples() -> list[CanonicalExample]:
    return [simulated_example(i, side_px=128, seed=3) for i in range(4)]


@pytest.mark.real
def test_readers_find_every_box(data_root: Path) -> None:
    images = read_data_root(data_root)
    by_source = {
        source: [image for image in images if image.source == source]
        for source in {image.source for image in images}
    }
    assert len(by_source["bccd"]) == 292
    assert len(by_source["txl_pbc"]) + len(by_source["txl_raabin"]) == 955
    for image in images:
        assert image.boxes.shape == (len(image.kinds), 4)
        assert (image.boxes[:, 2:] > image.boxes[:, :2]).all()
    assert all("rbc" not in image.complete for image in by_source["bccd"])
    assert all("rbc" in image.complete for image in by_source["txl_pbc"])


@pytest.mark.real
def test_the_split_keeps_groups_whole_and_is_shared_by_no_file(data_root: Path) -> None:
    images = read_data_root(data_root)
    parts: dict[str, set[str]] = {}
    for image in images:
        parts.setdefault(image.group, set()).add(part_of(image.group))
    assert all(len(found) == 1 for found in parts.values())
    contents: dict[bytes, set[str]] = {}
    for image in images:
        contents.setdefault(image.path.read_bytes(), set()).add(part_of(image.group))
    assert all(len(found) == 1 for found in contents.values())
    share = sum(part_of(image.group) == "test" for image in images) / len(images)
    assert 0.08 < share < 0.25


@pytest.mark.real
def test_unlabelled_red_cells_are_unknown_not_background(data_root: Path) -> None:
    image = next(i for i in read_data_root(data_root) if i.source == "bccd" and len(i.boxes) > 8)
    example = prepare(image)
    assert example.unknown.any()
    for x0, y0, x1, y1 in example.boxes:
        cx, cy = int((x0 + x1) / 2), int((y0 + y1) / 2)
        if 0 <= cy < example.unknown.shape[0] and 0 <= cx < example.unknown.shape[1]:
            assert not example.unknown[cy, cx]
    clear = example.codes[..., 1] > 196
    assert not (example.unknown & clear).sum() > 0.5 * example.unknown.sum()


def test_an_empty_data_root_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds none of the sets"):
        read_data_root(tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_crops_carry_their_boxes_with_them(seed: int) -> None:
    """A bright square drawn into the picture stays inside its box whatever the crop does."""
    codes = np.full((160, 200, 3), 200, np.uint8)
    codes[60:90, 80:120] = 20
    example = CanonicalExample(
        name="square",
        source="simulated",
        group="g",
        codes=codes,
        boxes=np.array([[80, 60, 120, 90]], np.float32),
        kinds=np.array([0], np.intp),
        unknown=np.zeros((160, 200), np.bool_),
    )
    options = SampleOptions(side_px=128)
    out, boxes, kinds, unknown = crop(example, options, np.random.default_rng(seed))
    assert out.shape == (128, 128, 3) and unknown.shape == (128, 128)
    rows, columns = np.nonzero(out[..., 0] < 110)
    if len(boxes) == 0:
        assert len(rows) < 0.5 * 30 * 40 * options.zoom_high**2
        return
    x0, y0, x1, y1 = boxes[0]
    assert columns.min() == pytest.approx(x0, abs=1.5)
    assert columns.max() + 1 == pytest.approx(x1, abs=1.5)
    assert rows.min() == pytest.approx(y0, abs=1.5)
    assert rows.max() + 1 == pytest.approx(y1, abs=1.5)
    assert kinds.tolist() == [0]


def test_targets_are_what_the_device_reads(examples: list[CanonicalExample]) -> None:
    example = examples[0]
    heat, known, coded, weight = targets(
        example.boxes, example.kinds, np.zeros(example.codes.shape[:2], np.uint8)
    )
    maps = np.concatenate([heat, coded]).transpose(1, 2, 0)
    rows = read_maps(np.ascontiguousarray(maps), 0.999)
    centres = (rows[:, :2] + rows[:, 2:4]) / 2
    wanted = (example.boxes[:, :2] + example.boxes[:, 2:]) / 2
    inside = (wanted >= 0).all(axis=1) & (wanted < 128).all(axis=1)
    nearest = np.hypot(*(wanted[inside][:, None] - centres[None]).transpose(2, 0, 1)).min(axis=1)
    # Two cells in one place of the map share it; all others come back exactly.
    assert (nearest < 0.5).mean() > 0.9
    assert known.min() == 1 and weight.max() == 1


def test_colour_changes_keep_the_field_a_field(examples: list[CanonicalExample]) -> None:
    chances = np.full(len(examples), 1 / len(examples))
    batch = draw_batch(examples, chances, 6, SampleOptions(side_px=96), np.random.default_rng(0))
    first = vary_colour(batch.codes, torch.Generator().manual_seed(1))
    again = vary_colour(batch.codes, torch.Generator().manual_seed(1))
    other = vary_colour(batch.codes, torch.Generator().manual_seed(2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 1.275 and torch.isfinite(first).all()
    clear = (batch.codes > 198).all(dim=-1)[:, None].expand_as(first)
    assert (first[clear] - 1).abs().mean() < 0.08


def test_unknown_places_teach_nothing(examples: list[CanonicalExample]) -> None:
    chances = np.full(len(examples), 1 / len(examples))
    batch = draw_batch(examples, chances, 2, SampleOptions(side_px=96), np.random.default_rng(0))
    blind = dataclasses.replace(
        batch, known=torch.zeros_like(batch.known), weight=torch.zeros_like(batch.weight)
    )
    raw = torch.randn(2, 7, 24, 24, requires_grad=True)
    loss, _ = finder_loss(raw, blind, 1.0)
    loss.backward()
    assert raw.grad is not None and raw.grad.abs().max() == 0


def test_training_learns_and_resumes_to_the_same_weights(
    examples: list[CanonicalExample], tmp_path: Path
) -> None:
    config = dataclasses.replace(
        read_config(),
        steps=12,
        batch_size=4,
        warmup_steps=2,
        source_shares={"simulated": 1.0},
        model=TINY,
        crop=SampleOptions(side_px=96),
    )
    torch.set_num_threads(1)
    losses: list[float] = []
    _, state = train_finder(
        examples,
        dataclasses.replace(config, steps=50),
        tmp_path / "learn",
        progress=lambda _, parts: losses.append(parts["heat"]),
    )
    assert state.step == 50 and losses[-1] < 4.0
    straight, _ = train_finder(examples, config, tmp_path / "straight")
    half = tmp_path / "half"
    train_finder(examples, config, half, stop_after=5)
    resumed, state = train_finder(examples, config, half)
    assert state.step == 12
    for ours, theirs in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    with pytest.raises(UsageError, match="another configuration"):
        train_finder(examples, dataclasses.replace(config, seed=1), half)


def test_configuration_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("steps = 7\n[crop]\nside_px = 64\n")
    config = read_config(own)
    assert config.steps == 7 and config.crop.side_px == 64 and config.crop.zoom_low == 0.75
    own.write_text("stepz = 7\n[crop]\nzide_px = 64\n")
    with pytest.raises(UsageError, match=r"unknown key stepz.*unknown key crop.zide_px"):
        read_config(own)
    own.write_text("steps = [")
    with pytest.raises(UsageError, match="not a readable TOML"):
        read_config(own)
    with pytest.raises(UsageError, match="missing key seed"):
        config_from_mapping({})


def test_matching_is_one_to_one_and_by_kind() -> None:
    labels = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    candidates = np.array(
        [
            [0, 0, 10, 10, 0.9, 0],
            [1, 0, 11, 10, 0.8, 0],  # the same label again
            [20, 0, 30, 10, 0.7, 1],  # the right place, another kind
        ],
        np.float32,
    )
    assert match(candidates, labels, np.array([0, 0])).tolist() == [True, False, False]


def test_average_precision_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    perfect = np.array([True, True, True, True])
    assert average_precision(scores, perfect, 4) == pytest.approx(1.0)
    # Two of four found, both first: precision 1 up to recall 0.5, then nothing (51 of 101 levels).
    half = np.array([True, True, False, False])
    assert average_precision(scores, half, 4) == pytest.approx(51 / 101)
    assert average_precision(scores, ~perfect, 4) == 0


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
            **dataclasses.asdict(read_config()),
            "model": dataclasses.asdict(TINY),
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


def test_onnx_follows_pytorch_at_sizes_it_was_not_exported_at() -> None:
    torch.manual_seed(1)
    net = CellFinderNet(TINY).eval()
    rng = np.random.default_rng(0)
    shapes = [(64, 96), (160, 48), (128, 128)]
    inputs = [rng.integers(0, 256, (1, h, w, 3)).astype(np.uint8) for h, w in shapes]
    model = export_fp32(net, inputs[0], multiple_of_px=FINDER_MULTIPLE)
    assert largest_difference(net, model, inputs) < 1e-3
    small = quantise_int8(model, inputs * 4)
    assert len(small) < len(model)
    assert largest_difference(net, small, inputs) < 0.5
    with pytest.raises(UsageError, match="unknown calibrator"):
        quantise_int8(model, inputs, calibrator="magic")


def test_formats_suggest_the_nearest() -> None:
    assert [item.name for item in chosen_formats([])] == ["onnx"]
    with pytest.raises(UsageError, match="did you mean onnx"):
        chosen_formats(["onx"])
    assert chosen_precisions(int8=False, fp16=False, fp32=False) == ("int8",)
    with pytest.raises(UsageError, match="no fp16"):
        chosen_precisions(int8=True, fp16=True, fp32=False)


@pytest.mark.real
def test_a_whole_export_and_its_gate(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PARITY_IMAGES", 4)
    checkpoint = tiny_checkpoint(tmp_path / "cell_finder.safetensors")
    out = tmp_path / "bundle"
    arguments = [str(checkpoint), "--int8", "--fp32", "--calibration", str(data_root)]
    report = tmp_path / "export.json"
    done = CliRunner().invoke(
        export, [*arguments, "--out", str(out), "--json", str(report)], standalone_mode=False
    )
    assert done.exception is None, done.output
    record = json.loads(report.read_text())
    assert record["schema"] == "edgehemo.export/1"
    assert {item["precision"] for item in record["artefacts"]} == {"int8", "fp32"}
    assert all(item["gate"] == "pass" for item in record["artefacts"])
    bundle = load_bundle(out)
    bundle.check_files()
    assert bundle.manifest.serial == 1
    recipe = bundle.artefact("cell_finder", "onnx", "int8")[0].recipe
    assert len(str(recipe["calibration_digest"])) == 64
    open_cell_finder(bundle, threads=1)
    # A gate that cannot be passed leaves the good bundle as it was, and no half one.
    monkeypatch.setattr(exporting, "FINDER_MAP_GATE", -2.0)
    failed = CliRunner().invoke(export, [*arguments, "--out", str(out)], standalone_mode=False)
    assert isinstance(failed.exception, WithheldError)
    assert failed.exception.exit_code == 1
    assert load_bundle(out).digest == bundle.digest
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_int8_without_calibration_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        export, ["x.safetensors", "--int8", "--out", str(tmp_path / "b")], standalone_mode=False
    )
    assert isinstance(done.exception, UsageError)
    assert "--calibration" in str(done.exception)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "note.txt").write_text("no image")
    with pytest.raises(EdgeHemoError, match="holds no picture"):
        read_calibration_set(empty)


@pytest.mark.real
def test_too_small_a_calibration_set_is_refused(data_root: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((data_root / "bccd" / "images").iterdir())[:5]:
        (few / path.name).symlink_to(path)
    with pytest.raises(UsageError, match="needs at least 100"):
        read_calibration_set(few)


@pytest.mark.real
def test_train_and_evaluate_from_the_command_line(data_root: Path, tmp_path: Path) -> None:
    """A run of a few steps on a corner of the real boxes, resumed by calling it again."""
    corner = tmp_path / "data" / "bccd"
    (corner / "images").mkdir(parents=True)
    (corner / "boxes").mkdir()
    for label in sorted((data_root / "bccd" / "boxes").iterdir())[::5]:
        (corner / "boxes" / label.name).symlink_to(label)
        image = data_root / "bccd" / "images" / f"{label.stem}.jpg"
        (corner / "images" / image.name).symlink_to(image)
    config = tmp_path / "tiny.toml"
    config.write_text(
        "steps = 3\nbatch_size = 2\nwarmup_steps = 1\n[source_shares]\nbccd = 1.0\n"
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
