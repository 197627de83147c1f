"""One run of any cell classifier, from data root to checkpoint, evaluation, card and export.

A classifier is told apart by its `ClassifierSpec`; everything else is shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.bundle import (
    Artefact,
    ConformalRule,
    Confusion,
    InputSpec,
    Metric,
    ModelEntry,
    ModelTask,
    Precision,
)
from edgehemo.cells.crops import canonical_crop
from edgehemo.cells.records import UNCERTAIN
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field import UINT8_PER_TRANSMITTANCE
from edgehemo.images import read_frame
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.classifiers.evaluation import (
    Predicted,
    conformal_rule,
    confusion_picture,
    fit_temperature,
    measure,
    named,
    predict,
    predict_net,
    predictions_picture,
    reliability_picture,
    reliability_table,
    stored_confusion,
)
from edgehemo_export.classifiers.out_of_fold import second_opinions
from edgehemo_export.classifiers.training import ClassifierConfig, ClassifierTask, macro_f1
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.splits import Part
from edgehemo_export.evaluation import card_parts
from edgehemo_export.nets.architecture_table import BY_NAME
from edgehemo_export.nets.classifier_nets import (
    INPUT_MEAN,
    INPUT_SD,
    ClassifierNet,
    ClassifierNetConfig,
)
from edgehemo_export.nets.imagenet_weights import imagenet_weights
from edgehemo_export.nets.scattering_svm import ScatteringSvm, features_of
from edgehemo_export.quantisation.calibration_set import (
    MIN_SAMPLES,
    CalibrationSet,
    listed_images,
    shows_nothing,
)
from edgehemo_export.quantisation.subject import ExportSubject, Figures
from edgehemo_export.tasks import Evaluation
from edgehemo_export.training.loop import Run, TrainingState, run_record, train

# Samples for int8 calibration, and kept-out crops that judge an artefact.
CALIBRATION_CROPS = 320
PARITY_CROPS = 600
PARITY_INPUTS = 16
# An artefact may lose this much accuracy or macro F1 against PyTorch on kept-out crops, ...
ACCURACY_GATE = 0.005
F1_GATE = 0.01
# ... and must name this share of them as PyTorch does.
AGREEMENT_GATE = 0.98


# Training crops and their masks bool (n, s, s) to gains by source, see `ClassifierTask`.
StainGains = Callable[[CellCrops, NDArray[np.bool_]], Mapping[str, NDArray[np.float64]]]


# Probabilities float32 (n, classes), labels (n,), classes and coverage to a rule.
FitRule = Callable[[NDArray[np.float32], NDArray[np.intp], Sequence[str], float], ConformalRule]


@dataclass(frozen=True)
class ClassifierSpec:
    """What tells one classifier from another.

    task, title, says: of the bundle and the card. classes: the outputs, in order, ``rejects``
    among them. build: every crop of the sources a configuration reads, from a data root and a
    cache folder. masks: the middle cell of each crop, where surroundings are exchanged in
    training, else None. licences: a line for each source. never_tested: more lines of the card.
    stain_gains: from training crops and their masks, see `ClassifierTask`. rule: fits the conformal
    rule, in words ``rule_says``. refinement: the shipped
    configuration of a second run that starts from a first one's checkpoint.
    """

    task: ModelTask
    title: str
    says: str
    classes: tuple[str, ...]
    rejects: tuple[str, ...]
    build: Callable[[Path, ClassifierConfig, Path | None], CellCrops]
    masks: Callable[[CellCrops, Path | None], NDArray[np.bool_]] | None
    licences: Mapping[str, str]
    never_tested: tuple[str, ...] = ()
    stain_gains: StainGains | None = None
    rule: FitRule = conformal_rule
    rule_says: str = "class by class"
    refinement: str | None = None

    @property
    def command(self) -> str:
        return self.task.replace("_", "-")


def train_classifier(
    spec: ClassifierSpec,
    data: Path,
    config: ClassifierConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Train on the training part; temperature and conformal rule on the tune part.

    The test part is not looked at.
    """
    architecture = BY_NAME[config.model.architecture]
    if architecture.side_px is not None and architecture.side_px != config.crop.side_px:
        raise UsageError(
            f"{architecture.name} takes crops of {architecture.side_px} px: set side_px under "
            f"[crop] to that (it is {config.crop.side_px}), and um_per_px so that a cell fits"
        )
    cache = work / "cache"
    crops = spec.build(data, config, cache)
    if run.leave_out is not None and not (crops.sources == run.leave_out).any():
        have = ", ".join(sorted(set(crops.sources.tolist())))
        raise UsageError(f"--leave-out {run.leave_out}: the data root holds {have}")
    crops = crops.without(run.leave_out)
    training, tune = crops.part("train"), crops.part("tune")
    if not len(training) or not len(tune):
        raise UsageError("the split leaves no crop to train on or to tune with")
    opinion_record: dict[str, Any] = {}
    teacher = teacher_net(spec, config, run.teacher)
    if not architecture.sgd:
        if teacher is not None:
            raise UsageError(f"{architecture.name} is fitted at once: no teacher can be asked")
        net, state = _fitted(training, config)
    else:
        opinions = None
        if config.out_of_fold.share > 0:
            opinions = second_opinions(
                training,
                lambda some, changed: _learning_task(spec, some, _none_of(some), changed, cache),
                config,
                work,
                run,
            )
            agreement = float((opinions.argmax(axis=1) == training.labels).mean())
            opinion_record = {"second_opinion": {"agreement": agreement}}
        net, state = train(
            _learning_task(spec, training, tune, config, cache, opinions, teacher),
            lambda: ClassifierNet(config.model, len(training.classes)),
            config,
            work,
            run,
            weights=_weights_to_start_from(config, run.initial),
        )
    side = config.crop.side_px
    temperature = fit_temperature(net, tune.middle(side), tune.labels)
    probabilities = predict_net(net, tune.middle(side))
    rule = spec.rule(probabilities, tune.labels, spec.classes, config.coverage)
    tuned = Predicted(tune, probabilities)
    record: dict[str, Any] = {
        **run_record(config, state, run),
        **opinion_record,
        "classes": list(spec.classes),
        "images": _totals(training),
        "crops": {"train": training.counts(), "tune": tune.counts()},
        "training_data": [spec.licences.get(source, source) for source in _totals(training)],
        "temperature": temperature,
        "conformal": rule.model_dump(),
        "tune_confusion": stored_confusion(tuned, rule).model_dump(),
        "tune": [m.model_dump() for m in measure(tuned, rule, "tune", rounds=0)],
        "best": {"step": state.best_step, "score": state.best_score},
    }
    return Checkpoint(spec.task, dict(net.state_dict()), record)


