"""The calibration profile: what was measured of one microscope, loaded, validated, refused.

A profile is one JSON file. `edgehemo calibrate` writes and extends it; the device only reads it.
Every part is optional: what was not measured is estimated from the field, or withheld.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from edgehemo.errors import ProfileError
from edgehemo.files import dump_json, write_bytes_atomically, write_text_atomically
from edgehemo.measurands import Measurand

PROFILE_SCHEMA = "edgehemo.profile/1"
PREVIOUS_SUFFIX = ".previous"
# A profile is some 100 kB; anything far larger is another file.
MAX_PROFILE_BYTES = 16 * 1024 * 1024
# The finest flat-field grid kept: light is smooth, detail in it would be dust or a cell.
MAX_GRID_SIDE = 64

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# uint8 counts of a channel.
Counts = Annotated[float, Field(gt=0, le=255, allow_inf_nan=False)]
Rgb = tuple[Finite, Finite, Finite]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _Measured(_Part):
    """measured_at: when this part was measured; None in profiles that did not note it, where the
    profile's own date stands for it."""

    measured_at: AwareDatetime | None = None


class ScaleCalibration(_Measured):
    """um_per_px of the camera's frame; relative_uncertainty is one standard deviation over it.

    lines: how many lines of a micrometer or grid it stands on, 0 where it was typed in. frame_px:
    width and height of the pictures it was measured on, None where it was typed in; pictures of
    another size come from another mode of the camera, where it does not hold.
    """

    um_per_px: Annotated[float, Field(ge=0.02, le=2.0, allow_inf_nan=False)]
    relative_uncertainty: Annotated[float, Field(ge=0, lt=0.5, allow_inf_nan=False)]
    method: str = Field(min_length=1)
    lines: Annotated[int, Field(ge=0)] = 0
    frame_px: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] | None = None


class FixedSettings(_Part):
    """What the camera was set to when the light was measured; None is what it cannot be set to."""

    exposure_us: Positive | None = None
    gain: NonNegative | None = None
    red_gain: Positive | None = None
    blue_gain: Positive | None = None
    white_balance_k: Positive | None = None


class IlluminationCalibration(_Measured):
    """The flat field of an empty bright field.

    flat_field: rows x columns x 3 (RGB) counts (0-255], smooth; at most 64 a side, at least 2.
    target_level: green counts its bright part should have when the lamp is set; dark_level: counts
    with the lamp off (0 where it was not measured). frames: how many were averaged. settings: the
    camera's, where it was set to the target level; a screening sets them again.
    """

    flat_field: list[list[tuple[Counts, Counts, Counts]]]
    target_level: Counts
    dark_level: Annotated[float, Field(ge=0, lt=255, allow_inf_nan=False)] = 0.0
    frames: Annotated[int, Field(ge=1)] = 1
    settings: FixedSettings | None = None

    @field_validator("flat_field")
    @classmethod
    def _is_a_grid(
        cls, grid: list[list[tuple[float, float, float]]]
    ) -> list[list[tuple[float, float, float]]]:
        rows, columns = len(grid), len(grid[0]) if grid else 0
        if not (2 <= rows <= MAX_GRID_SIDE and 2 <= columns <= MAX_GRID_SIDE):
            raise ValueError(f"must have 2 to {MAX_GRID_SIDE} rows and columns")
        if any(len(row) != columns for row in grid):
            raise ValueError("all rows must be of one length")
        return grid

    def array(self) -> NDArray[np.float32]:
        """The flat field, float32 (rows, columns, 3), RGB counts."""
        return np.asarray(self.flat_field, dtype=np.float32)

    def digest(self) -> str:
        """SHA-256 of the grid, which an analyser calibration is tied to."""
        return hashlib.sha256(self.array().tobytes()).hexdigest()


class StainReference(_Measured):
    """What well-stained fields of this laboratory look like.

    background_rgb: counts of the gaps. cell_od: optical density (log10) of the red cells' bodies,
    RGB, as `edgehemo.quality.regions` measures it. Means and, as *_sd, standard deviations
    between fields. fields: how many.
    """

    background_rgb: tuple[Counts, Counts, Counts]
    background_rgb_sd: tuple[NonNegative, NonNegative, NonNegative]
    cell_od: Rgb
    cell_od_sd: tuple[NonNegative, NonNegative, NonNegative]
    fields: Annotated[int, Field(ge=1)]


