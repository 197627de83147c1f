"""The anaemia screen as the exporter sees it: tiles that PyTorch has called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import (
    KindOperatingPoint,
)
from edgehemo.field.tiles import TILE_PX
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.simulated.tiles import simulated_one
from edgehemo_export.data.splits import CURRENT, ModelSplit, model_split
from edgehemo_export.models.anaemia_screen.checkpoint import TASK, screen_net
from edgehemo_export.models.tiled_fields import (
    PARITY_FIELDS,
    PARITY_SEED,
    real_tiles,
    tile_corners,
    tiled_subject,
)
from edgehemo_export.nets.resnet_fields import (
    SCREEN_CLASSES,
    AnaemiaScreenNet,
)
from edgehemo_export.nets.torch_runner import TorchRunner
from edgehemo_export.quantisation.gates import Figures
from edgehemo_export.quantisation.subject import ExportSubject

# Tiles that PyTorch itself places this near one half may be called either way.
UNDECIDED = 0.02


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
        decided = np.abs(self.reference - 0.5) > UNDECIDED
        agree = (found > 0.5) == (self.reference > 0.5)
        return {
            "agreement": float(agree[decided].mean()) if decided.any() else 1.0,
            "probability_shift": float(np.abs(found - self.reference).mean()),
        }


def screen_held_out(
    root: Path, net: AnaemiaScreenNet, split: ModelSplit = CURRENT
) -> ScreenHeldOut:
    """Real tiles of the tune part and simulated ones."""
    tiles, files = real_tiles(root, split)
    for index in range(PARITY_FIELDS):
        codes = simulated_one(index, seed=PARITY_SEED).codes[0]
        tiles += [
            np.ascontiguousarray(codes[y : y + TILE_PX, x : x + TILE_PX])
            for y, x in tile_corners()[:2]
        ]
    runner = TorchRunner(net)
    reference = np.array([float(runner.run(tile[None])[0, 1]) for tile in tiles])
    return ScreenHeldOut(tiles, reference, files)


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """A trained screen with its data, gates and manifest entry."""
    net = screen_net(checkpoint)
    point = KindOperatingPoint.model_validate(checkpoint.record["operating_point"])
    split = model_split(checkpoint.task, checkpoint.record)
    return tiled_subject(
        checkpoint,
        TASK,
        net,
        SCREEN_CLASSES,
        lambda root: screen_held_out(root, net, split),
        points={SCREEN_CLASSES[1]: point},
    )
