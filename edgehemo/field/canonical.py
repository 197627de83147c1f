"""The canonical field: what every model, index and check sees instead of the camera's frame.

The frame divided by its illumination (background = 1 in every channel: transmittance), at one
fixed scale, in RGB order. Training, int8 calibration, evaluation and the device all call
`canonical_field`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import FieldError
from edgehemo.field.illumination import Illumination, estimate_illumination, measured_illumination
from edgehemo.field.scale import (
    GOOD_CELL_DIAMETER_PX,
    MAX_UM_PER_PX,
    MEASURE_SIDES_PX,
    MIN_UM_PER_PX,
    RED_CELL_DIAMETER_UM,
    ScaleEstimate,
    ScaleSource,
    estimate_scale,
)
from edgehemo.images.frame import Frame

if TYPE_CHECKING:
    from edgehemo.profile.profile import CalibrationProfile

# The one scale of canonical fields: a normal red cell is 30 px wide.
CANONICAL_UM_PER_PX = 0.25
CELL_DIAMETER_PX = RED_CELL_DIAMETER_UM / CANONICAL_UM_PER_PX
# uint8 code of transmittance 1 in `CanonicalField.to_uint8`; headroom for noise up to 1.275.
UINT8_PER_TRANSMITTANCE = 200.0
MAX_TRANSMITTANCE = 255.0 / UINT8_PER_TRANSMITTANCE
# The code of clear background, with which whatever lies beyond a picture is padded.
CLEAR_FIELD_CODE = round(UINT8_PER_TRANSMITTANCE)
# The scale taken where no red cell can be measured (100x oil, common camera): a named assumption
# that quality refuses, never a silent default.
ASSUMED_UM_PER_PX = 0.1
# A canonical field larger than this would exhaust a small board; the frame's scale is wrong.
MAX_CANONICAL_PX = 40_000_000


@dataclass(frozen=True, slots=True)
class CanonicalField:
    """A frame made canonical.

    transmittance: float32 (height, width, 3), RGB, background 1, clipped to [0, 1.275], at
        `CANONICAL_UM_PER_PX`.
    valid: bool (height, width): inside the field stop.
    frame_width, frame_height: of the frame, px. frame_um_per_px: its scale.
    scale_source: where the scale is from; ``assumed`` means that no cell could be measured.
    scale_estimate: the measurement behind ``red_cells``.
    illumination: what the frame was divided by.
    source: the frame's.
    """

    transmittance: NDArray[np.float32]
    valid: NDArray[np.bool_]
    frame_width: int
    frame_height: int
    frame_um_per_px: float
    scale_source: ScaleSource
    scale_estimate: ScaleEstimate | None
    illumination: Illumination
    source: str

    @property
    def um_per_px(self) -> float:
        return CANONICAL_UM_PER_PX

    @property
    def width(self) -> int:
        return int(self.transmittance.shape[1])

    @property
    def height(self) -> int:
        return int(self.transmittance.shape[0])

    @property
    def frame_px_per_canonical_px(self) -> tuple[float, float]:
        """(x, y) factors that turn canonical coordinates into the frame's."""
        return self.frame_width / self.width, self.frame_height / self.height

    @property
    def scale_doubt(self) -> float:
        """The coarsest scale that was read of the frame over the one in use, 1 or more."""
        estimate = self.scale_estimate
        if estimate is None or estimate.coarsest_um_per_px is None:
            return 1.0
        return max(1.0, estimate.coarsest_um_per_px / self.frame_um_per_px)

    def to_uint8(self) -> NDArray[np.uint8]:
        """The models' input: round(200 * transmittance), uint8 RGB (height, width, 3)."""
        coded = cv2.convertScaleAbs(self.transmittance, alpha=UINT8_PER_TRANSMITTANCE)
        return np.asarray(coded, dtype=np.uint8)

    def optical_density(self) -> NDArray[np.float32]:
        """-log10 of transmittance (floored at 0.01), float32 (height, width, 3), RGB.

        In the camera's encoded values: proportional to the true one where its response is a power
        of the light, equal where the camera is linear.
        """
        return np.asarray(-np.log10(np.maximum(self.transmittance, 0.01)), dtype=np.float32)