class FocusReference(_Measured):
    """sharp_reference: the focus measure of a sharp field on this microscope, in its own unit."""

    sharp_reference: Positive
    measure: str = Field(min_length=1)
    frames: Annotated[int, Field(ge=1)] = 1


class Candidate(_Part):
    """One estimator that was tried; errors in the measurand's unit, None with the reason why not.

    loo_mae, loo_rmse: leaving out one group of samples (one CBC panel) at a time.
    """

    estimator: str
    features: tuple[str, ...]
    loo_mae: NonNegative | None = None
    loo_rmse: NonNegative | None = None
    reason: str = ""


class Agreement(_Part):
    """Bland-Altman figures of estimate minus analyser, each limit with its 95 % interval."""

    bias: Finite
    bias_low: Finite
    bias_high: Finite
    sd: NonNegative
    lower_limit: Finite
    lower_limit_low: Finite
    lower_limit_high: Finite
    upper_limit: Finite
    upper_limit_low: Finite
    upper_limit_high: Finite


class ComparisonLine(_Part):
    """estimate = intercept + slope x analyser, with 95 % intervals where they could be made."""

    slope: Finite
    intercept: Finite
    slope_low: Finite | None = None
    slope_high: Finite | None = None
    intercept_low: Finite | None = None
    intercept_high: Finite | None = None


class MeasurandCalibration(_Part):
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
    coefficients: tuple[Finite, ...]
    unscaled_covariance: tuple[tuple[Finite, ...], ...]
    residual_sd: NonNegative
    prediction_sd: NonNegative
    degrees_of_freedom: Annotated[int, Field(ge=1)]
    t95: Annotated[float, Field(ge=1.9, allow_inf_nan=False)]
    feature_low: tuple[Finite, ...]
    feature_high: tuple[Finite, ...]
    value_low: Positive
    value_high: Positive
    between_field_sd: NonNegative | None = None
    fields_per_sample: Positive = 1.0
    samples: Annotated[int, Field(ge=3)]
    groups: Annotated[int, Field(ge=3)]
    chosen_loo_mae: NonNegative
    nested_mae: NonNegative
    nested_rmse: NonNegative
    nested_pcc: Annotated[float, Field(ge=-1, le=1)] | None = None
    mean_only_mae: NonNegative
    intervals_holding: Annotated[int, Field(ge=0)] | None = None
    agreement: Agreement
    deming: ComparisonLine | None = None
    passing_bablok: ComparisonLine | None = None
    candidates: tuple[Candidate, ...]

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        count = len(self.features)
        sizes = {
            "coefficients": (len(self.coefficients), count + 1),
            "unscaled_covariance": (len(self.unscaled_covariance), count + 1),
            "feature_low": (len(self.feature_low), count),
            "feature_high": (len(self.feature_high), count),
        }
        wrong = [
            f"{name} has {got} entries, needs {want}"
            for name, (got, want) in sizes.items()
            if got != want
        ]
        if any(len(row) != count + 1 for row in self.unscaled_covariance):
            wrong.append("unscaled_covariance is not square")
        if any(low > high for low, high in zip(self.feature_low, self.feature_high, strict=False)):
            wrong.append("feature_low is above feature_high")
        if self.value_low > self.value_high:
            wrong.append("value_low is above value_high")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class AnalyserCalibration(_Part):
    """How indices of this microscope become concentrations.

    grade: ``demonstration`` below 20 independent samples, else ``calibrated``.
    um_per_px, flat_field_sha256: the scale and flat field it was made with; with others it does
    not hold. scale_source: where the scale of its fields came from.
    bundle_sha256: the model bundle whose cell finder or model took part, None without one.
    refused_fields: how many of the fields quality had refused (0 unless asked for).
    """

    grade: Literal["demonstration", "calibrated"]
    made_at: AwareDatetime
    samples: Annotated[int, Field(ge=3)]
    fields: Annotated[int, Field(ge=3)]
    refused_fields: Annotated[int, Field(ge=0)] = 0
    scale_source: Literal["profile", "given", "red_cells", "mixed"]
    um_per_px: Positive | None = None
    flat_field_sha256: str | None = None
    bundle_sha256: str | None = None
    measurands: tuple[MeasurandCalibration, ...] = Field(min_length=1)

    @field_validator("measurands")
    @classmethod
    def _each_once(
        cls, measurands: tuple[MeasurandCalibration, ...]
    ) -> tuple[MeasurandCalibration, ...]:
        names = [calibration.measurand for calibration in measurands]
        if len(set(names)) != len(names):
            raise ValueError("a measurand occurs twice")
        return measurands

    def of(self, measurand: Measurand) -> MeasurandCalibration | None:
        """The calibration of one measurand, None where it was not calibrated."""
        for calibration in self.measurands:
            if calibration.measurand == measurand:
                return calibration
        return None


