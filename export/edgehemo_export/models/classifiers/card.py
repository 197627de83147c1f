"""The model card of a cell classifier, from its checkpoint's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgehemo.cells.cell import UNCERTAIN
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.evaluation import card_parts
from edgehemo_export.models.classifiers.checkpoint import (
    as_learnt,
    stored_config,
    stored_familiarity,
    stored_rule,
)
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import ClassifierConfig


def classifier_card(
    spec: ClassifierSpec, checkpoint: Checkpoint, *, more: Sequence[str] = ()
) -> str:
    """The model card as Markdown; ``more``: sections of this classifier's own."""
    spec = as_learnt(spec, checkpoint)
    record = checkpoint.record
    config = stored_config(checkpoint)
    model, crop = config.model, config.crop
    rule = stored_rule(checkpoint)
    again = isinstance(record.get("initialised_from"), dict)
    everything = record.get("measured_by") is not None
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
    head = record.get("learnt") == "head"
    lines += abroad_section(spec, checkpoint)
    lines += card_parts.made_by(
        *training_commands(spec, again=again, taught=taught, everything=everything, head=head),
        *([] if everything else [f"edgehemo evaluate {spec.task}.safetensors --data DATA --save"]),
    )
    if everything:
        parts = ", ".join(f'"{part}"' for part in config.train_parts)
        lines += [
            f"`everything.toml` holds `train_parts = [{parts}]`: the shipped weights learnt from "
            "every labelled cell. All figures of this card are of the run that kept the tune and "
            "test parts out, and of those that left a source out.",
            "",
        ]
    lines += _course(record, config)
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
    standing = (
        f"Cross-conformal prediction, {spec.rule_says}, on {rule.cells} cells, each answered by a "
        "layer that had not seen its sample"
        if head
        else f"Split conformal prediction, {spec.rule_says}, on {rule.cells} tune cells"
    )
    lines += card_parts.section(
        "When a cell is named",
        f"{standing}: a class is in "
        f"the set when its probability reaches its threshold, for {rule.coverage:.0%} coverage of "
        f"cells like those; a cell with exactly one class in its set is named, any other is "
        f"`{UNCERTAIN}`. Temperature {record['temperature']:.3f}.",
        card_parts.table(
            ("class", "threshold"), [(k, f"{v:.4f}") for k, v in rule.thresholds.items()]
        ),
    )
    lines += familiarity_section(checkpoint)
    at_home = [m for m in record.get("metrics", []) if not left_out(m)]
    if at_home:
        lines += card_parts.section(
            "Kept-out test part of known sources",
            "Shares with Wilson's 95 % interval, F1 with a bootstrap over groups (blocks of "
            "neighbouring pictures).",
            card_parts.metrics_table(at_home),
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


def _course(record: Mapping[str, Any], config: ClassifierConfig) -> list[str]:
    """How the run went."""
    software = f"edgehemo {record['run']['software_version']}, torch {record['run']['torch']}, "
    minutes = record["seconds"] / 60
    if record.get("learnt") == "head":
        cells = sum(record["images"].values())
        return [
            f"{software}the last layer alone, on {cells} cells of {record['samples']} samples, "
            f"pulled towards the weights it began with: {minutes:.1f} minutes.",
            "",
        ]
    best = record["best"]
    kept = (
        "."
        if best["score"] is None
        else f"; kept the weights of step {best['step']}, the best on the tune part."
    )
    return [
        f"{software}{record['steps']} steps of {config.loop.batch_size} crops, {minutes:.0f} "
        f"minutes, seed {config.loop.seed}{kept}",
        "",
    ]


def left_out(metric: Mapping[str, Any]) -> bool:
    """Whether a figure is of a source that the run behind it never saw."""
    return str(metric["source"]).endswith(card_parts.LEFT_OUT)


def abroad_section(spec: ClassifierSpec, checkpoint: Checkpoint) -> list[str]:
    """What the first of a card's figures are: on sources that were left out whole."""
    found = [
        metric
        for metric in checkpoint.record.get("metrics", [])
        if left_out(metric) and not str(metric["name"]).startswith("F1 ")
    ]
    if not found:
        return []
    fewer = "" if spec.left_out_steps is None else " but fewer steps"
    return card_parts.section(
        "On sources left out whole",
        "What a user will see on a microscope of his own: each source was left out of a training "
        f"of its own, of the same configuration{fewer}, and measured whole. `Named` are "
        "the cells that are not `uncertain`; the harm is named last.",
        card_parts.metrics_table(found),
    )


def familiarity_section(checkpoint: Checkpoint) -> list[str]:
    """When a cell is known, and when a whole sample is; empty where the net cannot tell."""
    rule = stored_familiarity(checkpoint)
    if rule is None:
        return []
    return card_parts.section(
        "When a cell is known",
        "Beside its answer the network gives a familiarity from 0 to 1: how near the cell's "
        "features lie to the middle of a class of one source, measured by how its cells scatter "
        f"(Mahalanobis). Of kept-out cells of known sources 95 % reach {rule.cell_from:.2f}; a "
        f"cell below stays `{UNCERTAIN}`. Where the median of a sample's cells (of "
        f"{rule.sample_cells} or more) lies below {rule.sample_from:.2f}, the microscope or stain "
        "is taken to be another one: no counts by type and no shares are given, and only cells of "
        f"{rule.strange_cell_from:.2f} or more are named. Measured on {rule.cells} cells.",
    )


def training_commands(
    spec: ClassifierSpec,
    *,
    again: bool,
    taught: bool,
    everything: bool = False,
    head: bool = False,
) -> list[str]:
    """What made a checkpoint. again: it went on from another. taught: it had a teacher. everything:
    it was trained on all parts and bears the figures of one that was not. head: its last layer
    alone was fitted.
    """
    train = f"edgehemo train {spec.command} --data DATA --out"
    out = f"{spec.task}.safetensors"
    if head:
        return [f"{train} {out} --init shipped"]
    if everything:
        fewer = "" if spec.left_out_steps is None else f" --steps {spec.left_out_steps}"
        return [
            f"{train} measured/{out}",
            f"{train} without_SOURCE.safetensors --leave-out SOURCE{fewer}",
            f"edgehemo evaluate measured/{out} --data DATA --left-out without_SOURCE.safetensors "
            "--save",
            f"{train} {out} --config everything.toml --measured measured/{out}",
        ]
    if spec.refinement is not None and again:
        return [
            f"{train} first.safetensors",
            f"{train} {out} --init first.safetensors --config {spec.refinement}",
        ]
    if taught:
        return [
            f"{train} teacher.safetensors --config TEACHER.toml",
            f"{train} {out} --teacher teacher.safetensors --config PUPIL.toml",
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
