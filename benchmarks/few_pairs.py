"""How well few analyser pairs calibrate, on the simulated microscope.

``python benchmarks/few_pairs.py [MICROSCOPES] [REPEATS]``: draws microscopes with stains, optics
and sensors of their own, and samples of each, whose film and stain differ between smears; the
last quarter of them is another batch of stain. Calibrates on 8, 20 and 40 samples of each,
with and without one pair that is mixed up, and estimates its other samples: how far off they are,
how often their interval holds, how many calibrations are refused. Beside it a free least-squares
line on the same estimator. Prints first how the lines of each estimator through all samples run,
which is what is known before any pair (`edgehemo_calibration.analyser.line`).

The simulation bounds what it says: nothing here is an accuracy of a real instrument. What scatters
more between real smears than between simulated ones is laid on top: of Chula RBC-12's slides the
density of red cells differs by a quarter, health and white balance included; each microscope gets a
share of it of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

import edgehemo
from edgehemo.errors import CalibrationError
from edgehemo.estimate.estimators import BY_NAME, PREFERRED, estimators_of
from edgehemo.estimate.indices import field_indices
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.sample import estimate_sample
from edgehemo.estimate.values import FieldIndices, SampleIndices
from edgehemo.field.canonical import canonical_field
from edgehemo.measurands import MEASURANDS, Measurand
from edgehemo.profile.profile import new_profile
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import draw_panel
from edgehemo.simulation.parameters import (
    SimulationParameters,
    lognormal_with_mean_one,
    randomised_parameters,
)
from edgehemo.statistics.student import t95
from edgehemo_calibration.analyser.fit import AnalyserSample, fit_analyser

SAMPLES, OF_ANOTHER_BATCH = 80, 20
WIDTH_UM, HEIGHT_UM = 140.0, 110.0
FIELDS = 2
PAIRS = (8, 20, 40)
# Relative standard deviations, one of each drawn for a microscope: film and stain of a smear, and
# the stain beyond what is drawn (see above); those of a batch.
FILM, STAIN, STAIN_ON_TOP = (0.03, 0.08), (0.02, 0.12), (0.0, 0.25)
BATCH_STAIN, BATCH_FILM = 0.07, 0.03
HGB: Measurand = "hgb_g_per_l"
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Patient:
    """One simulated sample: what the analyser would say, and its indices with one field and all."""

    sample: AnalyserSample
    one_field: SampleIndices
    another_batch: bool


def main(microscopes: int, repeats: int) -> None:
    """Print how lines run, then a row for each number of pairs, with and without a mixed-up one."""
    rng = np.random.default_rng(20261127)
    banks = []
    for number in range(microscopes):
        banks.append(microscope(rng))
        print(f"microscope {number + 1} of {microscopes}", file=sys.stderr)
    lines(banks)
    for fields in (1, FIELDS):
        for pairs in PAIRS:
            for mixed in (False, True):
                for name, method in {"shipped": shipped, "free line": free_line}.items():
                    rates = [
                        calibrated(bank, pairs, fields, mixed, method, np.random.default_rng(seed))
                        for bank in banks
                        for seed in range(repeats)
                    ]
                    show(f"{pairs} pairs, {fields} fields, {'one' if mixed else 'none'} mixed up, "
                         f"{name}", rates)  # fmt: skip


def microscope(rng: np.random.Generator) -> list[Patient]:
    """A microscope's patients."""
    drawn = usable_parameters(rng)
    um_per_px = rng.uniform(0.25, 0.4)
    film_sd, stain_sd, top_sd = (rng.uniform(*r) for r in (FILM, STAIN, STAIN_ON_TOP))
    batches = (
        (1.0, 1.0),
        (lognormal_with_mean_one(rng, BATCH_STAIN), lognormal_with_mean_one(rng, BATCH_FILM)),
    )
    found = []
    for number in range(SAMPLES):
        another = number >= SAMPLES - OF_ANOTHER_BATCH
        stain, film = batches[another]
        stain *= lognormal_with_mean_one(rng, stain_sd)
        film *= lognormal_with_mean_one(rng, film_sd)
        top = float(np.exp(rng.normal(0.0, top_sd)))
        panel = draw_panel(rng)
        fields = []
        for _ in range(FIELDS):
            frame = simulate_field(
                panel,
                rng=rng,
                width_px=int(WIDTH_UM / um_per_px),
                height_px=int(HEIGHT_UM / um_per_px),
                um_per_px=um_per_px,
                smear=replace(
                    drawn.smear,
                    field_thickness_sd=0.1,
                    film_thickness_um=drawn.smear.film_thickness_um * film,
                ),
                stain=replace(
                    drawn.stain,
                    eosin_od_per_pg_um2=min(2.0, drawn.stain.eosin_od_per_pg_um2 * stain),
                    red_cell_azure_od_per_pg_um2=min(
                        1.0, drawn.stain.red_cell_azure_od_per_pg_um2 * stain
                    ),
                ),
                optics=replace(
                    drawn.optics, defocus_um=drawn.optics.defocus_um + float(rng.normal(0, 0.1))
                ),
                sensor=drawn.sensor,
            ).frame
            fields.append(deeper(field_indices(canonical_field(frame, um_per_px=um_per_px)), top))
        reference: dict[Measurand, float] = {
            HGB: panel.hgb_g_per_l,
            "hct_l_per_l": panel.hct_l_per_l,
            "rbc_1e12_per_l": panel.rbc_1e12_per_l,
        }
        sample = AnalyserSample(f"s{number}", pool(fields), reference)
        found.append(Patient(sample, pool(fields[:1]), another))
    return found


