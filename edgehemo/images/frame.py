"""One picture as a camera or a file gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import FieldError

FrameMetadata = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Original:
    """The file a frame was decoded from, as it came. field: which of the fields it holds."""

    data: bytes
    field: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A captured frame, untouched.

    pixels: uint8, shape (height, width, 3), RGB order, as encoded by the camera.
    source: the file's path or the camera's identifier; what a result names the frame by.
    timestamp: when it was taken (timezone-aware), where that is known.
    metadata: what the camera told: exposure_us, gain, z_um, ... Never anything of the patient.
    original: the picture file it was decoded from; None of a camera's frame and a video's.
    """

    pixels: NDArray[np.uint8]
    source: str
    timestamp: datetime | None = None
    metadata: FrameMetadata = field(default_factory=dict)
    original: Original | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise FieldError(
                f"{self.source}: a frame must be uint8 RGB of shape (height, width, 3), "
                f"got {pixels.dtype} {pixels.shape}"
            )

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])
