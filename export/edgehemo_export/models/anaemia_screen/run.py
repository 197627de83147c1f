"""One run of `edgehemo train anaemia-screen` and of `edgehemo evaluate`, data root to file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import KindOperatingPoint, Metric, ScoreCalibration
from edgehemo.errors import UsageError
from edgehemo.estimate.anaemia_screen import class_of, sigmoid
from edgehemo.field.tiles import TILE_PX
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.envelope import training_envelope
from edgehemo_export.data.simulated_tiles import simulated_fields, simulated_one
from edgehemo_export.data.smear_sets import ANAEMIA, LICENCES
from edgehemo_export.data.splits import Part
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.evaluation.explanations import explanation_picture
from edgehemo_export.evaluation.statistics import bootstrap_by_group, clopper_pearson, metric_of
from edgehemo_export.models.anaemia_screen.card import screen_card
from edgehemo_export.models.anaemia_screen.data import (
    SIMULATED,
    SOURCES,
    ScreenField,
    part_images,
    screen_fields,
    screen_images,
    simulated_screen_fields,
)
from edgehemo_export.models.anaemia_screen.export import screen_subject
from edgehemo_export.models.anaemia_screen.training import (
    ScreenTask,
    ScreenTrainingConfig,
    field_log_odds,
    read_config,
)
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet
from edgehemo_export.nets.stored_weights import half_precision
from edgehemo_export.quantisation.subject import ExportSubject
from edgehemo_export.training.loop import Run, run_record, train

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]

TASK = "anaemia_screen"
# Simulated fields beside those trained on: shards of other seeds.
HELD_OUT_SEED_OFFSET: dict[Part, int] = {"train": 0, "tune": 1, "test": 2}
HELD_OUT_SIMULATED_FIELDS = 50
# Fields of a source and class that an evaluation reads.
MEASURED_FIELDS = 40
EXPLAINED_SEED, EXPLAINED_FIELDS = 20_261_204, 4


@dataclass(frozen=True)
class Judged:
    """Fields with their mean log odds (n,), labels (n,), sources and samples."""

    odds: NDArray[np.float64]
    labels: NDArray[np.intp]
    sources: Sequence[str]
    samples: Sequence[str]

    def of(self, source: str) -> Judged:
        chosen = [i for i, name in enumerate(self.sources) if name == source]
        return Judged(
            self.odds[chosen],
            self.labels[chosen],
            [self.sources[i] for i in chosen],
            [self.samples[i] for i in chosen],
        )

    def by_sample(self) -> Judged:
        """One row a sample (a patient where known, else a block of pictures): mean log odds."""
        names = list(dict.fromkeys(self.samples))
        owner = np.array([names.index(sample) for sample in self.samples])
        first = [int(np.flatnonzero(owner == i)[0]) for i in range(len(names))]
        return Judged(
            np.array([self.odds[owner == i].mean() for i in range(len(names))]),
            self.labels[first],
            [self.sources[i] for i in first],
            names,
        )


def run_training(
    data: Path,
    config: ScreenTrainingConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Read, train, calibrate the probability of a sample on the tune part."""
    if run.leave_out is not None and run.leave_out not in SOURCES:
        raise UsageError(
            f"--leave-out {run.leave_out}: no such source; known are {', '.join(SOURCES)}"
        )
    cache = work / "cache"
    images = screen_images(data)
    training = part_images(images, "train", run.leave_out)
    fields = screen_fields(training, cache)
    tune = screen_fields(part_images(images, "tune", run.leave_out), cache)
    if run.leave_out != SIMULATED:
        drawn = simulated_fields(
            config.simulated.fields, seed=config.loop.seed, cache=cache, progress=run.show_progress
        )
        fields += simulated_screen_fields(drawn, "train")
        tune += held_out_simulated("tune", config, cache)
    task = ScreenTask(fields, tune, config)
    net, state = train(task, AnaemiaScreenNet, config, work, run)
    # What is kept is what is measured: the weights as they are stored.
    net.load_state_dict(half_precision(net.state_dict()))
    point = operating_point(judged(net, tune, config))
    sources = sorted({field.source for field in fields})
    record: dict[str, Any] = {
        **run_record(config, state, run),
        "images": {source: sum(field.source == source for field in fields) for source in sources},
        "training_data": [LICENCES[source] for source in sources],
        "training_envelope": training_envelope(training, seed=config.loop.seed).model_dump(),
        "operating_point": point.model_dump(),
    }
    return Checkpoint(TASK, half_precision(net.state_dict()), record)


def held_out_simulated(
    part: Part, config: ScreenTrainingConfig, cache: Path | None
) -> list[ScreenField]:
    """Simulated fields of a part, of blood and microscopes that training never saw."""
    seed = config.loop.seed + HELD_OUT_SEED_OFFSET[part]
    return simulated_screen_fields(
        simulated_fields(HELD_OUT_SIMULATED_FIELDS, seed=seed, cache=cache), part
    )


def judged(
    net: AnaemiaScreenNet, fields: Sequence[ScreenField], config: ScreenTrainingConfig
) -> Judged:
    """The network's log odds of some fields of every source and class."""
    chosen: list[ScreenField] = []
    for source in SOURCES:
        for label in (0, 1):
            here = [f for f in fields if f.source == source and f.label == label]
            step = max(1.0, len(here) / MEASURED_FIELDS)
            chosen += [here[int(k * step)] for k in range(min(len(here), MEASURED_FIELDS))]
    net = net.eval()
    return Judged(
        np.array([field_log_odds(net, f.codes, config.tile_side_px) for f in chosen]),
        np.array([field.label for field in chosen], np.intp),
        [field.source for field in chosen],
        [field.group for field in chosen],
    )


