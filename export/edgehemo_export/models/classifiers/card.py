"""The model card of a cell classifier, from its checkpoint's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgehemo.cells.cell import UNCERTAIN
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.evaluation import card_parts
from edgehemo_export.models.classifiers.checkpoint import stored_config, stored_rule
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import ClassifierConfig


def classifier_card(
    spec: ClassifierSpec, checkpoint: Checkpoint, *, more: Sequence[str] = ()
) -> str:
    """The model card as Markdown; ``more``: sections of this classifier's own."""
    record = checkpoint.record
    config = stored_config(checkpoint)
    model, crop = config.model, config.crop
    rule = stored_rule(checkpoint)
    again = isinstance(record.get("initialised_from"), dict)
    started = "an earlier checkpoint" if again else config.init
    lines = [f"# {spec.title}", "", spec.says, ""]
    lines += [
        f"Takes {crop.side_px}x{crop.side_px} px canonical crops at {crop.um_per_px:g} um/px, the "
        f"cell in the middle; answers a probability for each of {len(spec.classes)} classes. "
        f"Architecture `{model.architecture}`, started from "
        f"{started}.",
        "",
        card_parts.INTENDED_USE,
        "",
    ]
    taught = bool(record.get("taught_by"))
    lines += card_parts.made_by(
        *training_commands(spec, again=again, taught=taught),
        f"edgehemo evaluate {spec.task}.safetensors --data DATA --save",
    )
    lines += [
        f"edgehemo {record['run']['software_version']}, torch {record['run']['torch']}, "
        f"{record['steps']} steps of {config.loop.batch_size} crops, "
        f"{record['seconds'] / 60:.0f} minutes, seed {config.loop.seed}; kept the weights of step "
        f"{record['best']['step']}, the best on the tune part.",
        "",
    ]
    lines += card_parts.data_section(record)
    if taught:
        lines += card_parts.section("Teacher", taught_says(record, config))
    if record.get("second_opinion"):
        asked = config.out_of_fold
        lines += card_parts.section(
            "Second opinions",
            f"Labels are one person's word. {asked.folds} networks, each trained for "
            f"{asked.steps} steps without a fold of the training groups, gave a second opinion on "
            f"that fold, which is {asked.share:.0%} of every target. They agree with "
            f"{record['second_opinion']['agreement']:.1%} of the labels.",
        )
    lines += card_parts.section(
        "When a cell is named",
        f"Split conformal prediction, {spec.rule_says}, on {rule.cells} tune cells: a class is in "
        f"the set when its probability reaches its threshold, for {rule.coverage:.0%} coverage of "
        f"cells like those; a cell with exactly one class in its set is named, any other is "
        f"`{UNCERTAIN}`. Temperature {record['temperature']:.3f}.",
        card_parts.table(
            ("class", "threshold"), [(k, f"{v:.4f}") for k, v in rule.thresholds.items()]
        ),
    )
    if record.get("metrics"):
        lines += card_parts.section(
            "Kept-out test part",
            "Shares with Wilson's 95 % interval, F1 with a bootstrap over groups (blocks of "
            "neighbouring pictures).",
            card_parts.metrics_table(record["metrics"]),
        )
    tables = record.get("tables", {})
    for source, counts in tables.get("confusion", {}).items():
        lines += card_parts.section(
            f"Confusion, {source}",
            card_parts.confusion_table(spec.classes, counts, (*spec.classes, UNCERTAIN)),
            level=3,
        )
    lines += card_parts.pictures(record.get("pictures", []))
    lines += ["", *more]
    lines += card_parts.never_tested(*spec.never_tested)
    return "\n".join(lines)


def training_commands(spec: ClassifierSpec, *, again: bool, taught: bool) -> list[str]:
    """What made a checkpoint. again: it went on from another. taught: it had a teacher."""
    train = f"edgehemo train {spec.command} --data DATA --out"
    out = f"{spec.task}.safetensors"
    if spec.refinement is not None and again:
        return [
            f"{train} first.safetensors",
            f"{train} {out} --init first.safetensors --config {spec.refinement}",
        ]
    if spec.pupil is not None and taught:
        return [
            f"{train} teacher.safetensors",
            f"{train} {out} --teacher teacher.safetensors --config {spec.pupil}",
        ]
    return [f"{train} {out}"]


def taught_says(record: Mapping[str, Any], config: ClassifierConfig) -> str:
    """The card's words for a network that learned from another's answers."""
    taught = record["taught_by"]
    teacher = ClassifierConfig.model_validate(taught["configuration"])
    opinions = teacher.out_of_fold
    said = (
        f"A larger network (`{teacher.model.architecture}`, {taught['steps']} steps on the same "
        "training part) answered every crop as it was drawn and varied; its answers are "
        f"{config.teacher_share:.0%} of every target, what the label says the rest."
    )
    if opinions.share > 0:
        said += (
            f" Of the teacher's own targets second opinions by {opinions.folds} networks that had "
            f"not seen the cell's group were {opinions.share:.0%}."
        )
    if config.unnamed_share > 0:
        said += (
            f" {config.unnamed_share:.0%} of every batch are cells whose type nobody has named: of "
            "those the teacher's answer is the whole target."
        )
    return said
