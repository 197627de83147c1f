"""The parts of a calibration profile, each measured on its own."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
)

# The finest flat-field grid kept: light is smooth, detail in it would be dust or a cell.
MAX_GRID_SIDE = 64

Finite = Annotated[float, Field(allow_inf_nan=False)]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# uint8 counts of a channel.
Counts = Annotated[float, Field(gt=0, le=255, allow_inf_nan=False)]

Rgb = tuple[Finite, Finite, Finite]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Measured(Part):
    """measured_at: when this part was measured; None in profiles that did not note it, where the
    profile's own date stands for it."""

    measured_at: AwareDatetime | None = None


class ScaleCalibration(Measured):
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


class FixedSettings(Part):
    """What the camera was set to when the light was measured; None is what it cannot be set to."""

    exposure_us: Positive | None = None
    gain: NonNegative | None = None
    red_gain: Positive | None = None
    blue_gain: Positive | None = None
    white_balance_k: Positive | None = None


class IlluminationCalibration(Measured):
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


class StainReference(Measured):
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


class FocusReference(Measured):
    """sharp_reference: the focus measure of a sharp field on this microscope, in its own unit."""

    sharp_reference: Positive
    measure: str = Field(min_length=1)
    frames: Annotated[int, Field(ge=1)] = 1


class Spread(Part):
    """One quantity over repeated runs on one slide: mean, standard deviation, how many runs.

    sd_low, sd_high: 95 % interval of the standard deviation (chi-square).
    """

    quantity: str = Field(min_length=1)
    mean: Finite
    sd: NonNegative
    sd_low: NonNegative
    sd_high: NonNegative
    runs: Annotated[int, Field(ge=3)]


class Repeatability(Part):
    """The same slide measured again, runs close together."""

    measured_at: AwareDatetime
    fields: Annotated[int, Field(ge=3)]
    spreads: tuple[Spread, ...] = Field(min_length=1)


class ControlSlide(Part):
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
