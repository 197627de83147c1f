"""How good the field estimator is: on simulated samples, on the analyser pairs, on real fields.

Used as a device uses it: a straight line fitted on some samples of a microscope, the others
estimated by it. What is said of simulated samples is said of the simulation.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Metric
from edgehemo.cells.finder import CellFinder
from edgehemo.device.equipment import open_finder
from edgehemo.errors import CalibrationError, EdgeHemoError, EdgeHemoWarning
from edgehemo.estimate.network import FieldNetwork, FieldNetworks
from edgehemo.estimate.pooling import pool
from edgehemo.field.tiles import TILE_PX
from edgehemo.images.reading import read_frame
from edgehemo.inference import Runner
from edgehemo.measurands import MEASURANDS, Measurand
from edgehemo.screening.field import FieldReader
from edgehemo_calibration.analyser.fit import AnalyserSample, fit_analyser
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.field_tiles import real_fields
from edgehemo_export.data.sets import anerbc, read_set
from edgehemo_export.data.sets.own import OwnSet, own_sets
from edgehemo_export.data.sets.own_samples import sample_fields
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.data.simulated.samples import SimulatedSample, samples
from edgehemo_export.data.simulated.tiles import BLOCK_PX
from edgehemo_export.data.smears import FieldImage, smear_images
from edgehemo_export.data.splits import Part, model_split
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.evaluation.statistics import bootstrap_by_group, metric_of
from edgehemo_export.models.field_estimator.checkpoint import estimator_net
from edgehemo_export.models.field_estimator.lines import (
    COMPARED,
    DRAWN,
    SHORT,
    Estimates,
    estimates,
    features,
)
from edgehemo_export.models.field_estimator.pictures import explained, scatter_picture
from edgehemo_export.models.tiled_fields import PAIRED_SOURCE
from edgehemo_export.nets.torch_runner import TorchRunner

FIELDS_PER_SAMPLE = 20
# Seeds of the simulated slides, far apart so that no part shares one with another.
FIRST_SEED: Mapping[Part, int] = {"train": 500_000, "tune": 2000, "test": 1000}
# Samples of the default microscope, each estimated by the line through all the others. Of 16 the
# mean absolute error of one estimator was 4.0 and 5.7 g/L in two parts: too few to tell.
SIMULATED_SAMPLES = 40
# Microscopes drawn from the wide ranges: samples of each, leave-one-out.
OTHER_MICROSCOPES = 2
OTHER_SAMPLES, OTHER_FIELDS = 8, 4
# Real fields of a set that the nominal outputs are compared with physics on.
FIELDS_PER_SOURCE = 12
MIN_TILES = 8


def simulated_metrics(
    networks: FieldNetworks | None,
    part: Part,
    cache: Path | None,
    *,
    count: int | None = None,
) -> tuple[list[Metric], dict[str, Estimates]]:
    """Of the default simulated microscope, each sample by a line through the others.

    count: of samples, for a quicker look. Returns the estimates behind, by estimator.
    """
    first = FIRST_SEED[part]
    total = count or SIMULATED_SAMPLES
    read = list(
        samples(range(first, first + total), fields=FIELDS_PER_SAMPLE, microscope=None, cache=cache)
    )
    return _compared(read, networks, "simulated microscope")


def other_microscope_metrics(
    networks: FieldNetworks | None, part: Part, cache: Path | None
) -> list[Metric]:
    """Of microscopes drawn from the wide ranges, each with a line of its own (leave-one-out)."""
    first = FIRST_SEED[part] + 100_000
    out: list[Metric] = []
    for number in range(OTHER_MICROSCOPES):
        seeds = range(first + 100 * number, first + 100 * number + OTHER_SAMPLES)
        which = FIRST_SEED[part] + number
        read = [
            sample
            for sample in samples(seeds, fields=OTHER_FIELDS, microscope=which, cache=cache)
            if sample.fields
        ]
        if len(read) >= OTHER_SAMPLES // 2:
            name = f"randomised microscope {number + 1}, {OTHER_FIELDS} fields a sample"
            out += _compared(read, networks, name)[0]
    return out


def _compared(
    read: Sequence[SimulatedSample],
    networks: FieldNetworks | None,
    source: str,
) -> tuple[list[Metric], dict[str, Estimates]]:
    kept = [(sample, pooled) for sample in read if (pooled := sample.pooled(networks))]
    metrics: list[Metric] = []
    found: dict[str, Estimates] = {}
    for measurand in MEASURANDS:
        reference = np.array([sample.reference[measurand] for sample, _ in kept])
        by_name = {name: features([p for _, p in kept], name) for name in COMPARED[measurand]}
        by_name[DRAWN] = np.array([sample.drawn(measurand) for sample, _ in kept])
        for name, x in by_name.items():
            if x is None:
                continue
            made = estimates(x, reference)
            found[f"{measurand}/{name}"] = made
            metrics += _metrics(made, source, f"{SHORT[measurand]} {{}} by {name}")
    return metrics, found


def _metrics(made: Estimates, source: str, name: str) -> list[Metric]:
    groups = [str(i) for i in range(len(made.reference))]
    intervals = bootstrap_by_group(groups, made.figures)
    return [
        metric_of(interval, name.format(figure), source, len(groups))
        for figure, interval in intervals.items()
    ]


def pair_metrics(data: Path, finder: CellFinder, networks: FieldNetworks | None) -> list[Metric]:
    """Leave-one-out errors on the analyser pairs of a data root, AneRBC's and those of own sets,
    each estimator by itself.

    As `edgehemo calibrate analyser` counts them: samples of one blood count leave together. Empty
    where the root holds no pairs. Fields are read as a screening reads them, but those that quality
    refuses are measured too, and without the envelope: the eight fields are all there are, taken at
    a low power that no finder was trained on.
    """
    pictures = [picture for picture in read_set(data, anerbc.SOURCE) if picture.labels.blood_count]
    reader = FieldReader(finder, networks=networks, keep_refused=True)
    public = [
        _Pictured(picture.original, (picture.path,), analyser_values(picture))
        for picture in pictures
    ]
    out = _pair_metrics("AneRBC", public, reader) if public else []
    for own in own_sets(data):
        measured = _own_samples(own)
        try:
            out += _pair_metrics(own.told.name, measured, reader) if measured else []
        except CalibrationError as error:
            warnings.warn(
                f"{own.told.name}: not measured against its analyser: {error}",
                EdgeHemoWarning,
                stacklevel=2,
            )
    return out


@dataclass(frozen=True)
class _Pictured:
    """A sample of real blood: its name, pictures and the analyser's values."""

    name: str
    paths: tuple[Path, ...]
    values: Mapping[Measurand, float]


