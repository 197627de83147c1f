"""Fits HGB, HCT and RBC on samples measured by an analyser. Pure: no file, no clock.

The candidates are those of `edgehemo.estimate.estimators`: physical indices, the field estimator
(a network, where the bundle holds one) and their combinations. Each is a line nearly through zero
(`line`). Below twenty different results the estimator is fixed beforehand, the first in the table's
order of preference: the smallest error of so few samples is mostly chance. It is left only where it
errs more than twice as much as another. From twenty on the first is taken whose leave-one-out
error is within one standard error of the smallest (the one-standard-error rule, Breiman et al.
1984). The choice flatters its error, so the figure reported is the nested one: with the choice
made anew inside every fold.
Samples with the very same CBC panel are one patient's and leave together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import CalibrationError
from edgehemo.estimate.estimators import Estimator, estimators_of
from edgehemo.estimate.least_quality import why_too_poor
from edgehemo.estimate.values import SampleIndices
from edgehemo.measurands import MEASURAND_FACTS, MEASURANDS, Measurand
from edgehemo.profile.analyser import AnalyserCalibration, Candidate, MeasurandCalibration
from edgehemo.statistics.student import t95
from edgehemo_calibration.analyser.comparison import (
    bland_altman,
    correlation,
    deming,
    passing_bablok,
)
from edgehemo_calibration.analyser.envelope import calibration_pictures
from edgehemo_calibration.analyser.line import MIXED_UP, Array, Line, fit_line, left_out_estimates
from edgehemo_calibration.analyser.prediction import left_out_reach

MIN_SAMPLES = 8
MIN_PANELS = 6
MIN_SAMPLES_CALIBRATED = 20
# With fewer the preferred estimator is left only where its error is more than so many times the
# smallest: its features mean nothing on this microscope.
CLEARLY_WORSE = 2.0
# A sample this many robust standard deviations off is shown as an outlier; none is dropped.
OUTLIER_DEVIATIONS = 3.5
# One so many off, by the number of samples it holds from, stops the calibration until somebody
# looked at its tube. Of fits without a fault (normal errors, 3,000 each) 1 % hold such a sample,
# 0.4 % with 40; with few samples the scale of the errors itself is hardly known.
SUSPECT_DEVIATIONS = {0: 8.0, 12: 6.0, 20: 5.0}
# And never one that is off by less than this, however well the others lie on the line: three times
# what an analyser itself may err by (RCPA: HGB 5 g/L, HCT and RBC the same share of 100 g/L).
SUSPECT_LEAST: Mapping[Measurand, float] = {
    "hgb_g_per_l": 15.0,
    "hct_l_per_l": 0.045,
    "rbc_1e12_per_l": 0.5,
}


@dataclass(frozen=True, slots=True)
class AnalyserSample:
    """One sample: its name (for messages only), pooled indices and what the analyser measured."""

    name: str
    indices: SampleIndices
    reference: Mapping[Measurand, float]

    @property
    def panel(self) -> tuple[tuple[str, float], ...]:
        """What makes two samples one patient's."""
        return tuple(sorted(self.reference.items()))


@dataclass(frozen=True, slots=True)
class Point:
    """One sample's estimate from a fit that had not seen it (nested leave-one-out).

    outlier: far off, shown and kept; suspect: so far off that it stops the calibration. low,
    high: its 95 % prediction interval, made without it as well; None where the others did not
    determine one.
    """

    sample: str
    measurand: Measurand
    analyser: float
    estimate: float
    low: float | None
    high: float | None
    estimator: str
    outlier: bool
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class AnalyserFit:
    """The calibration for the profile; the points behind it, which name samples and stay out of
    the profile; and why a measurand got none.
    """

    calibration: AnalyserCalibration
    points: tuple[Point, ...]
    refused: Mapping[Measurand, str]


@dataclass(frozen=True, slots=True)
class _Table:
    """One measurand's data: references (n,), group numbers (n,), features by estimator (n, k).

    fields_per_sample: median. free_choice: whether the samples are enough to choose an estimator
    by. mixed_up: the chance that a pair is.
    """

    reference: Array
    groups: NDArray[np.int64]
    features: Mapping[str, Array]
    estimators: tuple[Estimator, ...]
    unusable: Mapping[str, str]
    fields_per_sample: float
    free_choice: bool
    mixed_up: float

    def without(self, group: int) -> _Table:
        kept = self.groups != group
        return replace(
            self,
            reference=self.reference[kept],
            groups=self.groups[kept],
            features={name: values[kept] for name, values in self.features.items()},
        )

    def line(self, name: str, mixed_up: float | None = None) -> Line | None:
        """Of one estimator; None where its features do not vary. mixed_up: another chance."""
        return fit_line(
            self.features[name],
            self.reference,
            fields_per_sample=self.fields_per_sample,
            patients=len(np.unique(self.groups)),
            mixed_up=self.mixed_up if mixed_up is None else mixed_up,
        )


