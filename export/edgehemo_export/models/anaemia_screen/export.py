"""What the export asks of the anaemia screen: its held-out tiles, its gate, its subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import (
    KindOperatingPoint,
    Precision,
)
from edgehemo.field.tiles import TILE_PX
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.simulated_tiles import simulated_one
from edgehemo_export.models.field_estimator.export import (
    AGREEMENT_GATE,
    PARITY_FIELDS,
    PARITY_SEED,
    fields_subject,
    real_tiles,
    tile_corners,
)
from edgehemo_export.nets.resnet_fields import (
    SCREEN_CLASSES,
    AnaemiaScreenNet,
)
from edgehemo_export.quantisation.subject import ExportSubject, Figures

PROBABILITY_GATE = 0.02


@dataclass(frozen=True)
class ScreenHeldOut:
    """Tiles with PyTorch's probabilities of the second class (n,)."""

    tiles: Sequence[NDArray[np.uint8]]
    reference: NDArray[np.float64]
    files: Sequence[Path]

    @property
    def inputs(self) -> Sequence[NDArray[np.uint8]]:
        return [tile[None] for tile in self.tiles]

    def measure(self, runner: Runner) -> Figures:
        """How many tiles are called as PyTorch calls them, and how far probabilities move."""
        found = np.array([float(runner.run(tile[None])[0, 1]) for tile in self.tiles])
        decided = np.abs(self.reference - 0.5) > PROBABILITY_GATE
        agree = (found > 0.5) == (self.reference > 0.5)
        return {
            "agreement": float(agree[decided].mean()) if decided.any() else 1.0,
            "probability_shift": float(np.abs(found - self.reference).mean()),
        }


def screen_held_out(root: Path, net: AnaemiaScreenNet) -> ScreenHeldOut:
    """Real tiles of the tune part and simulated ones."""
    from edgehemo_export.nets.torch_runner import TorchRunner

    tiles, files = real_tiles(root)
    for index in range(PARITY_FIELDS):
        codes = simulated_one(index, seed=PARITY_SEED).codes[0]
        tiles += [
            np.ascontiguousarray(codes[y : y + TILE_PX, x : x + TILE_PX])
            for y, x in tile_corners()[:2]
        ]
    runner = TorchRunner(net)
    reference = np.array([float(runner.run(tile[None])[0, 1]) for tile in tiles])
    return ScreenHeldOut(tiles, reference, files)


def screen_problems(pytorch: Figures, artefact: Figures, precision: Precision) -> list[str]:
    """One line for each gate an artefact of the screen fails."""
    found = []
    if artefact["agreement"] < AGREEMENT_GATE:
        found.append(
            f"{precision}: calls {artefact['agreement']:.1%} of the tiles as PyTorch does, the "
            f"gate is {AGREEMENT_GATE:.1%}"
        )
    if artefact["probability_shift"] > PROBABILITY_GATE:
        found.append(
            f"{precision}: probabilities move by {artefact['probability_shift']:.3f}, the gate "
            f"is {PROBABILITY_GATE}"
        )
    return found


def screen_subject(
    checkpoint: Checkpoint, net: AnaemiaScreenNet, point: KindOperatingPoint
) -> ExportSubject:
    """The anaemia screen with its data, gates and manifest entry."""
    return fields_subject(
        checkpoint,
        "anaemia_screen",
        net,
        SCREEN_CLASSES,
        lambda root: screen_held_out(root, net),
        screen_problems,
        {SCREEN_CLASSES[1]: point},
    )
