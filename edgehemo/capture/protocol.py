"""What every camera can do, and the settings it is asked to keep during a test."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from edgehemo.errors import CaptureError, UsageError
from edgehemo.files.strict import Text
from edgehemo.guidance.catalogue import guidance
from edgehemo.guidance.codes import CameraCode
from edgehemo.images.frame import Frame

# The range each setting must lie in, unit included in the name. Exposure: the shortest shutter of
# the usual sensors to one second. Gain: a factor of at most 64 on a Pi camera, but a USB camera's
# own steps (V4L2_CID_GAIN) reach a four-digit number. Colour gains: libcamera's 0 to 32, less what
# no lamp needs. White balance: the span of V4L2_CID_WHITE_BALANCE_TEMPERATURE in usual cameras.
SETTING_RANGES: dict[str, tuple[float, float]] = {
    "exposure_us": (20.0, 1_000_000.0),
    "gain": (0.0, 1023.0),
    "red_gain": (0.1, 16.0),
    "blue_gain": (0.1, 16.0),
    "white_balance_k": (2000.0, 10_000.0),
    "focus_um": (-20_000.0, 20_000.0),
}
# A setting that reads back within this share of what was asked for counts as taken.
SETTING_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What is fixed during a test; None leaves the camera as it is.

    exposure_us: shutter time, microseconds. gain: analogue gain as a factor, 1 = none; on a USB
    camera in its own steps. red_gain, blue_gain: white-balance gains against green.
    white_balance_k: colour temperature in kelvin, which USB cameras take instead of gains.
    focus_um: height of the focus drive, micrometres, up is positive.
    """

    exposure_us: float | None = None
    gain: float | None = None
    red_gain: float | None = None
    blue_gain: float | None = None
    white_balance_k: float | None = None
    focus_um: float | None = None

    def problems(self) -> list[str]:
        """Every problem at once, each with the range the value must lie in."""
        found = []
        for name, value in self.given().items():
            low, high = SETTING_RANGES[name]
            if not math.isfinite(value) or not low <= value <= high:
                found.append(f"{name} is {value:.10g}, must lie in {low:.10g} to {high:.10g}")
        if (self.red_gain is None) != (self.blue_gain is None):
            found.append("red_gain and blue_gain must be given together")
        return found

    def validate(self) -> Self:
        """Itself; raises UsageError naming every problem."""
        if found := self.problems():
            raise UsageError("camera settings: " + "; ".join(found))
        return self

    def given(self) -> dict[str, float]:
        """The settings that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def overlaid(self, other: CameraSettings) -> CameraSettings:
        """These settings with those that ``other`` gives in their place."""
        return replace(self, **other.given())

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(item.name for item in fields(cls))


@runtime_checkable
class Camera(Protocol):
    """A source of live frames. Used as a context manager: entering opens, leaving closes.

    name: what results name it by (``uvc:/dev/video0``).
    """

    @property
    def name(self) -> str: ...

    def open(self) -> None:
        """Take hold of the device; raises CaptureError. Twice is harmless."""

    def apply(self, settings: CameraSettings) -> CameraSettings:
        """Set what is given and return what the camera then reports.

        Raises UsageError for values out of range and CaptureError (CAMERA_SETTING_REFUSED), naming
        the setting, where the camera did not take one.
        """

    def frame(self, deadline_s: float) -> Frame:
        """The next frame, or CaptureError within ``deadline_s`` seconds."""

    def close(self) -> None:
        """Let go of the device; never raises, twice is harmless."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class OpenedByContext(ABC):
    """The context manager of every camera: entering opens, leaving closes."""

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@runtime_checkable
class StagedCamera(Protocol):
    """A camera that can go to another place of the slide by itself."""

    def move_to_next_field(self) -> None:
        """Move on; the next frame shows a place not shown before.

        Raises CaptureError (SLIDE_ENDED) where the slide ends.
        """


@dataclass(frozen=True, slots=True)
class FailedSource:
    """A source, or one image of it, that could not be read; the rest of the batch goes on."""

    image: str
    error: Text


def capture_error(code: CameraCode, message: str, *, action: str = "") -> CaptureError:
    """A CaptureError whose one line ends with what to do; ``action``: not the catalogue's."""
    doing = action or guidance(code).action
    return CaptureError(f"{message}. {doing}", code=code, action=doing)


def refused_settings(
    asked: CameraSettings,
    got: CameraSettings,
    steps: Mapping[str, float],
    *,
    tolerance: float = SETTING_TOLERANCE,
) -> list[str]:
    """What was asked for and not taken, one phrase a setting.

    steps: setting to the step in which this camera takes it. A value that reads back within one
    step of what was asked, or within ``tolerance`` as a share of it, counts as taken.
    """
    taken = got.given()
    refused = []
    for name, value in asked.given().items():
        if name not in taken:
            refused.append(f"{name} cannot be set on this camera")
        elif abs(value - taken[name]) > max(steps.get(name, 0.0), tolerance * abs(value)):
            refused.append(f"{name} was set to {value:g} and reads back {taken[name]:g}")
    return refused