def fit_analyser(
    samples: Sequence[AnalyserSample],
    measurands: Sequence[Measurand] = MEASURANDS,
    *,
    made_at: datetime,
    um_per_px: float | None = None,
    flat_field_sha256: str | None = None,
    bundle_sha256: str | None = None,
    refused_fields: int = 0,
    camera: str = "",
    keep_suspects: bool = False,
    min_samples: int = MIN_SAMPLES,
) -> AnalyserFit:
    """Fit every measurand that all samples carry.

    um_per_px, flat_field_sha256, bundle_sha256: what the indices were made with; the device
    refuses the calibration with anything else. refused_fields: how many of the samples' fields
    quality had refused. camera: the profile's. keep_suspects: go on although a sample lies far
    off the others' line: somebody has made sure that it is right. min_samples: lower it only to
    study the procedure.

    Raises CalibrationError with fewer than 8 samples or 6 different panels, and when no measurand
    can be calibrated; and where a sample lies so far off the fit of the others that its tube or
    picture may be another's, naming it.
    """
    refuse_too_few([sample.reference for sample in samples], min_samples)
    panels = sorted({sample.panel for sample in samples})
    groups = np.array([panels.index(sample.panel) for sample in samples], dtype=np.int64)
    fitted: list[MeasurandCalibration] = []
    points: list[Point] = []
    refused: dict[Measurand, str] = {}
    for measurand in measurands:
        if any(measurand not in sample.reference for sample in samples):
            refused[measurand] = "not measured for every sample"
            continue
        table = _table(samples, groups, measurand, 0.0 if keep_suspects else MIXED_UP)
        outcome = _fit_measurand(samples, table, measurand)
        if isinstance(outcome, str):
            refused[measurand] = outcome
        else:
            points.extend(outcome[1])
            if poor := why_too_poor(outcome[0]):
                refused[measurand] = poor.reason
            else:
                fitted.append(outcome[0])
    suspects = () if keep_suspects else _suspects(points)
    if suspects:
        raise CalibrationError(
            "is a tube mixed up, or a picture another's? Far off the line of the others: "
            f"{'; '.join(suspects)}. Look at the tube, the row and the pictures; where they are "
            "right, give --keep-suspects"
        )
    if not fitted:
        why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise CalibrationError(f"nothing can be calibrated on these samples: {why}")
    enough = len(panels) >= MIN_SAMPLES_CALIBRATED
    calibration = AnalyserCalibration(
        grade="calibrated" if enough else "demonstration",
        made_at=made_at,
        samples=len(samples),
        fields=sum(len(sample.indices.fields) for sample in samples),
        refused_fields=refused_fields,
        scale_source=_scale_source(samples),
        um_per_px=um_per_px,
        flat_field_sha256=flat_field_sha256,
        bundle_sha256=bundle_sha256,
        pictures=calibration_pictures([sample.indices for sample in samples], camera=camera),
        measurands=tuple(fitted),
    )
    return AnalyserFit(calibration, tuple(points), refused)


def refuse_too_few(
    references: Sequence[Mapping[Measurand, float]], min_samples: int = MIN_SAMPLES
) -> None:
    """Raise CalibrationError for too few samples, or too few different results among them.

    Known from the table alone, so that nobody waits for pictures to be measured in vain.
    """
    if len(references) < min_samples:
        raise CalibrationError(
            f"{len(references)} samples are too few for an analyser calibration: "
            f"measure at least {min_samples}, better {MIN_SAMPLES_CALIBRATED}"
        )
    panels = {tuple(sorted(reference.items())) for reference in references}
    if len(panels) < min(MIN_PANELS, min_samples - 1):
        raise CalibrationError(
            f"only {len(panels)} different analyser results among {len(references)} samples: "
            f"at least {MIN_PANELS} are needed"
        )


def _table(
    samples: Sequence[AnalyserSample],
    groups: NDArray[np.int64],
    measurand: Measurand,
    mixed_up: float,
) -> _Table:
    features: dict[str, Array] = {}
    unusable: dict[str, str] = {}
    candidates = estimators_of(measurand)
    for estimator in candidates:
        rows = [estimator.values(sample.indices.mean) for sample in samples]
        if reason := _unusable(estimator, samples, rows):
            unusable[estimator.name] = reason
        else:
            features[estimator.name] = np.array([row for row in rows if row], dtype=np.float64)
    reference = np.array([sample.reference[measurand] for sample in samples], dtype=np.float64)
    return _Table(
        reference,
        groups,
        features,
        candidates,
        unusable,
        fields_per_sample=float(np.median([len(sample.indices.fields) for sample in samples])),
        free_choice=len(np.unique(groups)) >= MIN_SAMPLES_CALIBRATED,
        mixed_up=mixed_up,
    )