def _learning_task(
    spec: ClassifierSpec,
    training: CellCrops,
    tune: CellCrops,
    config: ClassifierConfig,
    cache: Path,
    opinions: NDArray[np.float32] | None = None,
    teacher: ClassifierNet | None = None,
) -> ClassifierTask:
    """The task with masks and stain gains where the configuration exchanges by them."""
    masks = None
    if config.augment.exchange_share > 0 and spec.masks is not None:
        masks = spec.masks(training, cache)
    stain_gains = None
    if config.augment.stain_share > 0 and spec.stain_gains is not None and masks is not None:
        stain_gains = spec.stain_gains(training, masks)
    return ClassifierTask(training, tune, config, masks, stain_gains, opinions, teacher)


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
    return said


def teacher_net(
    spec: ClassifierSpec, config: ClassifierConfig, checkpoint: Checkpoint | None
) -> ClassifierNet | None:
    """The network whose answers are learned from, None where no share of them is asked.

    Raises UsageError where a share is asked without a teacher, a teacher is given without a share,
    or it reads other crops.
    """
    if checkpoint is None and config.teacher_share == 0:
        return None
    if checkpoint is None:
        raise UsageError("teacher_share: whose answers? give the teacher's checkpoint, --teacher")
    if config.teacher_share == 0:
        raise UsageError("--teacher: the configuration asks no share of its answers, teacher_share")
    read, wanted = stored_config(checkpoint).crop, config.crop
    if (read.side_px, read.um_per_px) != (wanted.side_px, wanted.um_per_px):
        raise UsageError(
            f"--teacher: it reads crops of {read.side_px} px at {read.um_per_px:g} um/px, the "
            f"configuration has {wanted.side_px} px at {wanted.um_per_px:g} um/px"
        )
    return classifier_net(spec, checkpoint)