def operating_point(fields: Judged) -> KindOperatingPoint:
    """How a sample's mean log odds become a probability: Platt's line on the tune samples, with a
    ridge that keeps few samples from deciding much. Both classes weigh the same in all, and within
    a class every source."""
    from sklearn.linear_model import LogisticRegression

    samples = fields.by_sample()
    labels = samples.labels.tolist()
    kinds = list(zip(samples.sources, labels, strict=True))
    # Sources of one class there are in the tune part, too: the classes must still weigh the same.
    sources_of = {label: len({s for s, other in kinds if other == label}) for label in set(labels)}
    weights = np.array([1.0 / (kinds.count(kind) * sources_of[kind[1]]) for kind in kinds])
    slope, intercept = 1.0, 0.0
    if len(set(samples.labels.tolist())) == 2:
        fitted = LogisticRegression(C=1.0).fit(
            samples.odds[:, None],
            samples.labels,
            sample_weight=weights * len(kinds) / weights.sum(),
        )
        slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return KindOperatingPoint(
        threshold=0.5,
        calibration=ScoreCalibration(slope=max(0.05, slope), intercept=intercept),
        count_relative_sd=0.0,
    )


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Metrics by source, by field and by sample, on one part of the split; of a source that was
    left out of training all of it, and that alone."""
    net = screen_net(checkpoint)
    config = ScreenTrainingConfig.model_validate(checkpoint.record["configuration"])
    left_out = checkpoint.record.get("left_out")
    images = screen_images(data)
    if left_out is None:
        chosen = part_images(images, part, None)
    else:
        chosen = [image for image in images if image.source == left_out]
    fields = screen_fields(chosen, None)
    if left_out in (None, SIMULATED):
        fields += held_out_simulated(part, config, None)
    if not fields:
        raise UsageError(f"{data} holds no field of the {part} part to measure the screen on")
    found = judged(net, fields, config)
    point = KindOperatingPoint.model_validate(checkpoint.record["operating_point"])
    metrics: list[Metric] = []
    for source in SOURCES:
        if source in found.sources:
            metrics += source_metrics(found.of(source), source, point)
    return Evaluation(metrics, pictures={} if left_out else {"gradcam": explained(net)})


def source_metrics(fields: Judged, source: str, point: KindOperatingPoint) -> list[Metric]:
    """Of one source: AUROC by field and by sample where both classes are there, and how many
    samples are called right, called neither, with exact intervals."""
    from sklearn.metrics import roc_auc_score

    out: list[Metric] = []
    for unit, rows in (("field", fields), ("sample", fields.by_sample())):

        def ranking(chosen: NDArray[np.intp], rows: Judged = rows) -> dict[str, float]:
            labels = rows.labels[chosen]
            if len(set(labels.tolist())) < 2:
                return {"AUROC": float("nan")}
            return {"AUROC": float(roc_auc_score(labels, rows.odds[chosen]))}

        if len(set(rows.labels.tolist())) == 2:
            made = bootstrap_by_group(list(rows.samples), ranking)["AUROC"]
            out.append(
                Metric(
                    name=f"AUROC by {unit}",
                    source=source,
                    value=made.value,
                    low=made.low,
                    high=made.high,
                    images=len(rows.labels),
                )
            )
    samples = fields.by_sample()
    calibration = point.calibration
    called = [
        class_of(sigmoid(calibration.slope * o + calibration.intercept)) for o in samples.odds
    ]
    truth = ["anaemia-like" if label == ANAEMIA else "control-like" for label in samples.labels]
    for name in ("anaemia-like", "control-like"):
        here = [said for said, true in zip(called, truth, strict=True) if true == name]
        if not here:
            continue
        for what, hits in (
            (f"{name} samples called so", here.count(name)),
            (f"{name} samples called uncertain", here.count("uncertain")),
        ):
            share = clopper_pearson(hits, len(here))
            out.append(metric_of(share, what, source, len(here)))
    return out


def screen_net(checkpoint: Checkpoint) -> AnaemiaScreenNet:
    """The network of a checkpoint, float32, in evaluation mode."""
    if checkpoint.task != TASK:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of the anaemia screen")
    net = AnaemiaScreenNet()
    net.load_state_dict(checkpoint.weights)
    return net.eval()


def explained(net: AnaemiaScreenNet) -> bytes:
    """Grad-CAM of simulated tiles of different blood, as PNG."""
    tiles, captions = [], []
    for index in range(EXPLAINED_FIELDS):
        made = simulated_one(index, seed=EXPLAINED_SEED, reference=True)
        tiles.append(np.ascontiguousarray(made.codes[0, :TILE_PX, :TILE_PX]))
        captions.append(f"simulated, HGB {made.panel[0, 0]:.0f} g/L")
    outputs = [(0, "control-like"), (1, "anaemia-like")]
    return explanation_picture(net, tiles, captions, outputs)


def card(checkpoint: Checkpoint) -> str:
    """The model card, from the checkpoint's record."""
    return screen_card(checkpoint)


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """What the exporter needs to know of the screen."""
    point = KindOperatingPoint.model_validate(checkpoint.record["operating_point"])
    return screen_subject(checkpoint, screen_net(checkpoint), point)