def _own_samples(own: OwnSet) -> list[_Pictured]:
    """The measured samples of an own set."""
    fields = [item for item in sample_fields(own) if item.values]
    return [
        _Pictured(
            name,
            tuple(item.path for item in fields if item.sample == name),
            next(item.values for item in fields if item.sample == name),
        )
        for name in dict.fromkeys(item.sample for item in fields)
    ]


def _pair_metrics(name: str, pictured: Sequence[_Pictured], reader: FieldReader) -> list[Metric]:
    """Of one set; CalibrationError where no line can be fitted on its samples."""
    read: list[AnalyserSample] = []
    for sample in pictured:
        indices = []
        for path in sample.paths:
            try:
                reading = reader.read(read_frame(path))
            except EdgeHemoError:
                continue
            if reading.indices is not None:
                indices.append(reading.indices)
        if indices:
            read.append(AnalyserSample(sample.name, pool(indices), dict(sample.values)))
    fit = fit_analyser(read, made_at=datetime.now(UTC))
    source = f"{name}, {len(read)} pairs, leave-one-out"
    out: list[Metric] = []
    for measurand in MEASURANDS:
        calibration = fit.calibration.of(measurand)
        if calibration is None:
            continue
        for candidate in calibration.candidates:
            if candidate.loo_mae is not None:
                name = f"{SHORT[measurand]} MAE by {candidate.estimator}"
                out.append(
                    Metric(name=name, source=source, value=candidate.loo_mae, images=len(read))
                )
        out.append(
            Metric(
                name=f"{SHORT[measurand]} MAE, chosen inside the loop "
                f"(on all: {calibration.estimator})",
                source=source,
                value=calibration.nested_mae,
                images=len(read),
            )
        )
    return out


