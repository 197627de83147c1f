"""The parts of a calibration profile, each measured on its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edgehemo.files.strict import (
    Moment,
    NonNegative,
    Positive,
    Problem,
    Record,
    RecordError,
    Text,
)

# The finest flat-field grid kept: light is smooth, detail in it would be dust or a cell.
MAX_GRID_SIDE = 64

# uint8 counts of a channel.
Counts = Annotated[float, Meta(gt=0, le=255)]

Rgb = tuple[float, float, float]


class Measured(Record, frozen=True, kw_only=True):
    """measured_at: when this part was measured; None in profiles that did not note it, where the
    profile's own date stands for it.
    """

    measured_at: Moment | None = None


class ScaleCalibration(Measured, frozen=True, kw_only=True):
    """um_per_px of the camera's frame; relative_uncertainty is one standard deviation over it.

    lines: how many lines of a micrometer or grid it stands on, 0 where it was typed in. frame_px:
    width and height of the pictures it was measured on, None where it was typed in; pictures of
    another size come from another mode of the camera, where it does not hold.
    """

    um_per_px: Annotated[float, Meta(ge=0.02, le=2.0)]
    relative_uncertainty: Annotated[float, Meta(ge=0, lt=0.5)]
    method: Text
    lines: Annotated[int, Meta(ge=0)] = 0
    frame_px: tuple[Annotated[int, Meta(ge=32)], Annotated[int, Meta(ge=32)]] | None = None


class FixedSettings(Record, frozen=True, kw_only=True):
    """What the camera was set to when the light was measured; None is what it cannot be set to."""

    exposure_us: Positive | None = None
    gain: NonNegative | None = None
    red_gain: Positive | None = None
    blue_gain: Positive | None = None
    white_balance_k: Positive | None = None


class IlluminationCalibration(Measured, frozen=True, kw_only=True):
    """The flat field of an empty bright field.

    flat_field: rows x columns x 3 (RGB) counts (0-255], smooth; at most 64 a side, at least 2.
    target_level: green counts its bright part should have when the lamp is set; dark_level: counts
    with the lamp off (0 where it was not measured). frames: how many were averaged. settings: the
    camera's, where it was set to the target level; a screening sets them again.
    """

    flat_field: list[list[tuple[Counts, Counts, Counts]]]
    target_level: Counts
    dark_level: Annotated[float, Meta(ge=0, lt=255)] = 0.0
    frames: Annotated[int, Meta(ge=1)] = 1
    settings: FixedSettings | None = None

    def __post_init__(self) -> None:
        grid = self.flat_field
        rows, columns = len(grid), len(grid[0]) if grid else 0
        if not (2 <= rows <= MAX_GRID_SIDE and 2 <= columns <= MAX_GRID_SIDE):
            wrong = f"must have 2 to {MAX_GRID_SIDE} rows and columns"
            raise RecordError([Problem("flat_field", wrong)])
        if any(len(row) != columns for row in grid):
            raise RecordError([Problem("flat_field", "all rows must be of one length")])

    def array(self) -> NDArray[np.float32]:
        """The flat field, float32 (rows, columns, 3), RGB counts."""
        return np.asarray(self.flat_field, dtype=np.float32)

    def digest(self) -> str:
        """SHA-256 of the grid, which an analyser calibration is tied to."""
        return hashlib.sha256(self.array().tobytes()).hexdigest()


class StainReference(Measured, frozen=True, kw_only=True):
    """What well-stained fields of this laboratory look like.

    background_rgb: counts of the gaps. cell_od: optical density (log10) of the red cells' bodies,
    RGB, as `edgehemo.quality.regions` measures it. Means and, as *_sd, standard deviations
    between fields. fields: how many.
    """

    background_rgb: tuple[Counts, Counts, Counts]
    background_rgb_sd: tuple[NonNegative, NonNegative, NonNegative]
    cell_od: Rgb
    cell_od_sd: tuple[NonNegative, NonNegative, NonNegative]
    fields: Annotated[int, Meta(ge=1)]


class FocusReference(Measured, frozen=True, kw_only=True):
    """sharp_reference: the focus measure of a sharp field on this microscope, in its own unit."""

    sharp_reference: Positive
    measure: Text
    frames: Annotated[int, Meta(ge=1)] = 1


class Spread(Record, frozen=True, kw_only=True):
    """One quantity over repeated runs on one slide: mean, standard deviation, how many runs.

    sd_low, sd_high: 95 % interval of the standard deviation (chi-square).
    """

    quantity: Text
    mean: float
    sd: NonNegative
    sd_low: NonNegative
    sd_high: NonNegative
    runs: Annotated[int, Meta(ge=3)]


class Repeatability(Record, frozen=True, kw_only=True):
    """The same slide measured again, runs close together."""

    measured_at: Moment
    fields: Annotated[int, Meta(ge=3)]
    spreads: Annotated[tuple[Spread, ...], Meta(min_length=1)]


class CheckedType(Record, frozen=True, kw_only=True):
    """Of the cells that the model gave one name: how many a person was shown, and how many of these
    the person called the same.
    """

    type: Annotated[str, Meta(min_length=1, max_length=40)]
    shown: Annotated[int, Meta(ge=1)]
    agreed: Annotated[int, Meta(ge=0)]

    def __post_init__(self) -> None:
        if self.agreed > self.shown:
            raise RecordError([Problem("agreed", "must not exceed shown")])


class RedCellTypesCheck(Measured, frozen=True, kw_only=True):
    """How often a person calls red cells of this microscope what the model called them.

    model_sha256: of the checkpoint of the model that named them. fields: how many fields the cells
    were drawn from, by lot. types: the names that were drawn.
    """

    model_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    fields: Annotated[int, Meta(ge=1)]
    types: Annotated[tuple[CheckedType, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if not each_once(item.type for item in self.types):
            raise RecordError([Problem("types", "a type occurs twice")])

    @property
    def shown(self) -> int:
        """How many cells the person was shown."""
        return sum(item.shown for item in self.types)

    @property
    def agreed(self) -> int:
        """How many of these the person called what the model had called them."""
        return sum(item.agreed for item in self.types)


class ControlSlide(Record, frozen=True, kw_only=True):
    """What a control slide must give on this microscope: targets from runs on several days.

    name: the slide's, as written on it. grade: ``provisional`` below 20 runs, else
    ``established``. fields_wanted: accepted fields that a check needs; None in older profiles.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    established_at: Moment
    grade: Literal["provisional", "established"]
    targets: Annotated[tuple[Spread, ...], Meta(min_length=1)]
    fields_wanted: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        found = []
        if not each_once(target.quantity for target in self.targets):
            found.append(Problem("targets", "a quantity occurs twice"))
        if any(target.sd <= 0 for target in self.targets):
            found.append(Problem("targets", "a target's sd must be above 0"))
        if found:
            raise RecordError(found)


def each_once(names: Iterable[str]) -> bool:
    """Whether no name occurs twice."""
    given = list(names)
    return len(set(given)) == len(given)
