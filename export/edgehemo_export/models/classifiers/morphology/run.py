"""`edgehemo train morphology` and `edgehemo evaluate`: thirteen types of red cells.

What it is of a crop's own is here; the rest is shared by all classifiers (`classifiers.run`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.manifest import Artefact, Confusion, Metric, ModelEntry
from edgehemo.cells.crops import crops_at
from edgehemo.cells.finder import open_cell_finder
from edgehemo.cells.shares import type_shares
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CLEAR_FIELD_CODE, canonical_field
from edgehemo.images.reading import images_in, read_frame
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.configuration import CONFIGS, read_configuration
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.readers import bccd, chula_disease, txl_pbc
from edgehemo_export.data.splits import Part, part_of
from edgehemo_export.evaluation import card_parts
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.models.classifiers.card import classifier_card
from edgehemo_export.models.classifiers.evaluation import (
    Predicted,
    marginal_rule,
    measure,
    named,
    predict_net,
)
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.morphology.data import (
    LICENCE,
    MORPHOLOGY_CLASSES,
    SOURCE,
    cells_of_field,
    morphology_crops,
    read_labelled_fields,
    unnamed_red_cells,
)
from edgehemo_export.models.classifiers.run import described, train_classifier
from edgehemo_export.models.classifiers.specification import (
    ClassifierSpec,
    classifier_net,
    kept_out,
    stored_config,
    stored_rule,
)
from edgehemo_export.models.classifiers.training import ClassifierConfig, macro_f1
from edgehemo_export.nets.classifier_nets import ClassifierNet
from edgehemo_export.quantisation.subject import ExportSubject
from edgehemo_export.training.loop import Run

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]

DEFAULT_CONFIG = CONFIGS / "morphology.toml"
# Macro F1 is also given over the types with at least this many kept-out cells.
ENOUGH_CELLS = 50
# Errors of the scale at which the kept-out cells are read again.
SCALE_ERRORS = (-0.08, -0.05, 0.05, 0.08)


def build(data: Path, config: ClassifierConfig, cache: Path | None) -> CellCrops:
    """The labelled red cells of a data root."""
    return morphology_crops(data, config.crop, cache)


SPEC = ClassifierSpec(
    task="morphology",
    title="Red-cell morphology",
    says=(
        "Names the type of the red cell in the middle of a picture. Size counts: the picture's "
        "scale must be known or measured."
    ),
    classes=MORPHOLOGY_CLASSES,
    rejects=(),
    build=build,
    masks=None,
    licences={
        SOURCE: LICENCE,
        bccd.SOURCE: "BCCD (Shenggan/BCCD_Dataset), MIT",
        chula_disease.SOURCE: "Chula fields by diagnosis (Chula-PIC-Lab), MIT",
        txl_pbc.SOURCE: "TXL-PBC crops of PBC Barcelona (Acevedo et al. 2020), MIT and CC BY 4.0",
    },
    # With thresholds type by type the types that are often mistaken for one another would be in
    # nearly every cell's set, and nine cells in ten `uncertain` (measured on the tune part).
    rule=marginal_rule,
    rule_says="all types together",
    pupil=f"{CONFIGS.name}/morphology_pupil.toml",
    unnamed=lambda data, config, cache: unnamed_red_cells(data, config.crop, cache),
    unnamed_classes=MORPHOLOGY_CLASSES,
    never_tested=(
        "any microscope, camera or laboratory but the one of Chula RBC-12: there is one labelled "
        "source, so leaving a source out is not possible; what is kept out are whole blocks of "
        "fields",
        "sickle cells, acanthocytes and other types outside the thirteen",
        "elliptocytes of any slide but the two blocks of fields that hold nearly all of them",
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
    """Metrics at the microscope's own scale, with errors of the scale, and with the scale
    estimated field by field; and what is seen in fields of known diagnosis."""
    net = classifier_net(SPEC, checkpoint)
    side = stored_config(checkpoint).crop.side_px
    crops = kept_out(checkpoint, build(data, stored_config(checkpoint), None), part)
    predicted = Predicted(crops, predict_net(net, crops.middle(side)))
    found = described(SPEC, checkpoint, predicted)
    metrics = [*found.metrics, *macro_metrics(predicted, SOURCE)]
    for error in SCALE_ERRORS:
        codes = misread_scale(crops.codes, 1.0 + error, side)
        wrong = Predicted(crops, predict_net(net, codes))
        metrics += _briefly(wrong, checkpoint, f"{SOURCE}, scale {error:+.0%}")
    estimated = _estimated_scale(net, checkpoint, data, part, crops)
    metrics += _briefly(estimated, checkpoint, f"{SOURCE}, scale from the red cells")
    tables = {**found.tables, "blocks": accuracy_by_block(predicted)}
    if (data / chula_disease.SOURCE).is_dir():
        tables["diagnoses"] = diagnosis_shares(net, checkpoint, data / chula_disease.SOURCE)
    return dataclasses.replace(found, metrics=metrics, tables=tables)


def macro_metrics(predicted: Predicted, source: str) -> list[Metric]:
    """Macro F1 over the types with `ENOUGH_CELLS` kept-out cells; every cell takes part."""
    labels, names = predicted.labels, predicted.probabilities.argmax(axis=1)
    counts = np.bincount(labels, minlength=len(MORPHOLOGY_CLASSES))
    enough = counts >= ENOUGH_CELLS
    if not enough.any():
        return []
    from sklearn.metrics import f1_score

    value = f1_score(
        labels, names, labels=np.flatnonzero(enough), average="macro", zero_division=0.0
    )
    name = f"macro F1 of the {enough.sum()} types with {ENOUGH_CELLS} cells or more"
    return [Metric(name=name, source=source, value=float(value), images=int(counts[enough].sum()))]


def misread_scale(codes: NDArray[np.uint8], factor: float, side: int) -> NDArray[np.uint8]:
    """Crops as they would look had the scale been read ``factor`` too large.

    codes: uint8 (n, s, s, 3). Returns uint8 (n, side, side, 3): cells ``factor`` times as wide.
    """
    stored = codes.shape[1]
    middle, own = (stored - 1) / 2, (side - 1) / 2
    matrix = np.array(
        [[1 / factor, 0, middle - own / factor], [0, 1 / factor, middle - own / factor]]
    )
    out = [
        cv2.warpAffine(
            crop,
            matrix,
            (side, side),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(CLEAR_FIELD_CODE,) * 3,
        )
        for crop in codes
    ]
    return np.asarray(out, np.uint8).reshape(-1, side, side, 3)


def accuracy_by_block(predicted: Predicted) -> list[dict[str, Any]]:
    """How good each kept-out block of fields is read, none of which was trained on."""
    right = predicted.probabilities.argmax(axis=1) == predicted.labels
    rows: list[dict[str, Any]] = []
    for group in sorted(set(predicted.crops.groups.tolist())):
        here = predicted.crops.groups == group
        common = np.bincount(predicted.labels[here], minlength=len(MORPHOLOGY_CLASSES)).argmax()
        rows.append(
            {
                "block": group,
                "cells": int(here.sum()),
                "commonest": MORPHOLOGY_CLASSES[int(common)],
                "accuracy": float(right[here].mean()),
                "macro_F1": macro_f1(
                    predicted.labels[here],
                    predicted.probabilities[here].argmax(axis=1).astype(np.intp),
                    len(MORPHOLOGY_CLASSES),
                ),
            }
        )
    return rows


def diagnosis_shares(
    net: ClassifierNet, checkpoint: Checkpoint, folder: Path
) -> list[dict[str, Any]]:
    """Corrected shares of the types in fields of each diagnosis, cells found by the shipped finder.

    The cells bear no labels: this shows only whether the types that make a diagnosis stand out.
    """
    config, rule = stored_config(checkpoint).crop, stored_rule(checkpoint)
    finder = open_cell_finder(load_bundle(), threads=1)
    confusion = Confusion.model_validate(checkpoint.record["tune_confusion"])
    rows: list[dict[str, Any]] = []
    for diagnosis in sorted(path for path in folder.iterdir() if path.is_dir()):
        names = np.zeros(len(MORPHOLOGY_CLASSES) + 1, np.int64)
        likeliest = np.zeros(len(MORPHOLOGY_CLASSES), np.int64)
        paths = images_in([diagnosis])
        for path in paths:
            frame = read_frame(path)
            field = canonical_field(frame, um_per_px=chula_disease.WIDTH_UM / frame.width)
            across, down = field.frame_px_per_canonical_px
            centres = np.array(
                [c.centre for c in finder.find(field).of_kind("rbc")], np.float32
            ).reshape(-1, 2) / np.array([across, down], np.float32)
            if not len(centres):
                continue
            crops = crops_at(
                field.to_uint8(),
                centres.astype(np.float32),
                config.side_px,
                field_px_per_crop_px=config.um_per_px / CANONICAL_UM_PER_PX,
            )
            p = predict_net(net, crops)
            np.add.at(names, named(p, MORPHOLOGY_CLASSES, rule), 1)
            np.add.at(likeliest, p.argmax(axis=1), 1)
        shares = type_shares(names, MORPHOLOGY_CLASSES, confusion)
        rows.append(
            {
                "diagnosis": diagnosis.name,
                "fields": len(paths),
                "cells": int(names.sum()),
                "likeliest": likeliest.tolist(),
                "shares": None if shares is None else [share.as_json() for share in shares],
            }
        )
    return rows


def _briefly(predicted: Predicted, checkpoint: Checkpoint, source: str) -> list[Metric]:
    wanted = ("accuracy", "macro F1", "named (not uncertain)", "accuracy of the named")
    every = measure(predicted, stored_rule(checkpoint), source, rounds=0)
    return [metric for metric in every if metric.name in wanted] + macro_metrics(predicted, source)


def _estimated_scale(
    net: ClassifierNet, checkpoint: Checkpoint, data: Path, part: Part, crops: CellCrops
) -> Predicted:
    """The kept-out cells with each field's scale from its own red cells, as without a profile."""
    options = stored_config(checkpoint).crop
    fields = [f for f in read_labelled_fields(data / SOURCE) if part_of(f.group) == part]
    codes = np.concatenate(
        [cells_of_field(f.path, f.centres, options, um_per_px=None) for f in fields]
    )
    again = dataclasses.replace(crops, codes=codes)
    return Predicted(again, predict_net(net, again.middle(options.side_px)))


