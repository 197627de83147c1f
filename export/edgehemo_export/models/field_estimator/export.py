"""The field estimator as the exporter sees it: tiles whose content is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.estimate.network import ESTIMATOR_OUTPUTS
from edgehemo.field.tiles import TILE_PX
from edgehemo.inference import Runner
from edgehemo.measurands import MEASURANDS
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.simulated.tiles import BLOCK_PX, simulated_one
from edgehemo_export.data.splits import CURRENT, ModelSplit, model_split
from edgehemo_export.models.field_estimator.checkpoint import TASK, estimator_net
from edgehemo_export.models.tiled_fields import (
    PARITY_FIELDS,
    PARITY_SEED,
    real_tiles,
    tile_corners,
    tiled_subject,
)
from edgehemo_export.quantisation.gates import Figures
from edgehemo_export.quantisation.subject import ExportSubject


@dataclass(frozen=True)
class EstimatorHeldOut:
    """Tiles of simulated reference fields with their haemoglobin g/L (n,), and real tiles."""

    tiles: Sequence[NDArray[np.uint8]]
    hgb: NDArray[np.float64]
    real: Sequence[NDArray[np.uint8]]
    files: Sequence[Path]

    @property
    def inputs(self) -> Sequence[NDArray[np.uint8]]:
        return [tile[None] for tile in (*self.real, *self.tiles[:: max(1, len(self.tiles) // 12)])]

    def measure(self, runner: Runner) -> Figures:
        """Mean absolute error of tiles against what they hold, g/L."""
        answers = [float(runner.run(tile[None])[0, 0]) for tile in self.tiles]
        return {"HGB_MAE_g_per_l": float(np.abs(np.array(answers) - self.hgb).mean())}


def estimator_held_out(root: Path, split: ModelSplit = CURRENT) -> EstimatorHeldOut:
    """Simulated tiles that no training saw, and real tiles of the tune part."""
    tiles: list[NDArray[np.uint8]] = []
    hgb: list[float] = []
    blocks = TILE_PX // BLOCK_PX
    for index in range(PARITY_FIELDS):
        made = simulated_one(index, seed=PARITY_SEED, reference=True)
        for y, x in tile_corners():
            tiles.append(np.ascontiguousarray(made.codes[0, y : y + TILE_PX, x : x + TILE_PX]))
            row, column = y // BLOCK_PX, x // BLOCK_PX
            part = made.content[0, row : row + blocks, column : column + blocks, 0]
            hgb.append(float(part.mean()))
    real, files = real_tiles(root, split)
    return EstimatorHeldOut(tiles, np.array(hgb), real, files)


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """A trained field estimator with its data, gates and manifest entry."""
    split = model_split(checkpoint.task, checkpoint.record)
    return tiled_subject(
        checkpoint,
        TASK,
        estimator_net(checkpoint),
        ESTIMATOR_OUTPUTS,
        lambda root: estimator_held_out(root, split),
        estimates=len(MEASURANDS),
    )
