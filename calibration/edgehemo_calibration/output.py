"""What `edgehemo calibrate ... --json` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from edgehemo.control.history import Clearance, ControlCheck
from edgehemo.control.repeatability import Run
from edgehemo.estimate.output import IndicesEntry
from edgehemo.files.strict import Count, Record, Sha256
from edgehemo.guidance.withheld import Withheld
from edgehemo.measurands import MEASURAND_FACTS, Measurand
from edgehemo.profile.analyser import AnalyserCalibration
from edgehemo.profile.parts import (
    ControlSlide,
    FixedSettings,
    FocusReference,
    RedCellTypesCheck,
    Repeatability,
    ScaleCalibration,
    StainReference,
)
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.profile.seal import SealState
from edgehemo_calibration.analyser.fit import Point
from edgehemo_calibration.measuring import MeasuredImage
from edgehemo_calibration.micrometer import Ruling


class Written(Record, frozen=True, kw_only=True):
    """What every command that extends a profile says; profile_sha256: its new digest."""

    schema: Literal["edgehemo.calibrate/1"] = "edgehemo.calibrate/1"
    calibrated: str
    profile: str
    profile_sha256: Sha256


class ImageName(Record, frozen=True, kw_only=True):
    """A picture that took part."""

    image: str


class RuledImage(Record, frozen=True, kw_only=True):
    """A picture of a stage micrometer or grid, and the scale that was read from it."""

    image: str
    um_per_px: float
    relative_uncertainty: float
    rulings: tuple[Ruling, ...]


class ScaleCalibrated(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate scale`; no images where it was typed in or measured by hand."""

    calibrated: Literal["scale"] = "scale"
    images: list[RuledImage]
    scale: ScaleCalibration


class FlatFieldSummary(Record, frozen=True, kw_only=True):
    """The flat field in short; the grid itself is in the profile. unevenness: (brightest - darkest)
    / brightest green counts.
    """

    rows: Count
    columns: Count
    unevenness: float
    target_level: float
    dark_level: float
    frames: Count
    settings: FixedSettings | None


