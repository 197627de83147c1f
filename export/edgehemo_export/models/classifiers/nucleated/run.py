"""`edgehemo train nucleated` and `edgehemo evaluate`: nine types of nucleated cells and platelets.

What it is of a crop's own is here; the rest is shared by all classifiers (`classifiers.run`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Metric
from edgehemo.cells.crops import canonical_crop
from edgehemo.images.reading import read_frame
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.configuration import CONFIGS, read_configuration
from edgehemo_export.data.cell_crops import CellCrops, cached_codes
from edgehemo_export.data.cell_masks import middle_cells
from edgehemo_export.data.splits import Part
from edgehemo_export.evaluation import card_parts
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.evaluation import (
    Predicted,
    measure,
    predict_net,
    share_metric,
)
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.nucleated.data import (
    DEFAULT_SETS,
    NUCLEATED_CLASSES,
    OTHER,
    WHITE_CELL_TYPES,
    nucleated_crops,
    unnamed_white_cells,
    unseen_white_cells,
)
from edgehemo_export.models.classifiers.nucleated.exchanged_backgrounds import (
    SHARED_CLASS,
    exchange_metrics,
    stain_gains,
)
from edgehemo_export.models.classifiers.run import described, train_classifier
from edgehemo_export.models.classifiers.specification import (
    ClassifierSpec,
    classifier_net,
    kept_out,
    stored_config,
    stored_rule,
)
from edgehemo_export.models.classifiers.training import ClassifierConfig, with_stain
from edgehemo_export.nets.classifier_nets import ClassifierNet
from edgehemo_export.quantisation.subject import ExportSubject
from edgehemo_export.training.loop import Run

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]

DEFAULT_CONFIG = CONFIGS / "nucleated.toml"
# The two scanners between which surroundings are exchanged, and the class that only one has.
SCANNERS = ("pbc", "lmu")
CONFOUNDED = "myeloblast"


def build(data: Path, config: ClassifierConfig, cache: Path | None) -> CellCrops:
    """The crops of the configured sets."""
    return nucleated_crops(data, config.crop, cache, config.sets or DEFAULT_SETS)


def masks_of(crops: CellCrops, cache: Path | None) -> NDArray[np.bool_]:
    """The middle cell of each crop, bool (n, s, s)."""

    def make() -> NDArray[np.uint8]:
        return middle_cells(crops.codes, crops.um_per_px).astype(np.uint8)

    key = f"masks/2/{crops.codes.shape}/{crops.um_per_px}/{'/'.join(crops.names)}"
    return cached_codes(key, list(dict.fromkeys(crops.files)), make, cache).astype(np.bool_)


def gains_between_scanners(
    crops: CellCrops, masks: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """PBC's stain as LMU's and back, from training crops of the class they share; none where a
    set is missing. Red cells beside PBC's white cells are PBC's too."""
    shared = crops.labels == crops.classes.index(SHARED_CLASS)
    if not all((crops.sources[shared] == scanner).any() for scanner in SCANNERS):
        return {}
    found = {
        own: stain_gains(crops, masks, own, other) for own, other in (SCANNERS, SCANNERS[::-1])
    }
    return {**found, "txl_pbc": found["pbc"]}


SPEC = ClassifierSpec(
    task="nucleated",
    title="Nucleated cells and platelets",
    says=(
        "Names the type of the nucleated cell or platelet in the middle of a picture, or says "
        "that there is none (`other`)."
    ),
    classes=NUCLEATED_CLASSES,
    rejects=(OTHER,),
    build=build,
    masks=masks_of,
    stain_gains=gains_between_scanners,
    refinement=f"{CONFIGS.name}/nucleated_refine.toml",
    unnamed=lambda data, config, cache: unnamed_white_cells(data, config.crop, cache),
    unnamed_classes=WHITE_CELL_TYPES,
    licences={
        "pbc": "PBC Barcelona (Acevedo et al. 2020), CC BY 4.0",
        "lmu": "AML-Cytomorphology LMU (Matek et al. 2019) as re-published, CC BY 4.0",
        "three_class": "PBC Barcelona and LMU as above, CC BY 4.0",
        "chula_rbc12": "Chula RBC-12 (Chula-PIC-Lab), MIT: red cells and empty places",
        "bccd": "BCCD (Shenggan/BCCD_Dataset), MIT: red cells, empty places, untyped white cells",
        "txl_pbc": "TXL-PBC crops of PBC Barcelona, MIT and CC BY 4.0: red cells, empty places",
    },
    never_tested=(
        "promyelocytes, plasma cells, blasts other than myeloblasts, smudge cells",
        "myeloblasts of any scanner but LMU's",
    ),
)


def read_config(
    path: Path | None = None, changes: Mapping[str, Any] | None = None
) -> ClassifierConfig:
    """The shipped configuration, single keys overridden; see `configuration`."""
    return read_configuration(ClassifierConfig, DEFAULT_CONFIG, path, changes)


def run_training(
    data: Path,
    config: ClassifierConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """See `tasks.TaskModule`."""
    return train_classifier(SPEC, data, config, work, run)


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Metrics by source; with surroundings exchanged; with the scale estimated; and on Raabin's
    white cells, a microscope never trained on."""
    net = classifier_net(SPEC, checkpoint)
    config = stored_config(checkpoint)
    side = config.crop.side_px
    every = build(data, config, None)
    crops = kept_out(checkpoint, every, part)
    predicted = Predicted(crops, predict_net(net, crops.middle(side)))
    found = described(SPEC, checkpoint, predicted)
    metrics = list(found.metrics)
    if checkpoint.record.get("left_out") is not None:
        return dataclasses.replace(found, metrics=metrics)
    single = np.isin(crops.sources, SCANNERS)
    if {str(s) for s in crops.sources[single]} == set(SCANNERS):
        metrics += _exchanged(net, every, crops.where(single), side)
    if (crops.sources == "pbc").any():
        metrics += _estimated_scale(net, checkpoint, crops.only("pbc"))
    crop = config.crop
    if (data / "txl_pbc").is_dir():
        raabin = unseen_white_cells(data, crop, None)
        metrics += _seen_as_white(net, raabin, side, "raabin (never trained on)")
    unnamed = unnamed_white_cells(data, crop, None).part(part)
    if len(unnamed):
        metrics += _seen_as_white(net, unnamed, side, "bccd, white cells without types")
    return dataclasses.replace(found, metrics=metrics)


