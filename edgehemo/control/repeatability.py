"""The same slide measured again: how far two measurements may lie apart for no reason.

A run is one measurement of the slide: its fields, read and pooled as a screening reads and pools
them. Between runs the slide is taken off and put on again, and its fields are chosen anew. Pure:
whoever has the readings (a command, the kiosk) hands them in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgehemo.errors import CalibrationError
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.sample import estimate_sample
from edgehemo.estimate.values import FieldIndices, SampleIndices
from edgehemo.measurands import MEASURAND_FACTS, MEASURANDS
from edgehemo.profile.parts import Spread
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import UnreadableImage
from edgehemo.statistics.chi_square import sd_interval

MIN_RUNS = 3
# ISO 5725-6: two single results differ by more than this many standard deviations in 5 %.
REPEATABILITY_FACTOR = 2.77


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something a run gives: its name, what people call it, its unit, and how to read it."""

    name: str
    label: str
    unit: str
    decimals: int
    of: Callable[[FieldIndices], float | None]


# Indices that are judged, in the order of the report. The background is the lamp's and the
# exposure's, which no index shows because every field is divided by it.
QUANTITIES: tuple[Quantity, ...] = (
    Quantity("hgb_index", "haemoglobin index", "optical density", 4, lambda i: i.hgb_index),
    Quantity(
        "cell_od_green", "density of red cells", "optical density", 4, lambda i: i.cell_od_green
    ),
    Quantity("cell_cover", "share covered by cells", "share", 4, lambda i: i.cell_cover),
    Quantity("cell_area_um2", "area of a red cell", "um2", 2, lambda i: i.cell_area_um2),
    Quantity("rbc_per_mm2", "red cells", "per mm2", 0, lambda i: i.rbc_per_mm2),
)
BACKGROUND = "background_green"
# name -> (label, unit, decimals) of everything a run can give.
LABELS: Mapping[str, tuple[str, str, int]] = {
    **{item.name: (item.label, item.unit, item.decimals) for item in QUANTITIES},
    BACKGROUND: ("light of the background", "counts", 1),
    **{key: (facts.name, facts.unit, facts.decimals) for key, facts in MEASURAND_FACTS.items()},
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its values by quantity, pictures used, pictures refused with their codes."""

    name: str
    values: Mapping[str, float]
    fields: int
    refused: int
    codes: tuple[str, ...] = ()


def run_of(
    name: str,
    images: Sequence[FieldReading | UnreadableImage],
    profile: CalibrationProfile,
    bundle_sha256: str | None,
) -> Run:
    """A run from its readings; a run of which no field was accepted has no values.

    images: as `SampleReading.images` holds them, read although results are withheld: a control
    slide is what ends a block. bundle_sha256: of the model bundle, for concentrations through the
    profile's calibration. Raises CalibrationError naming pictures that could not be read.
    """
    unread = [f"{item.image}: {item.error}" for item in images if isinstance(item, UnreadableImage)]
    if unread:
        raise CalibrationError("; ".join(unread))
    fields = [item for item in images if isinstance(item, FieldReading)]
    measured = [item for item in fields if item.indices is not None]
    codes = {check.code or check.name for item in fields for check in item.quality.failed}
    refused = len(fields) - len(measured)
    if not measured:
        return Run(name, {}, 0, refused, tuple(sorted(codes)))
    pooled = pool([item.indices for item in measured if item.indices is not None])
    values = _indices_of(pooled)
    light = [item.background_rgb[1] for item in measured if item.background_rgb is not None]
    if light:
        values[BACKGROUND] = float(np.mean(light))
    estimate = estimate_sample(pooled, profile, bundle_sha256=bundle_sha256)
    for measurand in MEASURANDS:
        interval = estimate.of(measurand)
        if interval is not None:
            values[measurand] = interval.value
    return Run(name, values, len(measured), refused, tuple(sorted(codes)))


def spreads_of(runs: Sequence[Run], min_runs: int = MIN_RUNS) -> tuple[Spread, ...]:
    """Mean and standard deviation between runs of every quantity that all runs give.

    Raises CalibrationError with too few runs, and names runs without an accepted field.
    """
    if len(runs) < min_runs:
        raise CalibrationError(
            f"{len(runs)} runs are too few: measure the slide at least {min_runs} times, "
            "each time taken off and put on again"
        )
    empty = [
        f"{run.name} ({', '.join(run.codes) or 'no picture'})" for run in runs if not run.fields
    ]
    if empty:
        raise CalibrationError(f"no field accepted in {'; '.join(empty)}: measure them again")
    common = [name for name in LABELS if all(name in run.values for run in runs)]
    spreads = []
    for name in common:
        values = np.array([run.values[name] for run in runs])
        sd = float(values.std(ddof=1))
        low, high = sd_interval(sd, len(values) - 1)
        spreads.append(
            Spread(
                quantity=name,
                mean=float(values.mean()),
                sd=sd,
                sd_low=low,
                sd_high=high,
                runs=len(values),
            )
        )
    return tuple(spreads)


def _indices_of(pooled: SampleIndices) -> dict[str, float]:
    found = {}
    for quantity in QUANTITIES:
        value = quantity.of(pooled.mean)
        if value is not None:
            found[quantity.name] = float(value)
    return found
