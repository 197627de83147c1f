"""Cameras of the Raspberry Pi, through picamera2 and libcamera.

picamera2 comes from apt, matched to the system's libcamera, and is imported when a camera is
opened. Its format names follow DRM, little-endian: an array of "RGB888" holds blue first.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.deadline import within
from edgehemo.capture.guard import FAULT_NOTICED_S
from edgehemo.capture.protocol import (
    CameraSettings,
    OpenedByContext,
    capture_error,
    refused_settings,
)
from edgehemo.capture.sources import CameraSpec, size_option
from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.images.frame import Frame

# The format asked for; what is really given is read back and may be any of `RGB_ORDERS` or NV12.
ASKED_FORMAT = "RGB888"
# DRM format name to the channels' places in the array, in R, G, B order.
RGB_ORDERS: dict[str, tuple[int, int, int]] = {
    "RGB888": (2, 1, 0),
    "BGR888": (0, 1, 2),
    "XRGB8888": (2, 1, 0),
    "XBGR8888": (0, 1, 2),
}
_BYTES_PER_PX = {"RGB888": 3, "BGR888": 3, "XRGB8888": 4, "XBGR8888": 4}
# Settings reach the sensor some frames after they were asked for (libcamera's pipeline delay is
# two to three); this many are looked at before one is called refused.
SETTLE_FRAMES = 12
SET_DEADLINE_S = 5.0
# How long opening and closing may take once picamera2 is imported: a driver that hangs is to be
# known at once.
OPEN_DEADLINE_S = CLOSE_DEADLINE_S = FAULT_NOTICED_S
# libcamera's draft NoiseReductionModeEnum.Off
_NOISE_REDUCTION_OFF = 0
# libcamera's AfModeEnum.Manual: the lens of a camera that has one stays where it is.
_AF_MANUAL = 0
# What changes a picture by itself is switched off wherever the camera has it.
_AUTOMATICS_OFF: dict[str, Any] = {
    "AeEnable": False,
    "AwbEnable": False,
    "NoiseReductionMode": _NOISE_REDUCTION_OFF,
    "AfMode": _AF_MANUAL,
}
# The setting's control in libcamera, for the three that are single numbers in metadata.
_EXPOSURE, _GAIN, _COLOUR_GAINS = "ExposureTime", "AnalogueGain", "ColourGains"
# Exposure is quantised to sensor lines (10 to 40 us), gain to the sensor's register.
_STEPS = {"exposure_us": 60.0, "gain": 0.1, "red_gain": 0.02, "blue_gain": 0.02}

_OPTIONS = {"width": "px", "height": "px"}
INSTALL_HINT = (
    "picamera2 is not installed: run `sudo apt install python3-picamera2` and make the virtual "
    "environment with --system-site-packages"
)


def import_picamera2() -> Any:
    """The module picamera2; raises MissingDependencyError naming what to install."""
    try:
        return importlib.import_module("picamera2")
    except ImportError:
        raise MissingDependencyError(INSTALL_HINT) from None


class PiCamera(OpenedByContext):
    """A camera on the board's connector, by its number.

    size: width and height asked for, px; None takes half the sensor's, its binned mode. Exposure,
    gain and white balance are never automatic. library stands in for picamera2 in tests.
    """

    def __init__(
        self,
        number: int = 0,
        *,
        size: tuple[int, int] | None = None,
        library: Callable[[], Any] = import_picamera2,
        clock: Callable[[], float] = time.monotonic,
        open_deadline_s: float = OPEN_DEADLINE_S,
    ) -> None:
        self.number = number
        self.size = size
        self._library = library
        self._clock = clock
        self._open_deadline_s = open_deadline_s
        self._camera: Any = None
        self._stream: Mapping[str, Any] = {}

    @classmethod
    def from_spec(cls, spec: CameraSpec) -> Self:
        """From ``picamera2:0?width=2028&height=1520`` and the like."""
        options = spec.options(_OPTIONS)
        if not spec.target.isdecimal():
            raise UsageError(f"{spec.text}: the camera is a number, such as picamera2:0")
        return cls(int(spec.target), size=size_option(options, spec.text))

    @property
    def name(self) -> str:
        return f"picamera2:{self.number}"

    def open(self) -> None:
        if self._camera is not None:
            return
        library = self._library()
        try:
            self._camera, self._stream = within(
                self._open_deadline_s,
                lambda: self._started(library),
                too_late=lambda started: _let_go(started[0]),
            )
        except TimeoutError:
            raise capture_error(
                "CAMERA_TIMEOUT", f"{self.name}: the camera does not open"
            ) from None

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is None:
            return
        # A camera whose driver hangs is let go when it wakes up.
        with contextlib.suppress(TimeoutError):
            within(CLOSE_DEADLINE_S, lambda: _let_go(camera))

    def _started(self, library: Any) -> tuple[Any, Mapping[str, Any]]:
        """The camera, configured and running, and its stream as it really is."""
        present = len(library.Picamera2.global_camera_info())
        if self.number >= present:
            raise capture_error(
                "CAMERA_NOT_FOUND", f"{self.name}: {present} camera(s) are connected to this board"
            )
        try:
            camera = library.Picamera2(self.number)
        except (RuntimeError, IndexError) as error:
            raise capture_error(
                "CAMERA_NOT_FOUND", f"{self.name}: the camera cannot be opened ({error})"
            ) from None
        try:
            size = self.size or _half(camera.sensor_resolution)
            # A still configuration keeps full-range colour (sYCC) and leaves the frame rate free
            # for long exposures; without a queue every frame was exposed after it was asked for.
            camera.configure(
                camera.create_still_configuration(
                    main={"size": size, "format": ASKED_FORMAT},
                    buffer_count=2,
                    queue=False,
                    controls=_advertised(camera, _AUTOMATICS_OFF),
                )
            )
            stream = dict(camera.camera_configuration()["main"])
            self._refuse(stream)
            camera.start()
        except RuntimeError as error:
            camera.close()
            raise capture_error(
                "CAMERA_NOT_FOUND", f"{self.name}: the camera does not start ({error})"
            ) from None
        except BaseException:
            camera.close()
            raise
        return camera, stream

    def _refuse(self, stream: Mapping[str, Any]) -> None:
        """Raise CaptureError for a stream of another size or format than can be used."""
        got = (int(stream["size"][0]), int(stream["size"][1]))
        if self.size is not None and got != self.size:
            raise capture_error(
                "CAMERA_SETTING_REFUSED",
                f"{self.name}: a size of {self.size[0]}x{self.size[1]} px was asked for and "
                f"the camera gives {got[0]}x{got[1]}",
            )
        if stream["format"] not in RGB_ORDERS and stream["format"] != "NV12":
            raise capture_error(
                "CAMERA_SETTING_REFUSED",
                f"{self.name}: the camera gives the format {stream['format']}, "
                f"which is not read here",
            )

    def apply(self, settings: CameraSettings) -> CameraSettings:
        """Set what is given and wait until the frames' own metadata shows it."""
        settings.validate()
        controls: dict[str, Any] = {}
        if settings.exposure_us is not None:
            controls[_EXPOSURE] = round(settings.exposure_us)
        if settings.gain is not None:
            controls[_GAIN] = float(settings.gain)
        if settings.red_gain is not None and settings.blue_gain is not None:
            controls[_COLOUR_GAINS] = (float(settings.red_gain), float(settings.blue_gain))
        camera = self._opened()
        # picamera2 raises for the first control the camera has not; all of them are named here.
        if missing := [name for name in controls if name not in camera.camera_controls]:
            raise capture_error(
                "CAMERA_SETTING_REFUSED",
                f"{self.name}: this camera has no control {', '.join(missing)}",
            )
        try:
            camera.set_controls(_advertised(camera, _AUTOMATICS_OFF) | controls)
        except RuntimeError as error:
            raise capture_error("CAMERA_SETTING_REFUSED", f"{self.name}: {error}") from None
        ends = self._clock() + SET_DEADLINE_S
        refused: list[str] = []
        for _ in range(SETTLE_FRAMES):
            _, metadata = self._request(max(0.0, ends - self._clock()), pixels=False)
            taken = settings_of(metadata)
            refused = refused_settings(settings, taken, _STEPS)
            if not refused:
                return taken
        raise capture_error("CAMERA_SETTING_REFUSED", f"{self.name}: {'; '.join(refused)}")

    def frame(self, deadline_s: float) -> Frame:
        buffer, metadata = self._request(deadline_s, pixels=True)
        assert buffer is not None
        width, height = self._stream["size"]
        pixels = to_rgb(
            buffer, str(self._stream["format"]), int(width), int(height), self._stream["stride"]
        )
        told: dict[str, str | int | float | bool] = {
            **settings_of(metadata).given(),
            "pixel_format": str(self._stream["format"]),
        }
        return Frame(pixels, self.name, datetime.now(UTC), told)

    def _opened(self) -> Any:
        if self._camera is None:
            raise capture_error("CAMERA_NOT_FOUND", f"{self.name}: the camera is not open")
        return self._camera

    def _request(
        self, deadline_s: float, *, pixels: bool
    ) -> tuple[NDArray[np.uint8] | None, Mapping[str, Any]]:
        """The next frame's bytes as the driver lays them out, and its metadata."""
        camera = self._opened()
        job = camera.capture_request(wait=False)
        try:
            request = job.get_result(timeout=deadline_s)
        except (TimeoutError, FutureTimeoutError):
            camera.cancel_all_and_flush()
            raise capture_error(
                "CAMERA_TIMEOUT", f"{self.name}: no frame within {deadline_s:g} s"
            ) from None
        try:
            buffer = np.asarray(request.make_buffer("main")) if pixels else None
            return buffer, request.get_metadata()
        finally:
            request.release()


