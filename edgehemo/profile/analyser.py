"""The part of a profile that turns indices into concentrations."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgehemo.files.strict import (
    Moment,
    NonNegative,
    Positive,
    Problem,
    Record,
    RecordError,
    Text,
)
from edgehemo.measurands import Measurand
from edgehemo.profile.parts import each_once

# Width or height of a picture, px.
PictureSide = Annotated[int, Meta(ge=32)]


class Candidate(Record, frozen=True, kw_only=True):
    """One estimator that was tried; errors in the measurand's unit, None with the reason why not.

    loo_mae, loo_rmse: leaving out one group of samples (one CBC panel) at a time.
    """

    estimator: str
    features: tuple[str, ...]
    loo_mae: NonNegative | None = None
    loo_rmse: NonNegative | None = None
    reason: str = ""


class Agreement(Record, frozen=True, kw_only=True):
    """Bland-Altman figures of estimate minus analyser, each limit with its 95 % interval."""

    bias: float
    bias_low: float
    bias_high: float
    sd: NonNegative
    lower_limit: float
    lower_limit_low: float
    lower_limit_high: float
    upper_limit: float
    upper_limit_low: float
    upper_limit_high: float


class ComparisonLine(Record, frozen=True, kw_only=True):
    """estimate = intercept + slope x analyser, with 95 % intervals where they could be made."""

    slope: float
    intercept: float
    slope_low: float | None = None
    slope_high: float | None = None
    intercept_low: float | None = None
    intercept_high: float | None = None


class MeasurandCalibration(Record, frozen=True, kw_only=True):
    """The line that turns indices into one concentration.

    value = coefficients[0] + sum(coefficients[i] x feature[i - 1]).

    unscaled_covariance: (X'X)^-1 of the fit, for the leverage of a new sample.
    prediction_sd: residual standard deviation the interval uses; never smaller than what the
        nested leave-one-out errors ask for. t95: two-sided 95 % quantile of Student's t at
        degrees_of_freedom (kept here because the device has no statistics library).
    feature_low, feature_high, value_low, value_high: what the calibration saw.
    between_field_sd: standard deviation of the value between fields of one sample, None where
        no calibration sample had two fields. fields_per_sample: median.
    nested_mae, nested_rmse, nested_pcc: with the choice of the estimator inside the loop: the
        honest figures. chosen_loo_mae: of the chosen one, flattered by the choice.
    intervals_holding: how many samples' analyser values lay within the 95 % interval predicted
        without them, None where it was not counted.
    """

    measurand: Measurand
    estimator: str
    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    unscaled_covariance: tuple[tuple[float, ...], ...]
    residual_sd: NonNegative
    prediction_sd: NonNegative
    degrees_of_freedom: Annotated[int, Meta(ge=1)]
    t95: Annotated[float, Meta(ge=1.9)]
    feature_low: tuple[float, ...]
    feature_high: tuple[float, ...]
    value_low: Positive
    value_high: Positive
    between_field_sd: NonNegative | None = None
    fields_per_sample: Positive = 1.0
    samples: Annotated[int, Meta(ge=3)]
    groups: Annotated[int, Meta(ge=3)]
    chosen_loo_mae: NonNegative
    nested_mae: NonNegative
    nested_rmse: NonNegative
    nested_pcc: Annotated[float, Meta(ge=-1, le=1)] | None = None
    mean_only_mae: NonNegative
    intervals_holding: Annotated[int, Meta(ge=0)] | None = None
    agreement: Agreement
    deming: ComparisonLine | None = None
    passing_bablok: ComparisonLine | None = None
    candidates: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        count = len(self.features)
        sizes = {
            "coefficients": (len(self.coefficients), count + 1),
            "unscaled_covariance": (len(self.unscaled_covariance), count + 1),
            "feature_low": (len(self.feature_low), count),
            "feature_high": (len(self.feature_high), count),
        }
        wrong = [
            Problem(name, f"has {got} entries, needs {want}")
            for name, (got, want) in sizes.items()
            if got != want
        ]
        if any(len(row) != count + 1 for row in self.unscaled_covariance):
            wrong.append(Problem("unscaled_covariance", "is not square"))
        if any(low > high for low, high in zip(self.feature_low, self.feature_high, strict=False)):
            wrong.append(Problem("feature_low", "is above feature_high"))
        if self.value_low > self.value_high:
            wrong.append(Problem("value_low", "is above value_high"))
        if wrong:
            raise RecordError(wrong)


class EnvelopeRange(Record, frozen=True, kw_only=True):
    """Between what one feature of a sample like the calibration's lies.

    feature: of `edgehemo.estimate.validity.ENVELOPE`. low, high: the interval that holds 99.7 % of
    such samples, from their mean, their spread and their number (Student's t).
    """

    feature: Text
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise RecordError([Problem("low", "is above high")])


class CalibrationPictures(Record, frozen=True, kw_only=True):
    """What the calibration's own pictures and samples were like: it holds for others like them.

    sizes_px: width and height of the pictures, each once. um_per_px_low, um_per_px_high: least and
    greatest scale of a sample, as it was read. camera: its name, empty where it was not told.
    envelope: stain, background, sharpness and density of the samples.
    """

    sizes_px: Annotated[tuple[tuple[PictureSide, PictureSide], ...], Meta(min_length=1)]
    um_per_px_low: Positive
    um_per_px_high: Positive
    camera: str = ""
    envelope: tuple[EnvelopeRange, ...] = ()

    def __post_init__(self) -> None:
        if self.um_per_px_low > self.um_per_px_high:
            raise RecordError([Problem("um_per_px_low", "is above um_per_px_high")])
        if not each_once(item.feature for item in self.envelope):
            raise RecordError([Problem("envelope", "a feature occurs twice")])


class AnalyserCalibration(Record, frozen=True, kw_only=True):
    """How indices of this microscope become concentrations.

    grade: ``demonstration`` below 20 independent samples, else ``calibrated``.
    um_per_px, flat_field_sha256: the scale and flat field it was made with; with others it does
    not hold. scale_source: where the scale of its fields came from.
    bundle_sha256: the model bundle whose cell finder or model took part, None without one.
    refused_fields: how many of the fields quality had refused (0 unless asked for).
    pictures: what they were like; None in profiles that did not note it.
    """

    grade: Literal["demonstration", "calibrated"]
    made_at: Moment
    samples: Annotated[int, Meta(ge=3)]
    fields: Annotated[int, Meta(ge=3)]
    refused_fields: Annotated[int, Meta(ge=0)] = 0
    scale_source: Literal["profile", "given", "red_cells", "mixed"]
    um_per_px: Positive | None = None
    flat_field_sha256: str | None = None
    bundle_sha256: str | None = None
    pictures: CalibrationPictures | None = None
    measurands: Annotated[tuple[MeasurandCalibration, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if not each_once(calibration.measurand for calibration in self.measurands):
            raise RecordError([Problem("measurands", "a measurand occurs twice")])

    def of(self, measurand: Measurand) -> MeasurandCalibration | None:
        """The calibration of one measurand, None where it was not calibrated."""
        for calibration in self.measurands:
            if calibration.measurand == measurand:
                return calibration
        return None