def _unusable(
    estimator: Estimator,
    samples: Sequence[AnalyserSample],
    rows: Sequence[tuple[float, ...] | None],
) -> str:
    sources = {sample.indices.mean.scale_source for sample in samples}
    if estimator.needs_scale and not sources <= {"profile", "given"}:
        return "needs a measured scale: give --um-per-px or calibrate the scale"
    missing = sum(1 for row in rows if row is None)
    if missing:
        part = "the cell finder" if estimator.needs_finder else "enough single cells"
        if estimator.needs_network:
            part = "a bundle with the field estimator, and fields inside its training envelope"
        return f"{missing} of {len(rows)} samples lack it: needs {part}"
    return ""


def _why_no_line(table: _Table, name: str) -> str:
    """Why an estimator's line cannot be used, empty where it can."""
    line = table.line(name, mixed_up=0.0)
    if line is None:
        return "its features do not vary, or only together"
    if (line.coefficients[1:] <= 0).any():
        return "falls where physics says it must rise"
    return ""


def _left_out_errors(table: _Table, name: str) -> Array | str:
    """Errors of one estimator, each sample predicted without its group; or why there are none.

    Of lines for which no pair is mixed up: estimators are compared, and a pair that is spoils all.
    """
    if reason := _why_no_line(table, name):
        return reason
    found = left_out_estimates(
        table.features[name],
        table.reference,
        table.groups,
        fields_per_sample=table.fields_per_sample,
    )
    return "too few different panels" if found is None else found - table.reference


def _chosen(table: _Table) -> str | None:
    """The estimator to use: the preferred one unless another is clearly better, which few samples
    can hardly tell; None where none can be used.
    """
    usable = [e.name for e in table.estimators if e.name in table.features]
    errors = {name: _left_out_errors(table, name) for name in usable}
    absolute = {name: np.abs(e) for name, e in errors.items() if not isinstance(e, str)}
    if not absolute:
        return None
    best = min(absolute.values(), key=lambda found: float(found.mean()))
    preferred = next(iter(absolute))
    twice = float(absolute[preferred].mean()) > CLEARLY_WORSE * float(best.mean())
    if not (table.free_choice or twice):
        return preferred
    # Robust: one outlier would make every estimator as good as the best.
    standard_error = _robust_sd(best) / math.sqrt(len(np.unique(table.groups)))
    enough = float(best.mean()) + standard_error
    return next(name for name, found in absolute.items() if float(found.mean()) <= enough)


def _tried(table: _Table) -> tuple[Candidate, ...]:
    """Every estimator with its leave-one-out error, or the reason why it has none."""
    tried = []
    for estimator in table.estimators:
        names = tuple(feature.name for feature in estimator.features)
        reason = table.unusable.get(estimator.name, "")
        errors = reason or _left_out_errors(table, estimator.name)
        if isinstance(errors, str):
            tried.append(Candidate(estimator=estimator.name, features=names, reason=errors))
            continue
        mae, rmse = float(np.abs(errors).mean()), float(np.sqrt((errors**2).mean()))
        tried.append(
            Candidate(estimator=estimator.name, features=names, loo_mae=mae, loo_rmse=rmse)
        )
    return tuple(tried)


