"""Crops of drawn discs, and the configuration of a classifier small enough to train in a test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import ClassifierConfig

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
