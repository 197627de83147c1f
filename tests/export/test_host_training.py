"""Readers, splits, samples, training and export on the workstation."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.errors import UsageError
from edgehemo.images.frame import Frame

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')

import torch

from edgehemo.cells.maps import read_maps
from edgehemo_export.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from edgehemo_export.commands.evaluate import evaluate
from edgehemo_export.commands.train import train
from edgehemo_export.configuration import configuration_from
from edgehemo_export.data.canonical_set import (
    CUT,
    DOUBTFUL,
    KNOWN,
    UNKNOWN,
    CanonicalExample,
    prepare,
)
from edgehemo_export.data.relabels import (
    LabelledImage,
    completed,
    labelled_images,
    relabelled,
)
from edgehemo_export.data.simulated.fields import simulated_example
from edgehemo_export.data.splits import (
    EARLIER_SPLIT,
    SPLIT_NAME,
    model_split,
    part_of,
    read_recorded_moves,
)
from edgehemo_export.models.finder import evaluation as finder_evaluation
from edgehemo_export.models.finder.data import (
    CUT_WEIGHT,
    SampleOptions,
    crop,
    draw_batch,
    judged,
    targets,
    without,
)
from edgehemo_export.models.finder.export import held_out_images
from edgehemo_export.models.finder.lights import LIGHTS
from edgehemo_export.models.finder.matching import average_precision, box_iou, match
from edgehemo_export.models.finder.narrowing import narrowed_head
from edgehemo_export.models.finder.training import (
    FinderTask,
    FinderTrainingConfig,
    finder_loss,
    read_config,
)
from edgehemo_export.models.finder.variation import SPECK_DENSITY, SPECK_TINT, dirt, vary_colour
from edgehemo_export.nets.architectures import CellFinderConfig, CellFinderNet
from edgehemo_export.quantisation.gates import TASK_GATES, problems
from edgehemo_export.training.loop import train as train_loop
from edgehemo_export.training.task import Run, check_initial
from edgehemo_export.training.weights import blend

TINY = CellFinderConfig(stride4=16, stride8=16, stride16=16, head=16, blocks=1)


@pytest.fixture(scope="module")
def examples() -> list[CanonicalExample]:
    return [simulated_example(i, side_px=128, seed=3) for i in range(4)]


@pytest.mark.real
def test_readers_find_every_box(data_root: Path) -> None:
    images = labelled_images(data_root)
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
    # Every published point of a thin-smear field has a box of ours, or the field says otherwise.
    whole = [image for image in by_source["chula_rbc12"] if image.complete]
    assert len(whole) > 80 and len(by_source["chula_rbc12"]) > len(whole)
    for image in whole:
        label = data_root / "chula_rbc12" / "labels" / f"{image.path.stem}.txt"
        points = np.array([line.split()[:2] for line in label.read_text().splitlines()], float)
        inside = np.all(
            (points[:, None] > image.boxes[None, :, :2] - 1)
            & (points[:, None] < image.boxes[None, :, 2:] + 1),
            axis=2,
        )
        assert inside.any(axis=1).mean() > 0.97


@pytest.mark.real
def test_the_split_keeps_groups_whole_and_is_shared_by_no_file(data_root: Path) -> None:
    images = labelled_images(data_root)
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
def test_unlabelled_red_cells_are_doubtful_not_background(data_root: Path) -> None:
    image = next(i for i in labelled_images(data_root) if i.source == "bccd" and len(i.boxes) > 8)
    example = prepare(image)
    doubtful = example.doubt == DOUBTFUL
    assert doubtful.any() and example.complete == {"wbc", "platelet"}
    for x0, y0, x1, y1 in example.boxes:
        cx, cy = int((x0 + x1) / 2), int((y0 + y1) / 2)
        if 0 <= cy < doubtful.shape[0] and 0 <= cx < doubtful.shape[1]:
            assert example.doubt[cy, cx] == KNOWN
    clear = example.codes[..., 1] > 196
    assert not (doubtful & clear).sum() > 0.5 * doubtful.sum()


def test_doubtful_stain_weighs_by_kind_and_configuration() -> None:
    doubt = np.zeros((64, 64), np.uint8)
    doubt[:, 16:32] = DOUBTFUL
    doubt[:, 32:48] = CUT
    doubt[:, 48:] = UNKNOWN
    boxes, kinds = np.empty((0, 4), np.float32), np.empty(0, np.intp)
    _, known, _, _ = targets(boxes, kinds, doubt, frozenset(("wbc",)), 0.25)
    red, white = known[CELL_KINDS.index("rbc")], known[CELL_KINDS.index("wbc")]
    assert (red[:, 4:8] == 0.25).all() and (white[:, 4:8] == 1).all()
    assert (red[:, 8:12] == 0).all() and (white[:, 8:12] == CUT_WEIGHT).all()
    for of_kind in (red, white):
        assert (of_kind[:, :4] == 1).all() and (of_kind[:, 12:] == 0).all()


def test_an_empty_data_root_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds none of the sets"):
        labelled_images(tmp_path)


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
        doubt=np.zeros((160, 200), np.uint8),
        complete=frozenset(CELL_KINDS),
    )
    options = SampleOptions(side_px=128)
    out, boxes, kinds, doubt = crop(example, options, np.random.default_rng(seed))
    assert out.shape == (128, 128, 3) and doubt.shape == (128, 128)
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
        example.boxes,
        example.kinds,
        np.zeros(example.codes.shape[:2], np.uint8),
        example.complete,
        0.0,
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


def test_dirt_is_drawn_on_the_stated_share_and_stays_small_or_grey() -> None:
    drawn = dirt(200, 96, 0.4, torch.Generator().manual_seed(3))
    assert torch.equal(drawn, dirt(200, 96, 0.4, torch.Generator().manual_seed(3)))
    dirty = drawn.flatten(1).amax(dim=1) > 0
    # Some of those chosen get no speck by chance.
    assert 0.25 < dirty.float().mean() < 0.45
    assert drawn.min() >= 0 and drawn.max() < 0.5
    deep = drawn.amax(dim=1) > SPECK_DENSITY[1] * (1 + SPECK_TINT) * 1.5
    red, green, blue = (channel[deep] for channel in drawn.unbind(1))
    assert len(red) > 100
    assert (red / green - 1).abs().median() < 0.1 and (blue / green - 1).abs().median() < 0.1


def test_without_a_share_no_dirt_is_drawn() -> None:
    codes = torch.full((3, 64, 64, 3), 200, dtype=torch.uint8)
    clean = vary_colour(codes, torch.Generator().manual_seed(1))
    assert torch.equal(clean, vary_colour(codes, torch.Generator().manual_seed(1), dirty_share=0.0))
    dirty = vary_colour(codes, torch.Generator().manual_seed(1), dirty_share=1.0)
    assert not torch.equal(clean, dirty)


def test_unknown_places_teach_nothing(examples: list[CanonicalExample]) -> None:
    chances = np.full(len(examples), 1 / len(examples))
    batch = draw_batch(examples, chances, 2, SampleOptions(side_px=96), np.random.default_rng(0))
    blind = dataclasses.replace(
        batch, known=torch.zeros_like(batch.known), weight=torch.zeros_like(batch.weight)
    )
    raw = torch.randn(2, 7, 24, 24, requires_grad=True)
    loss, _ = finder_loss(raw, blind, 1.0)
    torch.autograd.backward(loss)
    assert raw.grad is not None and raw.grad.abs().max() == 0


def tiny_config(**loop: int) -> FinderTrainingConfig:
    return read_config(
        changes={
            "loop": {"batch_size": 4, "warmup_steps": 2, **loop},
            "source_shares": {
                "bccd": 0.0,
                "txl_pbc": 0.0,
                "txl_raabin": 0.0,
                "chula_rbc12": 0.0,
                "simulated": 1.0,
            },
            "model": TINY.model_dump(),
            "crop": {"side_px": 96},
        }
    )


def test_the_finder_learns(examples: list[CanonicalExample], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    losses: list[float] = []
    config = tiny_config(steps=50)
    _, state = train_loop(
        FinderTask(examples, config),
        lambda: CellFinderNet(config.model),
        config,
        tmp_path / "learn",
        Run(progress=lambda _, parts: losses.append(parts["heat"])),
    )
    assert state.step == 50 and losses[-1] < 4.0


def test_configuration_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[loop]\nsteps = 7\n[crop]\nside_px = 64\n")
    config = read_config(own)
    assert config.loop.steps == 7 and config.crop.side_px == 64 and config.crop.zoom_low == 0.75
    own.write_text("[loop]\nstepz = 7\n[crop]\nzide_px = 64\n")
    with pytest.raises(UsageError, match=r"loop.stepz.*crop.zide_px"):
        read_config(own)
    own.write_text("steps = [")
    with pytest.raises(UsageError, match="not a readable TOML"):
        read_config(own)
    with pytest.raises(UsageError, match="loop: field required"):
        configuration_from(FinderTrainingConfig, {})


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


def labelled(source: str, *complete: CellKind) -> LabelledImage:
    return LabelledImage(
        path=Path(f"{source}.png"),
        source=source,
        group=source,
        boxes=np.array([[0, 0, 10, 10]], np.float32),
        kinds=np.array([0], np.intp),
        complete=frozenset(complete),
    )


def test_a_source_left_out_is_gone_and_must_exist() -> None:
    images = [labelled("bccd", "wbc"), labelled("txl_pbc", "rbc"), labelled("chula_rbc12")]
    assert [image.source for image in without(images, "bccd")] == ["txl_pbc", "chula_rbc12"]
    assert without(images, None) == images
    with pytest.raises(UsageError, match="no such source here; there are bccd, chula_rbc12"):
        without(images, "bcd")
    # A partly labelled field can teach, but not judge.
    assert [image.source for image in judged(images)] == ["bccd", "txl_pbc"]


@pytest.mark.real
def test_relabelled_images_keep_the_published_boxes_and_add_ours(data_root: Path) -> None:
    published = [image for image in labelled_images(data_root) if image.source == "bccd"]
    ours = relabelled(published)
    assert len(ours) == 82
    by_name = {image.path: image for image in published}
    for image in ours:
        before = by_name[image.path]
        assert part_of(image.group) != "train" and image.complete == set(CELL_KINDS)
        assert (image.boxes[: len(before.boxes)] == before.boxes).all()
        added = image.boxes[len(before.boxes) :]
        assert (added >= 0).all() and (added[:, 2] <= 640).all() and (added[:, 3] <= 480).all()
        assert (added[:, 2:] > added[:, :2]).all()
        kinds = image.kinds[: len(before.boxes)]
        wrong = np.flatnonzero(kinds != before.kinds)
        if image.path.stem == "BloodImage_00113":
            assert [(before.kinds[i], kinds[i]) for i in wrong] == [(1, 2)]
        else:
            assert len(wrong) == 0
    assert sum(len(i.boxes) for i in ours) > 1.3 * sum(len(by_name[i.path].boxes) for i in ours)


@pytest.mark.real
def test_boxes_added_for_training_are_of_the_training_part_alone(data_root: Path) -> None:
    images = [image for image in labelled_images(data_root) if image.source == "bccd"]
    pairs = list(zip(images, completed(images), strict=True))
    changed = [(before, after) for before, after in pairs if after is not before]
    assert len(changed) > 200
    for before, after in changed:
        assert part_of(before.group) == "train" and after.complete == before.complete
        assert (after.boxes[: len(before.boxes)] == before.boxes).all()
        assert (after.boxes[:, 2:] > after.boxes[:, :2]).all() and (after.boxes >= 0).all()
        # None of ours stands on a box that was published.
        assert box_iou(after.boxes[len(before.boxes) :], before.boxes).max(initial=0) < 0.4
    added = sum(len(after.boxes) - len(before.boxes) for before, after in changed)
    assert added > 0.6 * sum(len(before.boxes) for before, _ in changed)


@pytest.mark.real
def test_fields_by_diagnosis_bear_boxes_in_the_training_part_alone(data_root: Path) -> None:
    images = labelled_images(data_root, ["chula_disease"])
    assert len(images) == 71
    white = CELL_KINDS.index("wbc")
    assert sum(int((image.kinds == white).sum()) for image in images) == 6
    for image in images:
        assert part_of(image.group) == "train" and image.complete == {"wbc", "platelet"}
        assert (image.boxes[:, 2:] > image.boxes[:, :2]).all()


@pytest.mark.real
def test_boxes_by_diagnosis_follow_the_size_of_the_picture(data_root: Path, tmp_path: Path) -> None:
    image = labelled_images(data_root, ["chula_disease"])[0]
    folder = tmp_path / "chula_disease" / image.path.parent.name
    folder.mkdir(parents=True)
    pixels = cv2.imread(str(image.path))
    assert pixels is not None
    half = cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2))
    cv2.imwrite(str(folder / image.path.name), half)
    (smaller,) = labelled_images(tmp_path, ["chula_disease"])
    assert smaller.boxes == pytest.approx(image.boxes / 2, rel=1e-3)


def test_weights_between_two_networks_are_between_them() -> None:
    before, after = CellFinderNet(TINY), CellFinderNet(TINY)
    old = {name: value.clone() for name, value in before.state_dict().items()}
    new = {name: value.clone() for name, value in after.state_dict().items()}
    blend(after, old, 0.25)
    for name, value in after.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, 0.25 * old[name] + 0.75 * new[name], atol=1e-6)
        else:
            assert torch.equal(value, new[name])
    blend(after, old, 1.0)
    for name, value in after.state_dict().items():
        assert torch.allclose(value.float(), old[name].float(), atol=1e-6)


def test_a_narrowed_head_keeps_the_channels_that_speak() -> None:
    """Channels that nothing reads go first: without them the network answers the same."""
    torch.manual_seed(4)
    wide = CellFinderNet(TINY.model_copy(update={"head": 16})).eval()
    spoken = [1, 2, 5, 7, 8, 11, 14, 15]
    silent = [c for c in range(16) if c not in spoken]
    with torch.no_grad():
        for reader in (wide.merge4[0], wide.head[0], wide.output):
            assert isinstance(reader, torch.nn.Conv2d)
            reader.weight[:, silent] = 0.0
    kept = narrowed_head(wide.state_dict(), len(spoken))
    narrow = CellFinderNet(TINY.model_copy(update={"head": len(spoken)})).eval()
    narrow.load_state_dict(kept)
    light = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        assert torch.allclose(narrow.logits(light), wide.logits(light), atol=1e-5)
    same = narrowed_head(wide.state_dict(), 16)
    assert all(torch.equal(value, wide.state_dict()[name]) for name, value in same.items())


def test_a_share_of_the_first_weights_needs_first_weights() -> None:
    config = read_config(changes={"initial_share": 0.5})
    check_initial(config, begun=True)
    with pytest.raises(UsageError, match="give --init"):
        check_initial(config, begun=False)


def test_weights_of_another_shape_are_not_blended() -> None:
    wide = CellFinderNet(TINY.model_copy(update={"head": 32}))
    with pytest.raises(UsageError, match="of the configured model's own shape"):
        blend(CellFinderNet(TINY), wide.state_dict(), 0.5)


def test_export_gates_catch_lost_cells_and_precision() -> None:
    good = {"mAP50": 0.95, "interior_red_cells": 1000.0}
    gates = TASK_GATES["cell_finder"]
    assert problems(gates, good, good, "int8") == []
    assert problems(gates, good, {**good, "mAP50": 0.93}, "int8") == [
        "int8: mAP50 falls by 0.0200, the gate is 0.01"
    ]
    fewer = problems(gates, good, {**good, "interior_red_cells": 900.0}, "fp16")
    assert fewer == ["fp16: red cells move by -10.00%, the gate is 1%"]


@pytest.mark.parametrize("name", sorted(LIGHTS))
def test_lights_only_darken_and_keep_the_frame(name: str) -> None:
    frame = Frame(np.full((40, 60, 3), 200, np.uint8), "clear")
    changed = LIGHTS[name](frame)
    assert changed.pixels.shape == frame.pixels.shape
    assert changed.pixels.max() <= 200 and changed.pixels.mean() < 195


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
