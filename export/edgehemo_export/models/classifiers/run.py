"""One run of any cell classifier, from data root to checkpoint, and its evaluation.

A classifier is told apart by its `ClassifierSpec`; everything else is shared.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.bundle.manifest import FamiliarityRule
from edgehemo.errors import EdgeHemoWarning, UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops, joined
from edgehemo_export.data.sets.own import own_alone, own_class_list, own_licences
from edgehemo_export.models.classifiers.checkpoint import (
    classifier_net,
    stored_config,
)
from edgehemo_export.models.classifiers.evaluation import measure, stored_confusion
from edgehemo_export.models.classifiers.few_cells import fit_on_few, learns_head, record_of_head
from edgehemo_export.models.classifiers.out_of_fold import second_opinions
from edgehemo_export.models.classifiers.own_cells import for_data, for_own_alone, weighted_for_own
from edgehemo_export.models.classifiers.predictions import (
    Predicted,
    features_of_net,
    fit_temperature,
    predicted_by,
)
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import (
    ClassifierConfig,
    ClassifierTask,
    UnnamedCrops,
)
from edgehemo_export.nets.architecture_table import architecture as architecture_named
from edgehemo_export.nets.classifier_nets import INPUT_MEAN, INPUT_SD, ClassifierNet
from edgehemo_export.nets.familiarity import (
    HALF,
    MIN_CELLS_OF_A_CENTRE,
    Familiarity,
    distance_of_share,
    fitted,
)
from edgehemo_export.nets.imagenet_weights import imagenet_weights
from edgehemo_export.nets.scattering_svm import ScatteringSvm, features_of
from edgehemo_export.nets.stored_weights import half_precision
from edgehemo_export.training.loop import train
from edgehemo_export.training.record import origin, run_record
from edgehemo_export.training.task import Run, TrainingState

# Training cells that a familiarity is fitted on.
FAMILIARITY_CELLS = 6000
# A sample's familiarity is the median of so many cells or more.
SAMPLE_CELLS = 5


def train_classifier(
    spec: ClassifierSpec,
    data: Path,
    config: ClassifierConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Train on the training part; temperature, conformal rule and familiarity on the tune part.

    The test part is not looked at. A run on all parts (`ClassifierConfig.train_parts`) takes these
    and the figures from ``run.measured``.
    """
    spec = for_data(spec, data)
    config = for_own_alone(config, data)
    architecture = architecture_named(config.model.architecture)
    if architecture.side_px is not None and architecture.side_px != config.crop.side_px:
        raise UsageError(
            f"{architecture.name} takes crops of {architecture.side_px} px: set side_px under "
            f"[crop] to that (it is {config.crop.side_px}), and um_per_px so that a cell fits"
        )
    cache = work / "cache"
    crops = spec.build(data, config, cache)
    few = crops.where(np.isin(crops.parts(), ("train", "tune")))
    if learns_head(config, run.initial, own_alone=own_alone(data), cells=len(few)):
        return _head_alone(spec, data, config, few, run)
    config = weighted_for_own(config.model_copy(update={"learn": "all"}), data, crops)
    everything = _bears_figures_of(config, run)
    unnamed = unnamed_crops(spec, data, config, cache)
    drawn = drawn_crops(spec, data, config, cache, crops)
    _check_left_out(run.leave_out, [crops, drawn, None if unnamed is None else unnamed.crops])
    crops = crops.without(run.leave_out)
    training = crops.where(_learnt_from(crops, config, run))
    if unnamed is not None:
        unnamed = unnamed.where(_learnt_from(unnamed.crops, config, run))
    kept_drawn = None if drawn is None else drawn.without(run.leave_out).part("tune", run.split)
    if drawn is not None:
        drawn = drawn.where(_learnt_from(drawn, config, run))
    tune = _none_of(crops) if everything is not None else crops.part("tune", run.split)
    if not len(training) or (everything is None and not len(tune)):
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
            _learning_task(spec, training, tune, config, cache, opinions, teacher, unnamed, drawn),
            lambda: ClassifierNet(config.model, len(training.classes)),
            config,
            work,
            run,
            weights=_weights_to_start_from(config, run.initial),
        )
    side = config.crop.side_px
    if everything is not None:
        net.temperature.fill_(everything.record["temperature"])
    else:
        fit_temperature(net, tune.middle(side), tune.labels)
    farther = None
    if config.familiarity:
        learnt = None if everything is None else everything.record["familiarity_farther"]
        net.familiarity, farther = fitted_familiarity(
            net, with_drawn(training, drawn), with_drawn(tune, kept_drawn), side, learnt
        )
    if architecture.sgd:
        # What is kept is what is measured: the weights, and the temperature, as they are stored.
        net.load_state_dict(half_precision(net.state_dict()))
    licences = {**spec.licences, **own_licences(data)}
    record: dict[str, Any] = {
        **run_record(config, state, run),
        **opinion_record,
        **_classes_record(spec, data),
        "images": _totals(training)
        | _totals_of(drawn, "drawn into other shapes")
        | _totals_of(None if unnamed is None else unnamed.crops, "types unknown"),
        "training_data": [licences.get(name, name) for name in _sources(training, unnamed, drawn)],
        "drawn_alone": [spec.classes[i] for i in _drawn_alone(crops, drawn)],
        "temperature": float(net.temperature),
        "familiarity_farther": farther,
        "best": {"step": state.best_step, "score": state.best_score},
    }
    if everything is not None:
        record |= {key: everything.record[key] for key in BORNE if key in everything.record}
        record |= {"crops": {"train": training.counts()}, "measured_by": origin(everything)}
    else:
        warn_of_few(len(tune), config.coverage)
        predicted = predicted_by(net, tune, side)
        rule = spec.rule(predicted.probabilities, tune.labels, spec.classes, config.coverage)
        familiarity = familiarity_rule(predicted)
        record |= {
            "crops": {"train": training.counts(), "tune": tune.counts()},
            "conformal": rule.model_dump(),
            "familiarity": None if familiarity is None else familiarity.model_dump(),
            "tune_confusion": stored_confusion(
                predicted_by(net, with_drawn_alone(tune, kept_drawn, record["drawn_alone"]), side),
                rule,
                familiarity,
            ).model_dump(),
            "tune": [
                m.model_dump()
                for m in measure(predicted, rule, "tune", familiarity=familiarity, rounds=0)
            ],
        }
    weights = net.state_dict()
    return Checkpoint(spec.task, half_precision(weights) if architecture.sgd else weights, record)


