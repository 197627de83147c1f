"""How good the anaemia screen is: by field and by sample, and how its log odds are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from edgehemo.bundle.manifest import KindOperatingPoint, Metric, ScoreCalibration
from edgehemo.errors import UsageError
from edgehemo.estimate.anaemia_screen import class_of, sigmoid
from edgehemo.field.tiles import TILE_PX
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.simulated.tiles import simulated_fields, simulated_one
from edgehemo_export.data.smears import ANAEMIA
from edgehemo_export.data.splits import Part, model_split
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.evaluation.explanations import explanation_picture
from edgehemo_export.evaluation.statistics import bootstrap_by_group, clopper_pearson, metric_of
from edgehemo_export.models.anaemia_screen.checkpoint import screen_net
from edgehemo_export.models.anaemia_screen.data import (
    SIMULATED,
    SOURCES,
    ScreenField,
    part_images,
    screen_fields,
    screen_images,
    simulated_screen_fields,
)
from edgehemo_export.models.anaemia_screen.training import (
    ScreenTrainingConfig,
    field_log_odds,
)
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet

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
    for source in _in_order(field.source for field in fields):
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


def _in_order(sources: Iterable[str]) -> list[str]:
    """Those that occur, the public ones in their order, then the own ones."""
    there = set(sources)
    return [*(name for name in SOURCES if name in there), *sorted(there - set(SOURCES))]


def operating_point(fields: Judged) -> KindOperatingPoint:
    """How a sample's mean log odds become a probability: Platt's line on the tune samples, with a
    ridge that keeps few samples from deciding much. Both classes weigh the same in all, and within
    a class every source.
    """
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
    left out of training all of it, and that alone.
    """
    net = screen_net(checkpoint)
    config = ScreenTrainingConfig.model_validate(checkpoint.record["configuration"])
    left_out = checkpoint.record.get("left_out")
    images = screen_images(data)
    if left_out is None:
        split = model_split(checkpoint.task, checkpoint.record)
        chosen = part_images(images, part, None, split)
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
    for source in _in_order(found.sources):
        metrics += source_metrics(found.of(source), source, point)
    return Evaluation(metrics, pictures={} if left_out else {"gradcam": explained(net)})


def source_metrics(fields: Judged, source: str, point: KindOperatingPoint) -> list[Metric]:
    """Of one source: AUROC by field and by sample where both classes are there, and how many
    samples are called right, called neither, with exact intervals.
    """
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


def explained(net: AnaemiaScreenNet) -> bytes:
    """Grad-CAM of simulated tiles of different blood, as PNG."""
    tiles, captions = [], []
    for index in range(EXPLAINED_FIELDS):
        made = simulated_one(index, seed=EXPLAINED_SEED, reference=True)
        tiles.append(np.ascontiguousarray(made.codes[0, :TILE_PX, :TILE_PX]))
        captions.append(f"simulated, HGB {made.panel[0, 0]:.0f} g/L")
    outputs = [(0, "control-like"), (1, "anaemia-like")]
    return explanation_picture(net, tiles, captions, outputs)