def _none_of(crops: CellCrops) -> CellCrops:
    return crops.where(np.zeros(len(crops), np.bool_))


def _fitted(training: CellCrops, config: ClassifierConfig) -> tuple[ClassifierNet, TrainingState]:
    """A classifier that is fitted on features at once; nothing is drawn or varied."""
    net = ClassifierNet(config.model, len(training.classes))
    machine = net.net
    if not isinstance(machine, ScatteringSvm):
        raise UsageError(f"{config.model.architecture} cannot be fitted")
    started = time.monotonic()
    codes = training.middle(config.crop.side_px)
    machine.fit(features_of(machine, codes, INPUT_MEAN, INPUT_SD), training.labels)
    return net.eval(), TrainingState(seconds=time.monotonic() - started)


def _weights_to_start_from(
    config: ClassifierConfig, initial: Checkpoint | None
) -> Mapping[str, torch.Tensor] | None:
    if initial is not None:
        return initial.weights
    if config.init == "scratch":
        return None
    found = imagenet_weights(config.model.architecture)
    return {f"net.{name}": value for name, value in found.items()}


def _totals(crops: CellCrops) -> dict[str, int]:
    return {source: sum(by.values()) for source, by in crops.counts().items()}


def classifier_net(spec: ClassifierSpec, checkpoint: Checkpoint) -> ClassifierNet:
    """The network of a checkpoint, temperature inside, in evaluation mode."""
    if checkpoint.task != spec.task:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of {spec.task}")
    if checkpoint.record.get("classes") != list(spec.classes):
        raise UsageError("a checkpoint of other classes than this version's; train it again")
    model = ClassifierNetConfig(**checkpoint.record["configuration"]["model"])
    net = ClassifierNet(model, len(spec.classes))
    net.load_state_dict(checkpoint.weights)
    return net.eval()


def stored_config(checkpoint: Checkpoint) -> ClassifierConfig:
    """The configuration a checkpoint was trained with."""
    return ClassifierConfig.model_validate(checkpoint.record["configuration"])


def stored_rule(checkpoint: Checkpoint) -> ConformalRule:
    """The conformal rule that training fitted on the tune part."""
    return ConformalRule.model_validate(checkpoint.record["conformal"])


def kept_out(checkpoint: Checkpoint, crops: CellCrops, part: Part) -> CellCrops:
    """The crops of a part; of a run that left a source out, that source alone, all of it."""
    left_out = checkpoint.record.get("left_out")
    chosen = crops.only(left_out) if left_out is not None else crops.part(part)
    if not len(chosen):
        raise UsageError("the data root holds no crop of that part to evaluate on")
    return chosen


def evaluate_classifier(
    spec: ClassifierSpec, checkpoint: Checkpoint, data: Path, part: Part
) -> Evaluation:
    """Metrics by source and over all, confusion matrices, reliability, drawn predictions."""
    net = classifier_net(spec, checkpoint)
    side = stored_config(checkpoint).crop.side_px
    crops = kept_out(checkpoint, spec.build(data, stored_config(checkpoint), None), part)
    return described(spec, checkpoint, Predicted(crops, predict_net(net, crops.middle(side))))