def _classes_record(spec: ClassifierSpec, data: Path) -> dict[str, Any]:
    """The classes, and whether they are a laboratory's own."""
    return {"classes": list(spec.classes), "own_classes": own_class_list(data) is not None}


def _head_alone(
    spec: ClassifierSpec, data: Path, config: ClassifierConfig, crops: CellCrops, run: Run
) -> Checkpoint:
    """A run on few cells: the last layer of the network it begins with (`few_cells`)."""
    refused = {
        "--teacher": run.teacher is not None,
        "--measured": run.measured is not None,
        "--leave-out": run.leave_out is not None,
    }
    for option, given in refused.items():
        if given:
            raise UsageError(f'{option}: not where the last layer alone is learnt (learn = "head")')
    if run.initial is None or not len(crops):
        raise UsageError("the split leaves no cell to learn from, or no network was given")
    config = config.model_copy(update={"learn": "head"})
    found = fit_on_few(spec, crops, config, run.initial)
    net, answers = found.net, found.answers
    net.load_state_dict(half_precision(net.state_dict()))
    warn_of_few(len(crops), config.coverage)
    rule = spec.rule(answers.probabilities, crops.labels, spec.classes, config.coverage)
    familiarity = familiarity_rule(answers)
    licences = {**spec.licences, **own_licences(data)}
    record: dict[str, Any] = {
        **run_record(config, TrainingState(seconds=found.seconds), run),
        **_classes_record(spec, data),
        **record_of_head(found),
        "images": _totals(crops),
        "training_data": [licences.get(name, name) for name in _sources(crops, None, None)],
        "drawn_alone": [],
        "temperature": float(net.temperature),
        "familiarity_farther": None,
        "best": {"step": 0, "score": None},
        "crops": {"train": crops.counts(), "tune": crops.counts()},
        "conformal": rule.model_dump(),
        "familiarity": None if familiarity is None else familiarity.model_dump(),
        "tune_confusion": stored_confusion(answers, rule, familiarity).model_dump(),
        "tune": [
            m.model_dump()
            for m in measure(answers, rule, "tune", familiarity=familiarity, rounds=0)
        ],
    }
    return Checkpoint(spec.task, half_precision(net.state_dict()), record)


