"""What the exporter needs to know of a cell classifier: calibration crops, gates, entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Artefact, Confusion, InputSpec, Metric, ModelEntry
from edgehemo.cells.crops import canonical_crop
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo.images.reading import read_frame
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.splits import CURRENT, ModelSplit, model_split
from edgehemo_export.models.classifiers.checkpoint import (
    as_learnt,
    classifier_net,
    stored_config,
    stored_familiarity,
    stored_rule,
)
from edgehemo_export.models.classifiers.predictions import predict, predicted_by
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import ClassifierConfig, macro_f1
from edgehemo_export.nets.architecture_table import architecture
from edgehemo_export.quantisation.calibration_set import (
    MIN_SAMPLES,
    CalibrationSet,
    listed_images,
    shows_nothing,
)
from edgehemo_export.quantisation.gates import TASK_GATES, Figures
from edgehemo_export.quantisation.subject import ExportSubject

# Samples for int8 calibration, and kept-out crops that judge an artefact.
CALIBRATION_CROPS = 320
PARITY_CROPS = 600
PARITY_INPUTS = 16


@dataclass(frozen=True)
class ClassifierHeldOut:
    """Kept-out crops of the tune part that judge an artefact."""

    crops: CellCrops
    side_px: int
    reference: NDArray[np.intp]
    known: NDArray[np.bool_] | None = None
    cell_from: float = 0.0

    @property
    def files(self) -> Sequence[Path]:
        return list(dict.fromkeys(self.crops.files))

    @property
    def inputs(self) -> Sequence[NDArray[np.uint8]]:
        codes = self.crops.middle(self.side_px)
        step = max(1, len(codes) // PARITY_INPUTS)
        return [codes[i : i + 1] for i in range(0, len(codes), step)][:PARITY_INPUTS]

    def measure(self, runner: Runner) -> Figures:
        """Accuracy, macro F1, and how many crops are named, and known, as PyTorch does."""
        answers = predict(runner, self.crops.middle(self.side_px))
        names = answers[:, : len(self.crops.classes)].argmax(axis=1)
        labels = self.crops.labels
        known = 1.0
        if self.known is not None:
            known = float(((answers[:, -1] >= self.cell_from) == self.known).mean())
        return {
            "accuracy": float((names == labels).mean()),
            "macro_F1": macro_f1(labels, names, len(self.crops.classes)),
            "agreement": float((names == self.reference).mean()),
            "known_alike": known,
        }


def classifier_subject(spec: ClassifierSpec, checkpoint: Checkpoint) -> ExportSubject:
    """The classifier with its data, gates and manifest entry, for the exporter."""
    spec = as_learnt(spec, checkpoint)
    net = classifier_net(spec, checkpoint)
    config = stored_config(checkpoint)
    record = checkpoint.record
    side = config.crop.side_px
    split = model_split(checkpoint.task, record)

    def held_out(root: Path) -> ClassifierHeldOut:
        crops = spec.build(root, config, None).part("tune", split)
        crops = crops.without(record.get("left_out"))
        chosen = _spread(len(crops), PARITY_CROPS)
        crops = crops.where(chosen)
        predicted = predicted_by(net, crops, side)
        rule = stored_familiarity(checkpoint)
        return ClassifierHeldOut(
            crops,
            side,
            predicted.probabilities.argmax(axis=1),
            predicted.known(rule),
            0.0 if rule is None else rule.cell_from,
        )

    def entry(artefacts: list[Artefact], checkpoint_sha256: str) -> ModelEntry:
        tables = record.get("tables", {}).get("confusion", {})
        counts = tables.get("all") or record["tune_confusion"]["counts"]
        return ModelEntry(
            name=spec.task,
            task=spec.task,
            input=InputSpec(
                height_px=side,
                width_px=side,
                um_per_px=config.crop.um_per_px,
                code_of_transmittance_1=UINT8_PER_TRANSMITTANCE,
            ),
            classes=list(spec.classes),
            rejects=list(spec.rejects),
            conformal=stored_rule(checkpoint),
            familiarity=stored_familiarity(checkpoint),
            confusion=Confusion(counts=counts),
            metrics=[Metric.model_validate(m) for m in record.get("metrics", [])],
            training_data=record["training_data"],
            checkpoint_sha256=checkpoint_sha256,
            artefacts=artefacts,
        )

    return ExportSubject(
        name=spec.task,
        task=spec.task,
        net=net,
        example=_example(side),
        free_size_multiple=None,
        float_layers=() if net.familiarity is None else ("familiarity",),
        calibration=lambda source: calibration_crops(spec, config, source, split=split),
        held_out=held_out,
        gates=TASK_GATES[spec.task],
        entry=entry,
        precisions=architecture(config.model.architecture).precisions,
        why_not=architecture(config.model.architecture).why_not,
    )


def calibration_crops(
    spec: ClassifierSpec,
    config: ClassifierConfig,
    source: Path,
    *,
    split: ModelSplit = CURRENT,
    seed: int = 0,
) -> CalibrationSet:
    """Crops for int8 calibration: of a data root's training part, or of a folder of pictures that
    hold one cell each. Raises UsageError where there are too few.
    """
    side = config.crop.side_px
    skipped: list[str] = []
    try:
        crops = spec.build(source, config, None).part("train", split)
        chosen = np.random.default_rng(seed).permutation(len(crops))[:CALIBRATION_CROPS]
        mask = np.zeros(len(crops), np.bool_)
        mask[chosen] = True
        crops = crops.where(mask)
        files = list(dict.fromkeys(crops.files))
        tiles = list(crops.middle(side))
    except UsageError:
        files, tiles = [], []
        for path in listed_images(source)[:CALIBRATION_CROPS]:
            try:
                pixels = read_frame(path).pixels
                if shows_nothing(pixels):
                    skipped.append(f"{path.name}: shows nothing but one even colour")
                    continue
                tiles.append(
                    canonical_crop(pixels, None, side, crop_um_per_px=config.crop.um_per_px)
                )
                files.append(path)
            except EdgeHemoError as error:
                skipped.append(str(error))
    if len(tiles) < MIN_SAMPLES:
        raise UsageError(
            f"{source}: only {len(tiles)} crops for the int8 calibration of {spec.task}; give a "
            f"data root, or a folder of at least {MIN_SAMPLES} pictures of one cell each"
        )
    return CalibrationSet.of(files, tiles, skipped)


def _spread(count: int, wanted: int) -> NDArray[np.bool_]:
    """Every so-manieth of ``count`` items, bool (count,)."""
    mask = np.zeros(count, np.bool_)
    mask[np.linspace(0, count - 1, min(count, wanted)).astype(int)] = True
    return mask


def _example(side: int) -> NDArray[np.uint8]:
    """A crop with something in it, for tracing."""
    example = np.full((1, side, side, 3), round(UINT8_PER_TRANSMITTANCE), np.uint8)
    middle = slice(side // 4, side - side // 4)
    drawn = np.random.default_rng(0).integers(60, 220, (side, side, 3)).astype(np.uint8)
    example[0, middle, middle] = drawn[middle, middle]
    return example