def usable_parameters(rng: np.random.Generator) -> SimulationParameters:
    """Parameters whose fields quality would accept."""
    while True:
        drawn = randomised_parameters(rng)
        optics = drawn.optics
        if (
            drawn.sensor.background_level >= 0.5
            and optics.field_stop_radius is None
            and optics.defocus_radius_um <= 0.5
            and optics.vignette <= 0.3
            and drawn.smear.crowding <= 0.6
        ):
            return drawn


def deeper(field: FieldIndices, factor: float) -> FieldIndices:
    """The field stained deeper by a factor."""
    names = ("cell_od_green", "cell_od_blue", "field_od_green", "field_od_blue")
    changed = {name: factor * getattr(field, name) for name in names}
    return replace(field, scale_source="given", **changed)


def lines(banks: list[list[Patient]]) -> None:
    """What a line through all samples of a microscope is to one through zero, by estimator."""
    for measurand in MEASURANDS:
        for estimator in estimators_of(measurand):
            if estimator.needs_network or estimator.needs_finder or len(estimator.features) > 1:
                continue
            rises, residuals = [], []
            for bank in banks:
                rows = [
                    (value[0], patient.sample.reference[measurand])
                    for patient in bank
                    if (value := estimator.values(patient.sample.indices.mean)) is not None
                ]
                x, y = np.array(rows).T
                slope, intercept = np.polyfit(x, y, 1)
                rises.append(slope * x.mean() / y.mean())
                residuals.append(np.std(y - intercept - slope * x) / y.mean())
            first = "preferred" if estimator.name in PREFERRED[measurand] else ""
            print(
                f"{measurand} {estimator.name}: rises by {np.mean(rises):.2f} (sd "
                f"{np.std(rises):.2f}) of a line through zero, pairs err by "
                f"{np.mean(residuals):.3f} {first}"
            )


Method = Callable[[list[AnalyserSample], list[SampleIndices]], tuple[Array, Array] | None]


def calibrated(
    bank: list[Patient],
    pairs: int,
    fields: int,
    mixed: bool,
    method: Method,
    rng: np.random.Generator,
) -> tuple[Array, Array] | None:
    """Errors and half widths on the patients that did not take part; None where it was refused."""

    def indices(patient: Patient) -> SampleIndices:
        return patient.one_field if fields == 1 else patient.sample.indices

    ours = [place for place, patient in enumerate(bank) if not patient.another_batch]
    chosen = set(rng.choice(ours, pairs, replace=False).tolist())
    taken = [replace(bank[i].sample, indices=indices(bank[i])) for i in sorted(chosen)]
    others = [patient for place, patient in enumerate(bank) if place not in chosen]
    if mixed:
        wrong = others[int(rng.integers(len(others)))].sample.reference
        place = int(rng.integers(pairs))
        taken[place] = replace(taken[place], reference=wrong)
    outcome = method(taken, [indices(patient) for patient in others])
    if outcome is None:
        return None
    values, reach = outcome
    return values - np.array([patient.sample.reference[HGB] for patient in others]), reach


def shipped(taken: list[AnalyserSample], others: list[SampleIndices]) -> tuple[Array, Array] | None:
    """As `edgehemo calibrate analyser` and a screening do it."""
    try:
        fit = fit_analyser(taken, (HGB,), made_at=datetime.now(UTC))
    except CalibrationError:
        return None
    profile = new_profile(datetime.now(UTC), software_version=edgehemo.__version__)
    profile = profile.model_copy(update={"analyser": fit.calibration})
    given = [estimate_sample(indices, profile).hgb_g_per_l for indices in others]
    nothing = float("nan")
    values = np.array([nothing if one is None else one.value for one in given])
    return values, np.array([nothing if one is None else one.high for one in given]) - values


def free_line(
    taken: list[AnalyserSample], others: list[SampleIndices]
) -> tuple[Array, Array] | None:
    """Least squares on the preferred estimator, nothing known beforehand and nothing refused."""
    estimator = BY_NAME[PREFERRED[HGB][0]]

    def design(samples: list[SampleIndices]) -> Array:
        rows = [estimator.values(sample.mean) or (0.0,) for sample in samples]
        return np.column_stack([np.ones(len(rows)), np.array(rows)])

    x, new = design([sample.indices for sample in taken]), design(others)
    y = np.array([sample.reference[HGB] for sample in taken])
    inverse = np.linalg.inv(x.T @ x)
    line = inverse @ x.T @ y
    sd = np.sqrt(((y - x @ line) ** 2).sum() / (len(y) - 2))
    spread = 1.0 + np.einsum("ni,ij,nj->n", new, inverse, new)
    return new @ line, t95(len(y) - 2) * sd * np.sqrt(spread)


def show(title: str, rates: list[tuple[Array, Array] | None]) -> None:
    """One row."""
    made = [rate for rate in rates if rate is not None]
    if not made:
        print(f"{title}: all refused")
        return
    errors = np.concatenate([rate[0] for rate in made])
    reach = np.concatenate([rate[1] for rate in made])
    shifts = np.array([np.nanmean(rate[0]) for rate in made])
    known = ~np.isnan(errors)
    errors, reach = errors[known], reach[known]
    print(
        f"{title}: {1 - len(made) / len(rates):.0%} refused, error {np.median(np.abs(errors)):.1f} "
        f"g/L (median), common shift {np.sqrt(np.mean(shifts**2)):.1f}, interval of "
        f"{np.median(reach):.0f} holds {np.mean(np.abs(errors) <= reach):.3f}"
    )


if __name__ == "__main__":
    main(*(int(value) for value in (*sys.argv[1:], *("24", "3")[len(sys.argv) - 1 :])))
