"""From the pooled indices of a sample to concentrations, through the profile's calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edgehemo.estimate.estimators import BY_NAME, Estimator
from edgehemo.estimate.pooling import leave_one_field_out
from edgehemo.estimate.values import CalibrationGrade, FieldIndices, SampleEstimate, SampleIndices
from edgehemo.guidance.withheld import NotGiven, not_given
from edgehemo.measurands import (
    BLOOD_FACTS,
    DERIVED_FACTS,
    MEASURAND_FACTS,
    DerivedIndex,
    Measurand,
)
from edgehemo.statistics.interval import Interval

if TYPE_CHECKING:
    from edgehemo.profile.analyser import AnalyserCalibration, MeasurandCalibration
    from edgehemo.profile.profile import CalibrationProfile

# How far beyond what the calibration saw a line is trusted, as a share of the range it saw.
EXTRAPOLATION_MARGIN = 0.10


def estimate_sample(
    pooled: SampleIndices,
    profile: CalibrationProfile | None,
    *,
    bundle_sha256: str | None = None,
) -> SampleEstimate:
    """Estimate HGB, HCT and RBC of one sample with 95 % prediction intervals.

    A value is None with its reason where the profile holds no calibration for it, where the
    calibration does not hold (another flat field, scale or model bundle), where an index is
    missing, or where the sample lies more than 10 % of the calibrated range outside it.

    The interval is t x sqrt(s^2 (1 + h) + e^2): s the calibration's prediction standard deviation,
    h the sample's leverage (Draper and Smith, Applied Regression Analysis), e the error between
    this sample's fields (jackknife). The calibration's scatter holds some of e already, so the
    interval errs on the wide side.
    """
    analyser = profile.analyser if profile is not None else None
    if profile is None or analyser is None:
        return _nothing(not_given("NOT_CALIBRATED"))
    if mismatch := profile.analyser_mismatch():
        return _nothing(mismatch)
    values: dict[Measurand, Interval] = {}
    missing: dict[str, NotGiven] = {}
    estimators: dict[str, str] = {}
    for measurand, facts in MEASURAND_FACTS.items():
        calibration = analyser.of(measurand)
        outcome = (
            not_given("NOT_CALIBRATED_FOR", measurand=facts.name)
            if calibration is None
            else _finite(_estimated, pooled, calibration, analyser, bundle_sha256)
        )
        if isinstance(outcome, NotGiven):
            missing[measurand] = outcome
        else:
            values[measurand] = outcome
        if calibration is not None:
            estimators[measurand] = calibration.estimator
    derived, underived = _derived(values)
    missing |= underived
    return SampleEstimate(
        hgb_g_per_l=values.get("hgb_g_per_l"),
        hct_l_per_l=values.get("hct_l_per_l"),
        rbc_1e12_per_l=values.get("rbc_1e12_per_l"),
        mcv_fl=derived.get("mcv_fl"),
        mch_pg=derived.get("mch_pg"),
        mchc_g_per_l=derived.get("mchc_g_per_l"),
        reasons={name: why.reason for name, why in missing.items()},
        reason_codes={name: why.code for name, why in missing.items()},
        estimators=estimators,
        calibration=analyser.grade,
        notes=_notes(analyser, derived, estimators),
    )


def _finite(compute: Callable[..., Interval | NotGiven], *arguments: object) -> Interval | NotGiven:
    """What is computed; not given where finite numbers of a profile are so far off that they lead
    beyond all numbers.
    """
    try:
        outcome = compute(*arguments)
    except (OverflowError, ZeroDivisionError):
        return not_given("VALUE_NOT_A_NUMBER")
    if isinstance(outcome, Interval) and not all(
        math.isfinite(value) for value in (outcome.value, outcome.low, outcome.high)
    ):
        return not_given("VALUE_NOT_A_NUMBER")
    return outcome


def predict(calibration: MeasurandCalibration, features: tuple[float, ...]) -> float:
    """The line's value at features, in the measurand's unit."""
    intercept, *slopes = calibration.coefficients
    return intercept + sum(b * x for b, x in zip(slopes, features, strict=True))


def leverage(calibration: MeasurandCalibration, features: tuple[float, ...]) -> float:
    """X' (X'X)^-1 x of a new sample: how far it lies from the middle of the calibration."""
    x = (1.0, *features)
    rows = calibration.unscaled_covariance
    return max(0.0, sum(x[i] * rows[i][j] * x[j] for i in range(len(x)) for j in range(len(x))))


def _estimated(
    pooled: SampleIndices,
    calibration: MeasurandCalibration,
    analyser: AnalyserCalibration,
    bundle_sha256: str | None,
) -> Interval | NotGiven:
    estimator = BY_NAME.get(calibration.estimator)
    if estimator is None or calibration.features != tuple(f.name for f in estimator.features):
        return not_given("ESTIMATOR_UNKNOWN", estimator=calibration.estimator)
    if unusable := _unusable(estimator, pooled.mean, analyser, bundle_sha256):
        return unusable
    features = estimator.values(pooled.mean)
    if features is None:
        if estimator.needs_network and not pooled.mean.model:
            return not_given("NETWORK_SILENT")
        return not_given("INDEX_MISSING", indices=", ".join(calibration.features))
    if outside := _outside(calibration, features):
        return outside
    value = predict(calibration, features)
    low, high = _widened(calibration.value_low, calibration.value_high)
    if not low <= value <= high:
        return not_given(
            "VALUE_OUT_OF_RANGE",
            low=f"{calibration.value_low:g}",
            high=f"{calibration.value_high:g}",
        )
    between = _between_fields(pooled, estimator, calibration)
    variance = calibration.prediction_sd**2 * (1.0 + leverage(calibration, features)) + between**2
    reach = calibration.t95 * math.sqrt(variance)
    return Interval(value, max(0.0, value - reach), value + reach)


def _unusable(
    estimator: Estimator,
    mean: FieldIndices,
    analyser: AnalyserCalibration,
    bundle_sha256: str | None,
) -> NotGiven | None:
    if estimator.needs_scale and mean.scale_source not in ("profile", "given"):
        return not_given("SCALE_NOT_MEASURED")
    both = {bundle_sha256, analyser.bundle_sha256} - {None}
    if (estimator.needs_finder or estimator.needs_network) and len(both) == 2:
        return not_given("BUNDLE_CHANGED")
    return None


def _outside(calibration: MeasurandCalibration, features: tuple[float, ...]) -> NotGiven | None:
    for name, x, lowest, highest in zip(
        calibration.features,
        features,
        calibration.feature_low,
        calibration.feature_high,
        strict=True,
    ):
        low, high = _widened(lowest, highest)
        if not low <= x <= high:
            return not_given(
                "INDEX_OUT_OF_RANGE",
                index=name,
                value=f"{x:.3g}",
                low=f"{lowest:.3g}",
                high=f"{highest:.3g}",
            )
    return None


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = EXTRAPOLATION_MARGIN * (high - low)
    return low - margin, high + margin


def _between_fields(
    pooled: SampleIndices, estimator: Estimator, calibration: MeasurandCalibration
) -> float:
    """Standard error of the value from the scatter between fields, in the measurand's unit.

    Never below what the calibration's own samples lead one to expect: two fields may agree by
    chance. One field alone says nothing of its scatter: then only the expectation counts, and
    where the calibration had single fields too, its residuals hold it already.
    """
    count = len(pooled.fields)
    expected = (calibration.between_field_sd or 0.0) / math.sqrt(count)
    left_out = [estimator.values(mean) for mean in leave_one_field_out(pooled)]
    values = [predict(calibration, features) for features in left_out if features is not None]
    if len(values) < 2:
        return expected
    centre = sum(values) / len(values)
    scatter = sum((value - centre) ** 2 for value in values)
    return max(expected, math.sqrt(scatter * (len(values) - 1) / len(values)))


def _derived(
    values: Mapping[Measurand, Interval],
) -> tuple[dict[DerivedIndex, Interval], dict[str, NotGiven]]:
    """MCV, MCH and MCHC with relative errors added in quadrature.

    The errors of the two parts mostly go the same way (both grow with the cover), which a ratio
    forgives: taking them for independent errs on the wide side.
    """
    found: dict[DerivedIndex, Interval] = {}
    reasons: dict[str, NotGiven] = {}
    for name, facts in DERIVED_FACTS.items():
        parts = (facts.numerator, facts.denominator)
        upper, lower = (values.get(part) for part in parts)
        if upper is None or lower is None:
            missing = [MEASURAND_FACTS[part].name for part in parts if part not in values]
            reasons[name] = (
                not_given("PART_MISSING", part=missing[0])
                if len(missing) == 1
                else not_given("PARTS_MISSING", part=missing[0], other=missing[1])
            )
            continue
        if upper.value <= 0 or lower.value <= 0:
            reasons[name] = not_given("PART_NOT_POSITIVE")
            continue
        outcome = _finite(_ratio, facts.factor, upper, lower)
        if isinstance(outcome, NotGiven):
            reasons[name] = outcome
        else:
            found[name] = outcome
    return found, reasons


def _ratio(factor: float, upper: Interval, lower: Interval) -> Interval:
    value = factor * upper.value / lower.value
    relative = math.hypot(_relative_reach(upper), _relative_reach(lower))
    return Interval(value, value * math.exp(-relative), value * math.exp(relative))


def _relative_reach(interval: Interval) -> float:
    return (interval.high - interval.value) / interval.value


def _notes(
    analyser: AnalyserCalibration,
    derived: Mapping[DerivedIndex, Interval],
    estimators: Mapping[str, str],
) -> tuple[str, ...]:
    notes = []
    if analyser.grade == "demonstration":
        notes.append(
            f"demonstration: calibrated on {analyser.samples} samples, too few to claim accuracy"
        )
    if analyser.refused_fields:
        notes.append(f"calibrated with {analyser.refused_fields} fields that quality had refused")
    if analyser.scale_source == "red_cells":
        notes.append("calibrated at the red cells' own scale, which cannot see their true size")
    for name in derived:
        facts = DERIVED_FACTS[name]
        if estimators.get(facts.numerator) == estimators.get(facts.denominator):
            notes.append(
                f"{facts.name} stands on one and the same index twice and says little of its own"
            )
    return tuple(notes)


def _nothing(why: NotGiven) -> SampleEstimate:
    grade: CalibrationGrade = "none"
    return SampleEstimate(
        None, None, None, None, None, None,
        reasons=dict.fromkeys(BLOOD_FACTS, why.reason),
        reason_codes=dict.fromkeys(BLOOD_FACTS, why.code), estimators={}, calibration=grade,
    )  # fmt: skip