def analyser_values(picture: SetPicture) -> dict[Measurand, float]:
    """What the analyser said of a picture's blood, where its report has the value."""
    count = picture.labels.blood_count
    values = {name: getattr(count, name, None) for name in MEASURANDS}
    return {name: value for name, value in values.items() if value is not None}


def physics_metrics(
    images: Sequence[FieldImage], finder: CellFinder, runner: Runner
) -> list[Metric]:
    """Of real fields, by set: how the nominal outputs follow what physics says of the same tiles
    (light absorbed, cover, cells found): correlation over tiles.
    """
    out: list[Metric] = []
    for source in sorted({image.source for image in images}):
        here = [image for image in images if image.source == source]
        here = here[:: max(1, len(here) // FIELDS_PER_SOURCE)][:FIELDS_PER_SOURCE]
        rows, groups = [], []
        for image in here:
            for field in real_fields([image], finder, None, accepted_only=True):
                if not field.fits(TILE_PX):
                    continue
                blocks = TILE_PX // BLOCK_PX
                content = field.content[:blocks, :blocks].mean(axis=(0, 1))
                answer = runner.run(np.ascontiguousarray(field.codes[None, :TILE_PX, :TILE_PX]))
                rows.append([*answer[0, :3], *content])
                groups.append(field.group)
        if len(rows) < MIN_TILES:
            continue
        table = np.array(rows)

        def correlations(
            chosen: NDArray[np.intp], table: NDArray[np.float64] = table
        ) -> dict[str, float]:
            part = table[chosen]
            return {
                name: float(np.corrcoef(part[:, i], part[:, 3 + i])[0, 1])
                if part[:, i].std() > 0 and part[:, 3 + i].std() > 0
                else math.nan
                for i, name in enumerate(
                    ("HGB with light absorbed", "HCT with cover", "RBC with cells found")
                )
            }

        for name, interval in bootstrap_by_group(groups, correlations).items():
            out.append(
                Metric(
                    name=f"PCC of {name}, by tile",
                    source=source,
                    value=interval.value,
                    low=interval.low,
                    high=interval.high,
                    images=len(rows),
                )
            )
    return out


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Simulated samples by a line fitted on others, the analyser pairs leave-one-out, and real
    fields of this part (of a source left out of training all, and that alone) against physics.
    """
    net = estimator_net(checkpoint)
    runner = TorchRunner(net)
    envelope = checkpoint.record["training_envelope"]
    networks = FieldNetworks(estimator=FieldNetwork(runner, envelope))
    _, _, finder = open_finder(None)
    cache = sample_cache()
    left_out = checkpoint.record.get("left_out")
    if left_out is not None:
        images = [image for image in smear_images(data) if image.source == left_out]
        return Evaluation(physics_metrics(images, finder, runner))
    metrics, found = simulated_metrics(networks, part, cache)
    metrics += other_microscope_metrics(networks, part, cache)
    metrics += pair_metrics(data, finder, networks)
    split = model_split(checkpoint.task, checkpoint.record)
    images = [i for i in split.select(smear_images(data), part) if i.source != PAIRED_SOURCE]
    metrics += physics_metrics(images, finder, runner)
    return Evaluation(
        metrics,
        pictures={"simulated": scatter_picture(found), "gradcam": explained(net)},
    )


def sample_cache() -> Path | None:
    """Where rendered samples are kept between evaluations: EDGEHEMO_SAMPLE_CACHE, if set."""
    named = os.environ.get("EDGEHEMO_SAMPLE_CACHE")
    return Path(named) if named else None
