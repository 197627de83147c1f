"""The cell finder as the exporter sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import (
    Artefact,
    KindOperatingPoint,
    Metric,
    ModelEntry,
    TrainingEnvelope,
)
from edgehemo.cells.cell import CELL_KINDS
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CLEAR_FIELD_CODE, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.relabels import LabelledImage, labelled_images
from edgehemo_export.data.splits import CURRENT, ModelSplit, model_split
from edgehemo_export.models.finder.checkpoint import TASK, finder_net, operating_points
from edgehemo_export.models.finder.evaluation import (
    bare_finder,
    examine,
    expected_red_cells,
    finder_input,
    measure,
)
from edgehemo_export.nets.architectures import FINDER_MULTIPLE
from edgehemo_export.quantisation.calibration_set import read_calibration_set
from edgehemo_export.quantisation.gates import TASK_GATES, Figures
from edgehemo_export.quantisation.subject import ExportSubject

# The parity is measured on at most this many kept-out images of each source.
PARITY_IMAGES = 40
# Numerical parity is looked at on this many of them.
PARITY_INPUTS = 8


@dataclass(frozen=True)
class FinderHeldOut:
    """Labelled images of the tune part, measured through any runner."""

    images: Sequence[LabelledImage]
    points: dict[str, KindOperatingPoint]

    @property
    def files(self) -> Sequence[Path]:
        return [image.path for image in self.images]

    @property
    def inputs(self) -> Sequence[NDArray[np.uint8]]:
        step = max(1, len(self.images) // PARITY_INPUTS)
        return [_whole_input(image) for image in self.images[::step][:PARITY_INPUTS]]

    def measure(self, runner: Runner) -> Figures:
        """mAP50 (mean over sources) and the expected number of red cells in all interiors."""
        examined = examine(self.images, bare_finder(runner, FINDER_MULTIPLE))
        maps = [m.value for m in measure(examined, self.points, rounds=0) if m.name == "mAP50"]
        return {
            "mAP50": float(np.mean(maps)),
            "interior_red_cells": float(expected_red_cells(examined, self.points).sum()),
        }


def held_out_images(root: Path, split: ModelSplit = CURRENT) -> list[LabelledImage]:
    """Images of the tune part that judge an artefact, a few of each source."""
    images = [image for image in split.select(labelled_images(root), "tune") if image.complete]
    if not images:
        raise UsageError(f"{root}: the tune part of its split holds no image to check parity on")
    out: list[LabelledImage] = []
    for source in sorted({image.source for image in images}):
        out += [image for image in images if image.source == source][:PARITY_IMAGES]
    return out


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """A trained finder with its data, gates and manifest entry."""
    record = checkpoint.record
    points = operating_points(checkpoint)
    split = model_split(checkpoint.task, record)

    def entry(artefacts: list[Artefact], checkpoint_sha256: str) -> ModelEntry:
        return ModelEntry(
            name=TASK,
            task=TASK,
            input=finder_input(FINDER_MULTIPLE),
            classes=list(CELL_KINDS),
            operating_points=points,
            training_envelope=TrainingEnvelope.model_validate(record["training_envelope"]),
            metrics=[Metric.model_validate(metric) for metric in record.get("metrics", [])],
            training_data=record["training_data"],
            checkpoint_sha256=checkpoint_sha256,
            artefacts=artefacts,
        )

    return ExportSubject(
        name=TASK,
        task=TASK,
        net=finder_net(checkpoint),
        example=_example(),
        free_size_multiple=FINDER_MULTIPLE,
        float_layers=(),
        calibration=lambda source: read_calibration_set(source, split=split),
        held_out=lambda root: FinderHeldOut(held_out_images(root, split), points),
        gates=TASK_GATES[TASK],
        entry=entry,
    )


def _example() -> NDArray[np.uint8]:
    """A picture with something in it, for tracing; any size that is a multiple of the step."""
    example = np.full((1, 256, 320, 3), CLEAR_FIELD_CODE, np.uint8)
    example[:, 64:160, 64:200] = np.random.default_rng(0).integers(60, 220, (96, 136, 3))
    return example


def _whole_input(image: LabelledImage) -> NDArray[np.uint8]:
    """The canonical field of an image, its sides cut to the network's step, uint8 (1, h, w, 3)."""
    codes = canonical_field(read_frame(image.path)).to_uint8()
    height, width = (side // FINDER_MULTIPLE * FINDER_MULTIPLE for side in codes.shape[:2])
    return np.ascontiguousarray(codes[None, :height, :width])