# What a run on all parts bears of the run it was measured by.
BORNE = (
    "conformal",
    "familiarity",
    "tune_confusion",
    "tune",
    "metrics",
    "tables",
    "pictures",
    "measured",
)


def _bears_figures_of(config: ClassifierConfig, run: Run) -> Checkpoint | None:
    """The run that a run on all parts is measured by, None for one that keeps parts out.

    Raises UsageError where one is missing, not wanted, or was made otherwise.
    """
    whole = {"tune", "test"} & set(config.train_parts)
    if not whole:
        if run.measured is not None:
            raise UsageError("--measured is for runs on all parts: train_parts holds `train` alone")
        return None
    if run.measured is None:
        raise UsageError(
            "train_parts: with the kept-out parts in training nothing is left to measure on; train "
            "and evaluate one on the training part first, and give it with --measured"
        )
    own = config.model_dump(exclude={"train_parts"})
    theirs = stored_config(run.measured).model_dump(exclude={"train_parts"})
    if own != theirs:
        differ = ", ".join(sorted(key for key in own if own[key] != theirs.get(key)))
        raise UsageError(f"--measured was trained with another configuration ({differ})")
    if "metrics" not in run.measured.record:
        raise UsageError("--measured has no figures yet: `edgehemo evaluate CKPT --save` first")
    return run.measured


def warn_of_few(cells: int, coverage: float) -> None:
    """EdgeHemoWarning where so few cells set the thresholds that no class can be ruled out: the
    rule then leaves every cell `uncertain` (`conformal.conformal_rule`).
    """
    needed = math.ceil(1 / (1 - coverage) - 1 - 1e-9)
    if cells < needed:
        warnings.warn(
            f"{cells} kept-out cells set the thresholds and {needed} are needed for a coverage of "
            f"{coverage:.0%}: this model will leave every cell uncertain. Name more cells, put "
            "public sets beside them, or lower coverage (--config)",
            EdgeHemoWarning,
            stacklevel=2,
        )


def fitted_familiarity(
    net: ClassifierNet, training: CellCrops, kept: CellCrops, side_px: int, farther: float | None
) -> tuple[Familiarity, float]:
    """What tells the net's known cells from others, and how many times farther kept-out cells lie
    than trained ones: ``farther`` where it was measured before and nothing is kept out now.

    Centres come from at most `FAMILIARITY_CELLS` training cells, the limit from kept-out ones.
    """
    rng = np.random.default_rng(0)
    chosen = np.zeros(len(training), np.bool_)
    chosen[rng.permutation(len(training))[:FAMILIARITY_CELLS]] = True
    known = training.where(chosen)
    kinds = np.array(
        [
            f"{known.classes[label]} {source}"
            for label, source in zip(known.labels.tolist(), known.sources.tolist(), strict=True)
        ]
    )
    features = features_of_net(net, known.middle(side_px))
    try:
        found = fitted(features, kinds)
    except ValueError:
        raise UsageError(
            f"no type has {MIN_CELLS_OF_A_CENTRE} cells of one source: too few to tell what looks "
            "like them. Add cells or public sets, or set familiarity to false (--config)"
        ) from None
    within = distance_of_share(found, features)
    if farther is None:
        reach = distance_of_share(found, features_of_net(net, kept.middle(side_px)))
        farther = reach / within
    found.limit.fill_(within * farther)
    return found, farther


def familiarity_rule(predicted: Predicted) -> FamiliarityRule | None:
    """From which familiarity a cell is named and a sample is known, set on kept-out cells of known
    sources; None where the net tells none.

    A sample whose cells are mostly unknown is strange. Of BCCD, the most varied of the known
    sources, two cells in three are known; of Raabin, which no net has seen, one in three.
    """
    if predicted.familiarity is None:
        return None
    return FamiliarityRule(
        cell_from=HALF,
        sample_from=HALF,
        sample_cells=SAMPLE_CELLS,
        cells=len(predicted.labels),
    )


