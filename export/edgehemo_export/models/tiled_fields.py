"""What the two ResNet18 of fields share as the exporter sees them: tiles, calibration, entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import (
    Artefact,
    InputSpec,
    KindOperatingPoint,
    Metric,
    ModelEntry,
    ModelTask,
    TrainingEnvelope,
)
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, UINT8_PER_TRANSMITTANCE, canonical_field
from edgehemo.field.tiles import TILE_PX, tiles_of_field
from edgehemo.images.reading import read_frame
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.simulated.tiles import BLOCK_PX, STORED_SIDE_PX, simulated_one
from edgehemo_export.data.smears import smear_images
from edgehemo_export.data.splits import CURRENT, ModelSplit, model_split
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.nets.resnet_fields import (
    FLOAT_LAYERS,
)
from edgehemo_export.quantisation.calibration_set import CalibrationSet, drawn_tiles, listed_images
from edgehemo_export.quantisation.gates import TASK_GATES
from edgehemo_export.quantisation.subject import ExportSubject, HeldOut

# The pictures with analyser results take no part in anything that is fitted.
PAIRED_SOURCE = "anerbc"
# Calibration: real tiles, and simulated ones for the densities that real sets lack.
REAL_CALIBRATION_TILES = 260
TILES_PER_FIELD = 2
SIMULATED_CALIBRATION_FIELDS = 24
# Parity: simulated reference fields, whose content is known, and real ones of the tune part.
PARITY_FIELDS = 24
PARITY_REAL_TILES = 12
CALIBRATION_SEED, PARITY_SEED = 20_261_201, 20_261_202


def tile_input() -> InputSpec:
    """What both models take."""
    return InputSpec(
        height_px=TILE_PX,
        width_px=TILE_PX,
        um_per_px=CANONICAL_UM_PER_PX,
        code_of_transmittance_1=UINT8_PER_TRANSMITTANCE,
    )


def calibration_tiles(
    source: Path, *, split: ModelSplit = CURRENT, seed: int = 0
) -> CalibrationSet:
    """Tiles for int8 calibration: of a data root's training part, of a folder of fields or of a
    manifest, and of the simulated microscope.

    Raises UsageError where too few can be had.
    """
    used, tiles, skipped = drawn_tiles(
        source,
        _calibration_files(source, split),
        lambda field: [tile.codes[0] for tile in tiles_of_field(field)],
        wanted=REAL_CALIBRATION_TILES,
        per_field=TILES_PER_FIELD,
        seed=seed,
    )
    for index in range(SIMULATED_CALIBRATION_FIELDS):
        codes = simulated_one(index, seed=CALIBRATION_SEED).codes[0]
        tiles += [codes[y : y + TILE_PX, x : x + TILE_PX] for y, x in tile_corners()]
    drawn = [f"simulated {CALIBRATION_SEED} {SIMULATED_CALIBRATION_FIELDS}"]
    return CalibrationSet.of(used, tiles, skipped, drawn=drawn)


def _calibration_files(source: Path, split: ModelSplit) -> list[Path]:
    if not source.is_dir():
        return listed_images(source)
    try:
        images = split.select(smear_images(source), "train")
    except UsageError:
        return listed_images(source)
    return [image.path for image in images if image.source != PAIRED_SOURCE]


def tile_corners() -> list[tuple[int, int]]:
    """Four tiles of a stored simulated field that do not overlap, on its grid of blocks."""
    far = (STORED_SIDE_PX - TILE_PX) // BLOCK_PX * BLOCK_PX
    return [(0, 0), (0, far), (far, 0), (far, far)]


def real_tiles(
    root: Path, split: ModelSplit = CURRENT
) -> tuple[list[NDArray[np.uint8]], list[Path]]:
    """A tile of each of some fields of the tune part, over all sets."""
    images = [i for i in split.select(smear_images(root), "tune") if i.source != PAIRED_SOURCE]
    tiles: list[NDArray[np.uint8]] = []
    files: list[Path] = []
    for image in images[:: max(1, len(images) // PARITY_REAL_TILES)]:
        try:
            field = canonical_field(read_frame(image.path))
        except EdgeHemoError:
            continue
        first = next(iter(tiles_of_field(field)), None)
        if first is not None:
            tiles.append(first.codes[0])
            files.append(image.path)
    return tiles, files


def tiled_subject(
    checkpoint: Checkpoint,
    task: ModelTask,
    net: LogitNet,
    classes: Sequence[str],
    held_out: Callable[[Path], HeldOut],
    *,
    points: dict[str, KindOperatingPoint] | None = None,
    estimates: int = 0,
) -> ExportSubject:
    """What both have in common: tiles in, an envelope of their own, heads in float.

    classes: the outputs, in order. points: how an output is read. estimates: see `ExportSubject`.
    """
    record = checkpoint.record
    split = model_split(checkpoint.task, record)

    def entry(artefacts: list[Artefact], checkpoint_sha256: str) -> ModelEntry:
        return ModelEntry(
            name=task,
            task=task,
            input=tile_input(),
            classes=list(classes),
            operating_points=points or {},
            training_envelope=TrainingEnvelope.model_validate(record["training_envelope"]),
            metrics=[Metric.model_validate(metric) for metric in record.get("metrics", [])],
            training_data=record["training_data"],
            checkpoint_sha256=checkpoint_sha256,
            artefacts=artefacts,
        )

    return ExportSubject(
        name=task,
        task=task,
        net=net,
        example=_example(),
        free_size_multiple=None,
        float_layers=FLOAT_LAYERS,
        calibration=lambda source: calibration_tiles(source, split=split),
        held_out=held_out,
        gates=TASK_GATES[task],
        entry=entry,
        estimates=estimates,
    )


def _example() -> NDArray[np.uint8]:
    """A picture with something in it, for tracing."""
    rng = np.random.default_rng(0)
    return rng.integers(90, 210, (1, TILE_PX, TILE_PX, 3), dtype=np.uint8)