class Spread(_Part):
    """One quantity over repeated runs on one slide: mean, standard deviation, how many runs.

    sd_low, sd_high: 95 % interval of the standard deviation (chi-square).
    """

    quantity: str = Field(min_length=1)
    mean: Finite
    sd: NonNegative
    sd_low: NonNegative
    sd_high: NonNegative
    runs: Annotated[int, Field(ge=3)]


class Repeatability(_Part):
    """The same slide measured again, runs close together."""

    measured_at: AwareDatetime
    fields: Annotated[int, Field(ge=3)]
    spreads: tuple[Spread, ...] = Field(min_length=1)


class ControlSlide(_Part):
    """What a control slide must give on this microscope: targets from runs on several days.

    name: the slide's, as written on it. grade: ``provisional`` below 20 runs, else
    ``established``.
    """

    name: str = Field(min_length=1, max_length=64)
    established_at: AwareDatetime
    grade: Literal["provisional", "established"]
    targets: tuple[Spread, ...] = Field(min_length=1)

    @field_validator("targets")
    @classmethod
    def _each_varies_and_once(cls, targets: tuple[Spread, ...]) -> tuple[Spread, ...]:
        names = [target.quantity for target in targets]
        if len(set(names)) != len(names):
            raise ValueError("a quantity occurs twice")
        if any(target.sd <= 0 for target in targets):
            raise ValueError("a target's sd must be above 0")
        return targets