def _learning_task(
    spec: ClassifierSpec,
    training: CellCrops,
    tune: CellCrops,
    config: ClassifierConfig,
    cache: Path,
    opinions: NDArray[np.float32] | None = None,
    teacher: ClassifierNet | None = None,
    unnamed: UnnamedCrops | None = None,
    drawn: CellCrops | None = None,
) -> ClassifierTask:
    """The task with masks and stain gains where the configuration exchanges by them."""
    masks = None
    if config.augment.exchange_share > 0 and spec.masks is not None:
        masks = spec.masks(training, cache)
    stain_gains = None
    if config.augment.stain_share > 0 and spec.stain_gains is not None and masks is not None:
        stain_gains = spec.stain_gains(training, masks)
    return ClassifierTask(
        training, tune, config, masks, stain_gains, opinions, teacher, unnamed, drawn
    )


def unnamed_crops(
    spec: ClassifierSpec, data: Path, config: ClassifierConfig, cache: Path | None
) -> UnnamedCrops | None:
    """The crops of every part without a name, None where the configuration asks for none.

    Raises UsageError where it asks and the data root, or the classifier, has none.
    """
    if config.unnamed_share == 0:
        return None
    if spec.unnamed is None:
        raise UsageError(f"unnamed_share: {spec.command} knows no cells without a name")
    found = spec.unnamed(data, config, cache)
    if not len(found.crops):
        raise UsageError(
            f"unnamed_share: {data} holds none of the sets whose cells bear no type; add one, or "
            "set unnamed_share to 0 (--config)"
        )
    return found


def drawn_crops(
    spec: ClassifierSpec,
    data: Path,
    config: ClassifierConfig,
    cache: Path | None,
    labelled: CellCrops,
) -> CellCrops | None:
    """The crops of every part whose cell was drawn into another shape, None where the configuration
    asks for none. Raises UsageError where it asks and the classifier has none.
    """
    if config.drawn_share == 0:
        return None
    if spec.drawn is None:
        raise UsageError(f"drawn_share: {spec.command} draws no cells")
    return spec.drawn(data, config, cache, labelled)


def _check_left_out(source: str | None, pools: Sequence[CellCrops | None]) -> None:
    have = {str(name) for crops in pools if crops is not None for name in crops.sources}
    if source is not None and source not in have:
        raise UsageError(f"--leave-out {source}: the data root holds {', '.join(sorted(have))}")


def _learnt_from(crops: CellCrops, config: ClassifierConfig, run: Run) -> NDArray[np.bool_]:
    """Which crops are of the parts and the sources that are learnt from, bool (n,)."""
    own = np.isin(crops.parts(), config.train_parts) & (crops.sources != run.leave_out)
    return np.asarray(own, np.bool_)


def with_drawn(crops: CellCrops, drawn: CellCrops | None) -> CellCrops:
    """Labelled crops and the drawn ones, whose classes are known as well."""
    return crops if drawn is None or not len(drawn) else joined([crops, drawn])


def with_drawn_alone(
    crops: CellCrops, drawn: CellCrops | None, drawn_alone: Sequence[str]
) -> CellCrops:
    """Labelled crops, and drawn ones of the classes that nobody has labelled any cell of."""
    if drawn is None:
        return crops
    wanted = [drawn.classes.index(name) for name in drawn_alone]
    return with_drawn(crops, drawn.where(np.isin(drawn.labels, wanted)))


def _drawn_alone(labelled: CellCrops, drawn: CellCrops | None) -> list[int]:
    """The classes that have drawn cells and no labelled one in any part."""
    return (
        [] if drawn is None else sorted(set(drawn.labels.tolist()) - set(labelled.labels.tolist()))
    )


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
    if list(checkpoint.record["classes"]) != list(spec.classes):
        raise UsageError("--teacher: it names other classes than this version; train it again")
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


def _totals_of(crops: CellCrops | None, what: str) -> dict[str, int]:
    if crops is None:
        return {}
    sources = crops.sources.tolist()
    return {f"{source}, {what}": sources.count(source) for source in sorted(set(sources))}


def _sources(
    training: CellCrops, unnamed: UnnamedCrops | None, drawn: CellCrops | None
) -> list[str]:
    also = [] if unnamed is None else unnamed.crops.sources.tolist()
    also += [] if drawn is None else drawn.sources.tolist()
    return sorted({*training.sources.tolist(), *also})


def _totals(crops: CellCrops) -> dict[str, int]:
    return {source: sum(by.values()) for source, by in crops.counts().items()}