class IlluminationCalibrated(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate illumination`."""

    calibrated: Literal["illumination"] = "illumination"
    images: list[ImageName]
    illumination: FlatFieldSummary


class StainCalibrated(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate stain`."""

    calibrated: Literal["stain"] = "stain"
    images: list[ImageName]
    stain: StainReference


class FocusImage(Record, frozen=True, kw_only=True):
    """A picture of the focus stack; focus: its sharpness, null where it shows no cells."""

    image: str
    focus: float | None


class FocusCalibrated(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate focus`."""

    calibrated: Literal["focus"] = "focus"
    images: list[FocusImage]
    focus: FocusReference


class MeasuredEntry(Record, frozen=True, kw_only=True):
    """A picture of a sample; indices are null where quality refused it."""

    image: str
    sample: str
    accepted: bool
    failed: tuple[str, ...]
    indices: IndicesEntry | None


class UnreadEntry(Record, frozen=True, kw_only=True):
    """A picture of a sample that could not be read."""

    image: str
    sample: str
    error: str


def measured_entry(item: MeasuredImage) -> MeasuredEntry | UnreadEntry:
    """A measured picture as the JSON has it."""
    if item.error:
        return UnreadEntry(image=str(item.image), sample=item.sample, error=item.error)
    return MeasuredEntry(
        image=str(item.image),
        sample=item.sample,
        accepted=not item.failed,
        failed=item.failed,
        indices=None if item.indices is None else IndicesEntry.of(item.indices),
    )


class PointEntry(Record, frozen=True, kw_only=True):
    """A sample's estimate from a fit that had not seen it, beside the analyser's value. low, high:
    the 95 % prediction interval.
    """

    sample: str
    measurand: Measurand
    analyser: float
    estimate: float
    low: float | None
    high: float | None
    error: float
    estimator: str
    outlier: bool

    @classmethod
    def of(cls, point: Point) -> PointEntry:
        decimals = MEASURAND_FACTS[point.measurand].decimals
        return cls(
            sample=point.sample,
            measurand=point.measurand,
            analyser=point.analyser,
            estimate=round(point.estimate, decimals),
            low=None if point.low is None else round(point.low, decimals),
            high=None if point.high is None else round(point.high, decimals),
            error=round(point.estimate - point.analyser, decimals),
            estimator=point.estimator,
            outlier=point.outlier,
        )


class AnalyserCalibrated(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate analyser`. refused: measurand -> why it could not be calibrated."""

    calibrated: Literal["analyser"] = "analyser"
    images: list[MeasuredEntry | UnreadEntry]
    samples_left_out: list[str]
    analyser: AnalyserCalibration
    points: list[PointEntry]
    refused: Mapping[Measurand, str]


class RunEntry(Record, frozen=True, kw_only=True):
    """One run on a slide. fields, refused: pictures used and refused; values: by quantity."""

    run: str
    fields: Count
    refused: Count
    values: Mapping[str, float]

    @classmethod
    def of(cls, run: Run) -> RunEntry:
        return cls(run=run.name, fields=run.fields, refused=run.refused, values=run.values)


class RepeatabilityCalibrated(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate repeatability`."""

    calibrated: Literal["repeatability"] = "repeatability"
    images: list[ImageName]
    runs: list[RunEntry]
    repeatability: Repeatability


class CellsDrawn(Record, frozen=True, kw_only=True):
    """`edgehemo calibrate types draw`. seed: draws the same cells again. named: red cells of the
    accepted fields that the model names; drawn: of these. fields: that they lie in; refused: fields
    that quality refused.
    """

    schema: Literal["edgehemo.cells-drawn/1"] = "edgehemo.cells-drawn/1"
    images: list[ImageName]
    folder: str
    seed: int
    named: Count
    drawn: Count
    fields: Count
    refused: Count


class Disagreement(Record, frozen=True, kw_only=True):
    """Cells that the model called one thing and the person another."""

    model: str
    person: str
    cells: Count


class TypesChecked(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate types check`. agreed_low, agreed_high: 95 % interval of the share of
    names that the person agrees with. differ: the commonest first. shares_given: whether shares of
    types are given on this microscope from now on.
    """

    calibrated: Literal["red_cell_types"] = "red_cell_types"
    images: list[ImageName]
    red_cell_types: RedCellTypesCheck
    agreed_low: float
    agreed_high: float
    differ: list[Disagreement]
    shares_given: bool


class ControlCalibrated(Written, frozen=True, kw_only=True):
    """`edgehemo calibrate control`."""

    calibrated: Literal["control"] = "control"
    images: list[ImageName]
    runs: list[RunEntry]
    control: ControlSlide


class CheckOutput(Record, frozen=True, kw_only=True):
    """`edgehemo calibrate check`: the record that was stored. history: where. blocked: why results
    are withheld now, null where they are not. marked: stored results since the last good check,
    which a failed one marks.
    """

    schema: Literal["edgehemo.check/1"] = "edgehemo.check/1"
    images: list[ImageName]
    history: str
    check: ControlCheck
    blocked: str | None
    marked: Count = 0


class ClearOutput(Record, frozen=True, kw_only=True):
    """`edgehemo calibrate clear`: the record that was added; cleared: how many failed checks."""

    schema: Literal["edgehemo.clear/1"] = "edgehemo.clear/1"
    images: list[ImageName]
    history: str
    cleared: Count
    clearance: Clearance


class ShowOutput(Record, frozen=True, kw_only=True):
    """`edgehemo calibrate show`. origin: why this profile is in force. lines: what it is, as people
    read it. blocked: why results are withheld with it now, null where they are not.
    """

    schema: Literal["edgehemo.calibration/1"] = "edgehemo.calibration/1"
    images: list[ImageName]
    profile: str
    profile_sha256: Sha256
    origin: str
    seal: SealState
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    blocked: Withheld | None


def written(profile: CalibrationProfile, path: Path) -> dict[str, Any]:
    """The fields of `Written` that say which profile it became."""
    return {"profile": str(path), "profile_sha256": profile.digest()}