def _let_go(camera: Any) -> None:
    """Stop and close; a camera that was pulled off cannot be stopped in order."""
    for step in (camera.stop, camera.close):
        try:
            step()
        except Exception:
            continue


def _advertised(camera: Any, controls: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the controls that the camera has; libcamera refuses a list that holds another."""
    return {name: value for name, value in controls.items() if name in camera.camera_controls}


def settings_of(metadata: Mapping[str, Any]) -> CameraSettings:
    """What a frame was really taken with, from libcamera's metadata."""
    red, blue = metadata.get(_COLOUR_GAINS, (None, None))
    return CameraSettings(
        exposure_us=_number(metadata.get(_EXPOSURE)),
        gain=_number(metadata.get(_GAIN)),
        red_gain=_number(red),
        blue_gain=_number(blue),
    )


def to_rgb(
    buffer: NDArray[np.uint8], pixel_format: str, width: int, height: int, stride: int
) -> NDArray[np.uint8]:
    """A driver's buffer as uint8 RGB (height, width, 3).

    buffer: the bytes in order, any shape. pixel_format: a DRM name of `RGB_ORDERS`, or NV12.
    stride: bytes from one row to the next, padding included. Raises UsageError for other formats.
    """
    flat = buffer.reshape(-1)
    if pixel_format == "NV12":
        return nv12_to_rgb(flat, width, height, stride)
    if pixel_format not in RGB_ORDERS:
        raise UsageError(f"the pixel format {pixel_format} is not read here")
    size = _BYTES_PER_PX[pixel_format]
    rows = flat[: stride * height].reshape(height, stride)[:, : width * size]
    channels = rows.reshape(height, width, size)
    return np.ascontiguousarray(channels[..., RGB_ORDERS[pixel_format]])


def nv12_to_rgb(flat: NDArray[np.uint8], width: int, height: int, stride: int) -> NDArray[np.uint8]:
    """NV12 in the full range of JPEG (sYCC) as uint8 RGB (height, width, 3).

    A plane of Y, then one of interleaved Cb and Cr at half the size. R = Y + 1.402 Cr',
    G = Y - 0.344136 Cb' - 0.714136 Cr', B = Y + 1.772 Cb' with C' = C - 128 (JFIF 1.02, ITU-T
    T.871, clause 7). OpenCV's own conversion takes the studio range and would stretch contrast
    by 255/219. Width and height must be even.
    """
    luma = flat[: stride * height].reshape(height, stride)[:, :width]
    chroma = flat[stride * height : stride * height + stride * (height // 2)]
    halves = chroma.reshape(height // 2, stride)[:, :width].reshape(height // 2, width // 2, 2)
    full = cv2.resize(
        np.ascontiguousarray(halves), (width, height), interpolation=cv2.INTER_NEAREST
    )
    # OpenCV's YCrCb of 8-bit pictures is the full-range one of JFIF.
    ycrcb = np.dstack([luma, full[..., 1], full[..., 0]])
    return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _half(resolution: tuple[int, int]) -> tuple[int, int]:
    """Half the sensor's size, even as the pipeline needs it."""
    return resolution[0] // 4 * 2, resolution[1] // 4 * 2