def card(checkpoint: Checkpoint) -> str:
    """The model card, from the checkpoint's record."""
    tables = checkpoint.record.get("tables", {})
    more = card_parts.section("How it came about", checkpoint.record.get("lineage", []))
    more += card_parts.tried(checkpoint.record)
    more += card_parts.section(
        "Blocks left out",
        "One labelled source, so no source can be left out. Each block of ten neighbouring fields "
        "below was left out whole of training; the blocks before and after it may be of the same "
        "slide.",
        card_parts.table(
            ("block", "cells", "commonest type", "accuracy", "macro F1"),
            [
                (
                    row["block"],
                    row["cells"],
                    row["commonest"],
                    f"{row['accuracy']:.3f}",
                    f"{row['macro_F1']:.3f}",
                )
                for row in tables.get("blocks", [])
            ],
        ),
    )
    if tables.get("diagnoses"):
        more += card_parts.section(
            "Fields of known diagnosis",
            "Chula's disease fields, whose cells bear no labels: the cells the shipped finder "
            "finds, and the corrected share of each type (95 % interval). A look, not a "
            "measurement; the scale is 0.10 um/px at full size.",
            _diagnosis_table(tables["diagnoses"]),
        )
    return classifier_card(SPEC, checkpoint, more=more)


def _diagnosis_table(rows: Sequence[Mapping[str, Any]], largest: int = 5) -> list[str]:
    """For each diagnosis the types with the largest shares."""
    lines = []
    for row in rows:
        shares = sorted(row["shares"] or [], key=lambda share: -share["share"])[:largest]
        said = "; ".join(
            f"{s['type']} {s['share']:.0%} ({s['low']:.0%} to {s['high']:.0%})" for s in shares
        )
        lines.append((row["diagnosis"], row["fields"], row["cells"], said))
    return card_parts.table(("diagnosis", "fields", "red cells", "largest shares"), lines)


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """What the exporter needs to know of the model.

    The confusion matrix, by which shares are corrected, is that of all kept-out cells: of the
    tune part, and of the test part once it has been measured.
    """
    subject = classifier_subject(SPEC, checkpoint)

    def entry(artefacts: list[Artefact], checkpoint_sha256: str) -> ModelEntry:
        made = subject.entry(artefacts, checkpoint_sha256)
        return made.model_copy(update={"confusion": kept_out_confusion(checkpoint)})

    return dataclasses.replace(subject, entry=entry)


def kept_out_confusion(checkpoint: Checkpoint) -> Confusion:
    """Confusion of the tune part's cells, and of the test part's where the record holds it."""
    counts = np.array(checkpoint.record["tune_confusion"]["counts"], np.int64)
    tested = checkpoint.record.get("tables", {}).get("confusion", {}).get(SOURCE)
    if tested is not None:
        counts = counts + np.array(tested, np.int64)
    return Confusion(counts=counts.tolist())
