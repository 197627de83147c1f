"""Cell classifiers without a network: what a manifest says of one, and one that is always sure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import (
    ConformalRule,
    Confusion,
    FamiliarityRule,
    InputSpec,
    ModelEntry,
    ModelTask,
)

SIDE = 16
CLASSES = ["red", "green", "blue", "other"]
TYPES = CLASSES[:3]


def entry(
    task: ModelTask = "nucleated",
    *,
    thresholds: dict[str, float] | None = None,
    confusion: Confusion | None = None,
    um_per_px: float | None = 0.25,
    side: int | None = SIDE,
    familiarity: FamiliarityRule | None = None,
    classes: Sequence[str] = CLASSES,
) -> ModelEntry:
    """A classifier of three types that are colours, and what is none of them."""
    rule = None
    if thresholds is not None:
        rule = ConformalRule(coverage=0.9, thresholds=thresholds, cells=100)
    return ModelEntry(
        name=task,
        task=task,
        input=InputSpec(
            height_px=side, width_px=side, um_per_px=um_per_px, code_of_transmittance_1=200.0
        ),
        classes=list(classes),
        rejects=["other"],
        conformal=rule,
        confusion=confusion,
        familiarity=familiarity,
        training_data=["made in a test"],
        checkpoint_sha256="0" * 64,
        artefacts=[],
    )


class AlwaysRed:
    """A morphology model that calls every cell red."""

    name, version = "red", "1"

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array([[0.97, 0.01, 0.01, 0.01]], np.float32), (len(codes), 1))