def described(spec: ClassifierSpec, checkpoint: Checkpoint, predicted: Predicted) -> Evaluation:
    """The evaluation of predictions: see `evaluate_classifier`."""
    rule = stored_rule(checkpoint)
    side = stored_config(checkpoint).crop.side_px
    metrics: list[Metric] = []
    tables: dict[str, Any] = {"classes": list(spec.classes), "confusion": {}, "reliability": {}}
    reliability: dict[str, list[dict[str, float]]] = {}
    sources = sorted(set(predicted.crops.sources.tolist()))
    for source in [*sources, *(["all"] if len(sources) > 1 else [])]:
        here = predicted if source == "all" else predicted.where(predicted.crops.sources == source)
        metrics += measure(here, rule, source)
        tables["confusion"][source] = stored_confusion(here, rule).counts
        reliability[source] = reliability_table(here.probabilities, here.labels)
    tables["reliability"] = reliability
    whole = "all" if len(sources) > 1 else sources[0]
    pictures = {
        "reliability": reliability_picture({whole: reliability[whole]}),
        "confusion": confusion_picture(tables["confusion"][whole], spec.classes),
    }
    sheets = {"predictions": predictions_picture(predicted, side)}
    return Evaluation(metrics, tables, pictures, sheets)


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
    out = f"{spec.task}.safetensors"
    trained = [f"edgehemo train {spec.command} --data DATA --out {out}"]
    if spec.refinement is not None and again:
        trained = [
            f"edgehemo train {spec.command} --data DATA --out first.safetensors",
            f"edgehemo train {spec.command} --data DATA --out {out} --init first.safetensors "
            f"--config {spec.refinement}",
        ]
    lines += card_parts.made_by(
        *trained,
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
    if record.get("taught_by"):
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


@dataclass(frozen=True)
class ClassifierHeldOut:
    """Kept-out crops of the tune part that judge an artefact."""

    crops: CellCrops
    side_px: int
    reference: NDArray[np.intp]

    @property
    def files(self) -> Sequence[Path]:
        return list(dict.fromkeys(self.crops.files))

    @property
    def inputs(self) -> Sequence[NDArray[np.uint8]]:
        codes = self.crops.middle(self.side_px)
        step = max(1, len(codes) // PARITY_INPUTS)
        return [codes[i : i + 1] for i in range(0, len(codes), step)][:PARITY_INPUTS]

    def measure(self, runner: Runner) -> Figures:
        """Accuracy, macro F1, and how many crops are named as PyTorch names them."""
        names = predict(runner, self.crops.middle(self.side_px)).argmax(axis=1)
        labels = self.crops.labels
        return {
            "accuracy": float((names == labels).mean()),
            "macro_F1": macro_f1(labels, names, len(self.crops.classes)),
            "agreement": float((names == self.reference).mean()),
        }


def problems(pytorch: Figures, artefact: Figures, precision: Precision) -> list[str]:
    """One line for each gate an artefact fails; the gates are the same at every precision."""
    found = []
    for name, gate in (("accuracy", ACCURACY_GATE), ("macro_F1", F1_GATE)):
        drop = pytorch[name] - artefact[name]
        if drop > gate:
            found.append(f"{precision}: {name} falls by {drop:.4f}, the gate is {gate}")
    if artefact["agreement"] < AGREEMENT_GATE:
        found.append(
            f"{precision}: names {artefact['agreement']:.1%} of the crops as PyTorch does, "
            f"the gate is {AGREEMENT_GATE:.0%}"
        )
    return found


def classifier_subject(spec: ClassifierSpec, checkpoint: Checkpoint) -> ExportSubject:
    """The classifier with its data, gates and manifest entry, for the exporter."""
    net = classifier_net(spec, checkpoint)
    config = stored_config(checkpoint)
    record = checkpoint.record
    side = config.crop.side_px

    def held_out(root: Path) -> ClassifierHeldOut:
        crops = spec.build(root, config, None).part("tune").without(record.get("left_out"))
        chosen = _spread(len(crops), PARITY_CROPS)
        crops = crops.where(chosen)
        reference = predict_net(net, crops.middle(side)).argmax(axis=1)
        return ClassifierHeldOut(crops, side, reference)

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
        float_layers=(),
        calibration=lambda source: calibration_crops(spec, config, source),
        held_out=held_out,
        problems=problems,
        entry=entry,
        precisions=BY_NAME[config.model.architecture].precisions,
        why_not=BY_NAME[config.model.architecture].why_not,
    )


def calibration_crops(
    spec: ClassifierSpec, config: ClassifierConfig, source: Path, *, seed: int = 0
) -> CalibrationSet:
    """Crops for int8 calibration: of a data root's training part, or of a folder of pictures that
    hold one cell each. Raises UsageError where there are too few."""
    side = config.crop.side_px
    skipped: list[str] = []
    try:
        crops = spec.build(source, config, None).part("train")
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


def names_of(spec: ClassifierSpec, checkpoint: Checkpoint, p: NDArray[np.float32]) -> list[str]:
    """The name of each cell by the checkpoint's rule, `uncertain` among them."""
    every = (*spec.classes, UNCERTAIN)
    return [every[i] for i in named(p, spec.classes, stored_rule(checkpoint))]