def _exchanged(net: ClassifierNet, every: CellCrops, crops: CellCrops, side: int) -> list[Metric]:
    """The stain's gains come from the training part, the figures from the kept-out cells."""
    known = every.part("train")
    shared = known.where(known.labels == NUCLEATED_CLASSES.index(SHARED_CLASS))
    shared_masks = masks_of(shared, None)
    gains = gains_between_scanners(shared, shared_masks)
    return exchange_metrics(
        crops,
        masks_of(crops, None),
        SCANNERS,
        lambda codes, own: with_stain(codes, gains[own]),
        lambda codes: predict_net(net, codes),
        side,
        target=CONFOUNDED,
        other=OTHER,
    )


def _estimated_scale(net: ClassifierNet, checkpoint: Checkpoint, crops: CellCrops) -> list[Metric]:
    """PBC's kept-out cells with the scale estimated, as `edgehemo classify` does without one."""
    crop = stored_config(checkpoint).crop
    codes = np.stack(
        [
            canonical_crop(
                read_frame(path).pixels, None, crop.side_px, crop_um_per_px=crop.um_per_px
            )
            for path in crops.files
        ]
    )
    again = dataclasses.replace(crops, codes=codes)
    predicted = Predicted(again, predict_net(net, codes))
    wanted = ("accuracy", "macro F1", "named (not uncertain)", "accuracy of the named")
    every = measure(predicted, stored_rule(checkpoint), "pbc, scale estimated")
    return [metric for metric in every if metric.name in wanted]


def _seen_as_white(net: ClassifierNet, cells: CellCrops, side: int, source: str) -> list[Metric]:
    """White cells whose types are not published: how many are seen to be white cells."""
    names = predict_net(net, cells.middle(side)).argmax(axis=1)
    white = np.isin(NUCLEATED_CLASSES, WHITE_CELL_TYPES)
    return [
        share_metric(
            "white cells not taken for other", source, names != NUCLEATED_CLASSES.index(OTHER)
        ),
        share_metric("white cells named a white cell", source, white[names]),
    ]


def card(checkpoint: Checkpoint) -> str:
    """The model card, from the checkpoint's record."""
    more = card_parts.section("How it came about", checkpoint.record.get("lineage", []))
    more += card_parts.section(
        "The scanner must not give the class away",
        "Myeloblasts come from LMU's scanner alone. `surroundings exchanged`: each kept-out cell "
        "of PBC and LMU is cut out and set into surroundings of the other set; `stain exchanged`: "
        "it takes the other set's stain too, by the ratio of the two sets' neutrophils; `cell "
        "removed`: the surroundings with the cell replaced by clear field. A quarter of the "
        "training crops had their surroundings exchanged as well.",
    )
    return classifier_card(SPEC, checkpoint, more=more)


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """What the exporter needs to know of the model."""
    return classifier_subject(SPEC, checkpoint)