def canonical_field(
    frame: Frame,
    *,
    um_per_px: float | None = None,
    profile: CalibrationProfile | None = None,
    from_cells: ScaleEstimate | None = None,
    illumination: Illumination | None = None,
) -> CanonicalField:
    """Make a frame canonical.

    The scale is ``um_per_px`` where given, else the profile's, else the red cells' own size:
    ``from_cells``, where whoever found the cells measured it by them, else measured here. The
    illumination is the profile's flat field where it has one, else estimated from the gaps;
    ``illumination``, where this frame was made canonical before with the same profile: it does not
    hang on the scale. Raises FieldError when the frame is too small or the scale out of bounds.
    """
    if min(frame.width, frame.height) < 32:
        raise FieldError(
            f"{frame.source}: {frame.width}x{frame.height} is too small for a field; "
            "the shorter side must have at least 32 px"
        )
    pixels = frame.pixels
    flat_field = profile.flat_field_array() if profile is not None else None
    if profile is None or profile.illumination is None or flat_field is None:
        illumination = illumination or estimate_illumination(pixels)
    else:
        # (frame - dark) / (flat field - dark): what the sensor counts without light is no light.
        dark = profile.illumination.dark_level
        if dark > 0:
            pedestal = np.uint8(round(dark))
            pixels = np.maximum(pixels, pedestal) - pedestal
            flat_field = np.maximum(flat_field - np.float32(dark), np.float32(1.0))
        illumination = illumination or measured_illumination(flat_field, pixels)

    estimate: ScaleEstimate | None = None
    source: ScaleSource
    if um_per_px is not None:
        scale, source = um_per_px, "given"
    elif profile is not None and profile.scale is not None:
        scale, source = profile.scale.um_per_px, "profile"
    else:
        estimate = from_cells or scale_from_cells(pixels, illumination)
        if estimate is None:
            scale, source = ASSUMED_UM_PER_PX, "assumed"
        else:
            scale, source = estimate.um_per_px, "red_cells"
    if not MIN_UM_PER_PX <= scale <= MAX_UM_PER_PX:
        raise FieldError(
            f"{frame.source}: a scale of {scale:g} um/px is outside "
            f"{MIN_UM_PER_PX:g} to {MAX_UM_PER_PX:g}; check --um-per-px or the profile"
        )

    factor = scale / CANONICAL_UM_PER_PX
    width = max(16, round(frame.width * factor))
    height = max(16, round(frame.height * factor))
    if width * height > MAX_CANONICAL_PX:
        raise FieldError(
            f"{frame.source}: at {scale:g} um/px the field would need {width}x{height} px; "
            "check --um-per-px or the profile"
        )
    transmittance = _divided(pixels, illumination, width, height)
    return CanonicalField(
        transmittance=transmittance,
        valid=illumination.valid_at(width, height),
        frame_width=frame.width,
        frame_height=frame.height,
        frame_um_per_px=scale,
        scale_source=source,
        scale_estimate=estimate,
        illumination=illumination,
        source=frame.source,
    )


def _divided(
    pixels: NDArray[np.uint8], illumination: Illumination, width: int, height: int
) -> NDArray[np.float32]:
    """The frame at (width, height) over the illumination there, clipped transmittance."""
    shrinking = width < pixels.shape[1]
    resized = cv2.resize(
        pixels, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    )
    # The surface is smooth: its inverse is made where it is coarse.
    inverse = np.reciprocal(np.maximum(illumination.surface, np.float32(1.0)))
    spread = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_LINEAR)
    # The product and the clipping go back into the one array that was made: memory is the cost.
    cv2.multiply(resized, spread, dst=spread, dtype=cv2.CV_32F)
    cv2.threshold(spread, MAX_TRANSMITTANCE, 0.0, cv2.THRESH_TRUNC, dst=spread)
    return np.asarray(spread, dtype=np.float32)


def scale_from_cells(pixels: NDArray[np.uint8], illumination: Illumination) -> ScaleEstimate | None:
    """The scale of a frame (uint8 RGB) from its red cells, None where none can be measured.

    They are measured on as small a picture as shows them well.
    """
    longest = max(pixels.shape[:2])
    for side in MEASURE_SIDES_PX:
        measured = _measured_at(pixels, illumination, min(1.0, side / longest))
        if measured is not None and measured[1] >= GOOD_CELL_DIAMETER_PX:
            break
        if side >= longest:
            break
    if measured is None or not MIN_UM_PER_PX <= measured[0].um_per_px <= MAX_UM_PER_PX:
        return None
    return measured[0]


def _measured_at(
    pixels: NDArray[np.uint8], illumination: Illumination, factor: float
) -> tuple[ScaleEstimate, float] | None:
    """The estimate for the frame, and the width of its cells in the reduced picture, px."""
    frame_height, frame_width = pixels.shape[:2]
    width, height = max(1, round(frame_width * factor)), max(1, round(frame_height * factor))
    green = cv2.extractChannel(pixels, 1)
    green = cv2.resize(green, (width, height), interpolation=cv2.INTER_AREA)
    surface = np.maximum(illumination.surface[..., 1], np.float32(1.0))
    transmittance = green.astype(np.float32)
    transmittance /= cv2.resize(surface, (width, height))
    measured = estimate_scale(transmittance, illumination.valid_at(width, height))
    if measured is None:
        return None
    scale = measured.um_per_px * width / frame_width
    estimate = ScaleEstimate(scale, measured.cells, measured.spread)
    return estimate, RED_CELL_DIAMETER_UM / measured.um_per_px