class CalibrationProfile(_Part):
    """One microscope, camera and objective, and what was measured of them.

    revision: counts the times the profile was extended. controls: its control slides; with one, a
    result needs a control check that passed and has not expired (`edgehemo.control`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, populate_by_name=True)

    schema_id: Literal["edgehemo.profile/1"] = Field(default="edgehemo.profile/1", alias="schema")
    microscope: str = ""
    camera: str = ""
    objective: str = ""
    created_at: AwareDatetime
    revision: Annotated[int, Field(ge=1)] = 1
    software_version: str = Field(min_length=1)
    scale: ScaleCalibration | None = None
    illumination: IlluminationCalibration | None = None
    stain: StainReference | None = None
    focus: FocusReference | None = None
    analyser: AnalyserCalibration | None = None
    repeatability: Repeatability | None = None
    controls: tuple[ControlSlide, ...] = ()

    @field_validator("controls")
    @classmethod
    def _slides_once(cls, controls: tuple[ControlSlide, ...]) -> tuple[ControlSlide, ...]:
        names = [slide.name for slide in controls]
        if len(set(names)) != len(names):
            raise ValueError("a control slide occurs twice")
        return controls

    def flat_field_array(self) -> NDArray[np.float32] | None:
        """The measured flat field, float32 (rows, columns, 3) RGB counts, None without one."""
        return self.illumination.array() if self.illumination is not None else None

    def as_json(self) -> dict[str, Any]:
        """The profile as JSON values, in the file's own shape."""
        return self.model_dump(mode="json", by_alias=True)

    def digest(self) -> str:
        """SHA-256 of the profile's content, whatever the file's layout."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def control(self, name: str) -> ControlSlide | None:
        """The control slide of a name, None where there is none."""
        return next((slide for slide in self.controls if slide.name == name), None)

    def expired(self, now: datetime, days: int) -> tuple[str, ...]:
        """The measured parts older than ``days`` at ``now`` (timezone-aware), by name."""
        return tuple(name for name, at in self._measured() if now - at > timedelta(days=days))

    def _measured(self) -> Iterator[tuple[str, datetime]]:
        """Name and date of every part that ages; what was typed in does not."""
        parts: dict[str, _Measured | None] = {
            "illumination": self.illumination,
            "stain": self.stain,
            "focus": self.focus,
        }
        if self.scale is not None and self.scale.method != "given":
            parts = {"scale": self.scale, **parts}
        for name, part in parts.items():
            if part is not None:
                yield name, part.measured_at or self.created_at
        if self.analyser is not None:
            yield "analyser", self.analyser.made_at

    def analyser_mismatch(self) -> str:
        """Why the analyser calibration does not hold with the rest of the profile, else empty."""
        analyser = self.analyser
        if analyser is None:
            return ""
        flat_field = self.illumination.digest() if self.illumination is not None else None
        if flat_field != analyser.flat_field_sha256:
            return "the flat field changed since the analyser calibration: repeat it"
        scale = self.scale.um_per_px if self.scale is not None else None
        made_with = analyser.um_per_px
        if (scale is None) != (made_with is None) or (
            scale is not None
            and made_with is not None
            and not math.isclose(scale, made_with, rel_tol=1e-6)
        ):
            return "the scale changed since the analyser calibration: repeat it"
        return ""


def new_profile(
    created_at: datetime,
    *,
    software_version: str,
    microscope: str = "",
    camera: str = "",
    objective: str = "",
) -> CalibrationProfile:
    """An empty profile; ``created_at`` must know its time zone."""
    return CalibrationProfile(
        created_at=created_at,
        software_version=software_version,
        microscope=microscope,
        camera=camera,
        objective=objective,
    )


def load_profile(path: Path | str) -> CalibrationProfile:
    """Read and validate a profile.

    Raises ProfileError, one line that lists all problems at once, and names the last good
    profile where one lies beside it.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_PROFILE_BYTES:
            raise ProfileError(f"{path}: too large for a calibration profile; is it another file?")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProfileError(
            f"{path}: no such profile; make one with `edgehemo calibrate`{_hint(path)}"
        ) from None
    except UnicodeDecodeError:
        raise ProfileError(
            f"{path}: not a calibration profile (no UTF-8 text){_hint(path)}"
        ) from None
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror or error}") from None
    return _parsed(text, path)


def save_profile(profile: CalibrationProfile, path: Path | str) -> None:
    """Write a profile atomically; a good one that stood there is kept as ``<name>.previous``.

    A damaged one never replaces the last good one. Raises ProfileError where it cannot be
    written.
    """
    path = Path(path)
    try:
        if path.exists():
            try:
                load_profile(path)
            except ProfileError:
                pass
            else:
                write_bytes_atomically(previous_path(path), path.read_bytes())
        write_text_atomically(path, dump_json(profile.as_json()))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written: {error.strerror or error}") from None


def previous_path(path: Path) -> Path:
    """Where the last good profile is kept."""
    return path.with_name(path.name + PREVIOUS_SUFFIX)


def _parsed(text: str, path: Path) -> CalibrationProfile:
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        detail = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise ProfileError(f"{path}: not valid JSON ({detail}){_hint(path)}") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: not a calibration profile (no JSON object){_hint(path)}")
    schema = content.get("schema")
    if schema != PROFILE_SCHEMA:
        if isinstance(schema, str) and schema.startswith("edgehemo.profile/"):
            raise ProfileError(
                f"{path}: profile version {schema!r} is not known to this software "
                f"(it reads {PROFILE_SCHEMA!r}); update edgehemo or calibrate again{_hint(path)}"
            )
        raise ProfileError(
            f"{path}: not a calibration profile: schema is {str(schema)[:40]!r}, "
            f"not {PROFILE_SCHEMA!r}{_hint(path)}"
        )
    try:
        return CalibrationProfile.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = "; ".join(_problem(item["loc"], item["msg"]) for item in error.errors())
        raise ProfileError(f"{path}: invalid profile: {problems}{_hint(path)}") from None


def _problem(location: Sequence[int | str], message: str) -> str:
    where = ".".join(str(part) for part in location) or "profile"
    return f"{where}: {message.removeprefix('Value error, ')}"


def _hint(path: Path) -> str:
    previous = previous_path(path)
    return f"; the last good one is {previous}" if previous.is_file() else ""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")