def _fit_measurand(
    samples: Sequence[AnalyserSample], table: _Table, measurand: Measurand
) -> tuple[MeasurandCalibration, tuple[Point, ...]] | str:
    name, candidates = _chosen(table), _tried(table)
    if name is None:
        return "no estimator fits: " + "; ".join(
            f"{candidate.estimator} {candidate.reason}" for candidate in candidates
        )
    estimator = next(e for e in table.estimators if e.name == name)
    features = table.features[name]
    line = table.line(name)
    groups = np.unique(table.groups)
    if line is None:
        return "too few different panels for its features"

    n = len(table.reference)
    estimates, spread, mean_only = np.empty(n), np.ones(n), np.empty(n)
    residual_sd, inner_freedom = np.zeros(n), np.zeros(n, dtype=np.int64)
    used = [""] * n
    for group in groups:
        out = table.groups == group
        part = table.without(int(group))
        inner = _chosen(part)
        inner_line = None if inner is None else part.line(inner)
        mean_only[out] = part.reference.mean()
        if inner is None or inner_line is None:
            estimates[out] = mean_only[out]
        else:
            estimates[out] = inner_line.at(table.features[inner][out])
            spread[out] = inner_line.spread(table.features[inner][out])
            residual_sd[out] = inner_line.prediction_sd
            inner_freedom[out] = inner_line.degrees_of_freedom
        for i in np.flatnonzero(out):
            used[i] = inner or "mean"
    errors = estimates - table.reference
    nested_mae = float(np.abs(errors).mean())
    mean_mae = float(np.abs(mean_only - table.reference).mean())
    if nested_mae >= mean_mae:
        return (
            f"no estimator beats saying the mean (error {nested_mae:.3g} against {mean_mae:.3g}): "
            "choose samples over a wider range"
        )
    # The choice and the leverage are in the nested errors: no interval may be narrower than they.
    prediction_sd = max(line.prediction_sd, float(np.sqrt((errors**2 / spread).mean())))
    reach = left_out_reach(errors, spread, residual_sd, inner_freedom, table.groups)
    between = _between_field_sd(samples, estimator, line)
    chosen = next(candidate for candidate in candidates if candidate.estimator == name)
    calibration = MeasurandCalibration(
        measurand=measurand,
        estimator=name,
        features=tuple(feature.name for feature in estimator.features),
        coefficients=_floats(line.coefficients),
        unscaled_covariance=tuple(_floats(row) for row in line.unscaled_covariance),
        residual_sd=line.residual_sd(features, table.reference),
        prediction_sd=prediction_sd,
        degrees_of_freedom=line.degrees_of_freedom,
        t95=t95(line.degrees_of_freedom),
        feature_low=_floats(features.min(axis=0)),
        feature_high=_floats(features.max(axis=0)),
        value_low=float(table.reference.min()),
        value_high=float(table.reference.max()),
        between_field_sd=between,
        fields_per_sample=table.fields_per_sample,
        samples=n,
        groups=len(groups),
        chosen_loo_mae=chosen.loo_mae if chosen.loo_mae is not None else nested_mae,
        nested_mae=nested_mae,
        nested_rmse=float(np.sqrt((errors**2).mean())),
        nested_pcc=correlation(table.reference, estimates),
        mean_only_mae=mean_mae,
        intervals_holding=int(np.count_nonzero(np.abs(errors) <= reach)),
        agreement=bland_altman(table.reference, estimates),
        deming=deming(table.reference, estimates),
        passing_bablok=passing_bablok(table.reference, estimates),
        candidates=candidates,
    )
    outliers, suspects = _outliers(errors, reach, SUSPECT_LEAST[measurand])
    points = tuple(
        Point(
            sample=sample.name,
            measurand=measurand,
            analyser=float(table.reference[i]),
            estimate=float(estimates[i]),
            low=float(max(0.0, estimates[i] - reach[i])) if np.isfinite(reach[i]) else None,
            high=float(estimates[i] + reach[i]) if np.isfinite(reach[i]) else None,
            estimator=used[i],
            outlier=bool(outliers[i]),
            suspect=bool(suspects[i]),
        )
        for i, sample in enumerate(samples)
    )
    return calibration, points


def _outliers(
    errors: Array, reach: Array, least: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which samples are far off, and which so far that something is wrong with them.

    reach: half the widths of the intervals predicted without them. least: an error below this is
    never held against a sample, in the measurand's unit.
    """
    deviations = np.abs(errors - np.median(errors)) / max(_robust_sd(errors), 1e-12)
    limit = next(
        limit for count, limit in reversed(SUSPECT_DEVIATIONS.items()) if len(errors) >= count
    )
    suspects = (deviations > limit) & (np.abs(errors) >= least) & (np.abs(errors) > reach)
    return deviations > OUTLIER_DEVIATIONS, suspects


def _suspects(points: Sequence[Point]) -> list[str]:
    """The samples that stop a calibration, one phrase each."""
    found = []
    for point in points:
        if point.suspect:
            facts = MEASURAND_FACTS[point.measurand]
            found.append(
                f"{point.sample} ({facts.name} {facts.with_unit(point.analyser)} in the table, "
                f"{facts.shown(point.estimate)} by the others)"
            )
    return found


def _robust_sd(values: Array) -> float:
    """From the median absolute deviation, which outliers cannot inflate."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _between_field_sd(
    samples: Sequence[AnalyserSample], estimator: Estimator, line: Line
) -> float | None:
    """Standard deviation of the value between fields of one sample, pooled over the samples."""
    squares, freedom = 0.0, 0
    for sample in samples:
        rows = [estimator.values(field) for field in sample.indices.fields]
        known = np.array([row for row in rows if row is not None], dtype=np.float64)
        if len(known) < 2:
            continue
        values = line.at(known)
        squares += float(((values - values.mean()) ** 2).sum())
        freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else None


def _scale_source(
    samples: Sequence[AnalyserSample],
) -> Literal["profile", "given", "red_cells", "mixed"]:
    sources = {field.scale_source for sample in samples for field in sample.indices.fields}
    for source in ("profile", "given", "red_cells"):
        if sources == {source}:
            return source
    return "mixed"


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
