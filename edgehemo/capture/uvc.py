"""USB cameras (V4L2 through OpenCV).

OpenCV's read blocks for ten seconds when a camera wedges, and nothing can interrupt it. So a
thread of its own holds the device: it alone opens, sets, reads and releases, keeps the newest
frame only, and whoever waits for a frame waits with a deadline of their own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.guard import FAULT_NOTICED_S
from edgehemo.capture.protocol import (
    CameraSettings,
    OpenedByContext,
    capture_error,
    refused_settings,
)
from edgehemo.capture.sources import CameraSpec, size_option
from edgehemo.errors import CaptureError, UsageError
from edgehemo.images.frame import Frame

# How long opening and setting may take; a wedged driver blocks for ten seconds and more, and the
# operator is to know at once.
OPEN_DEADLINE_S = SET_DEADLINE_S = FAULT_NOTICED_S
# How long closing waits for the thread; a wedged one releases the device when it wakes up.
CLOSE_WAIT_S = 1.0
# After a change of settings this many frames may still have been exposed with the old ones: the
# driver holds up to four buffers.
SETTLE_FRAMES = 4
# V4L2_CID_EXPOSURE_ABSOLUTE counts in 100 us; V4L2_EXPOSURE_MANUAL is 1, aperture priority 3.
US_PER_EXPOSURE_STEP = 100.0
_EXPOSURE_MANUAL = 1.0
# What changes a picture by itself: what it is called, its control, what switches it off, and the
# read-backs that say it is still on (V4L2_EXPOSURE_AUTO 0 and APERTURE_PRIORITY 3 both move the
# shutter). A camera without the control has nothing to switch off.
_AUTOMATICS: tuple[tuple[str, int, float, tuple[float, ...]], ...] = (
    ("exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _EXPOSURE_MANUAL, (0.0, 3.0)),
    ("white balance", cv2.CAP_PROP_AUTO_WB, 0.0, (1.0,)),
    ("focus", cv2.CAP_PROP_AUTOFOCUS, 0.0, (1.0,)),
)
# The steps of the controls.
_STEPS = {"exposure_us": US_PER_EXPOSURE_STEP, "gain": 1.0, "white_balance_k": 100.0}

_OPTIONS = {"width": "px", "height": "px", "fourcc": "pixel format such as MJPG or YUYV"}

T = TypeVar("T")


class VideoDevice(Protocol):
    """The part of cv2.VideoCapture used here."""

    def isOpened(self) -> bool: ...  # noqa: N802 - OpenCV's name

    def read(self) -> tuple[bool, Any]: ...

    def set(self, propId: int, value: float) -> bool: ...  # noqa: N803 - OpenCV's name

    def get(self, propId: int) -> float: ...  # noqa: N803 - OpenCV's name

    def release(self) -> None: ...


def open_v4l2(device: str) -> VideoDevice:
    """A V4L2 device in OpenCV."""
    return cv2.VideoCapture(device, cv2.CAP_V4L2)


class UvcCamera(OpenedByContext):
    """A USB camera. Frames arrive as RGB; automatic exposure and white balance are switched off.

    device: such as /dev/video0. size: width and height asked for, px; a camera that gives another
    size is refused, because the calibration profile belongs to one size. fourcc: pixel format.
    opener and exists stand in for the real device in tests.
    """

    def __init__(
        self,
        device: str,
        *,
        size: tuple[int, int] | None = None,
        fourcc: str | None = None,
        opener: Callable[[str], VideoDevice] = open_v4l2,
        exists: Callable[[str], bool] = lambda device: Path(device).exists(),
        open_deadline_s: float = OPEN_DEADLINE_S,
        set_deadline_s: float = SET_DEADLINE_S,
    ) -> None:
        self.device = device
        self.size = size
        self.fourcc = fourcc
        self._opener = opener
        self._exists = exists
        self._open_deadline_s = open_deadline_s
        self._set_deadline_s = set_deadline_s
        self._reader: _Reader | None = None
        self._metadata: dict[str, str | int | float | bool] = {}

    @classmethod
    def from_spec(cls, spec: CameraSpec) -> Self:
        """From ``uvc:/dev/video0?width=1280&height=960&fourcc=MJPG`` and the like."""
        options = spec.options(_OPTIONS)
        fourcc = options.get("fourcc")
        if fourcc is not None and not (len(fourcc) == 4 and fourcc.isascii()):
            raise UsageError(f"{spec.text}: fourcc has four letters, such as MJPG or YUYV")
        return cls(spec.target, size=size_option(options, spec.text), fourcc=fourcc)

    @property
    def name(self) -> str:
        return f"uvc:{self.device}"

    def open(self) -> None:
        if self._reader is not None:
            return
        if not self._exists(self.device):
            raise capture_error("CAMERA_NOT_FOUND", f"{self.name}: there is no such device")
        reader = _Reader(self.device, self._opener, self._prepare, self._exists)
        reader.start()
        try:
            reader.opened.result(timeout=self._open_deadline_s)
        except FutureTimeoutError:
            reader.stop()
            raise capture_error(
                "CAMERA_TIMEOUT", f"{self.name}: the camera does not open"
            ) from None
        except CaptureError:
            reader.stop()
            raise
        self._reader = reader

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            reader.join(CLOSE_WAIT_S)

    def apply(self, settings: CameraSettings) -> CameraSettings:
        """Switch the automatics off, set what is given, read back; see `Camera.apply`."""
        settings.validate()
        reader = self._opened_reader()
        try:
            done = reader.call(lambda device: _set_all(device, settings))
            taken, automatic = done.result(self._set_deadline_s)
        except FutureTimeoutError:
            raise capture_error(
                "CAMERA_TIMEOUT", f"{self.name}: the camera does not answer while it is set"
            ) from None
        refused = [f"automatic {name} cannot be switched off" for name in automatic]
        refused += refused_settings(settings, taken, _STEPS)
        if refused:
            raise capture_error("CAMERA_SETTING_REFUSED", f"{self.name}: {'; '.join(refused)}")
        reader.skip(SETTLE_FRAMES)
        self._metadata = dict(taken.given())
        return taken

    def frame(self, deadline_s: float) -> Frame:
        reader = self._opened_reader()
        bgr = reader.next_frame(deadline_s)
        if bgr is None:
            if reader.gone or not self._exists(self.device):
                raise capture_error("CAMERA_UNPLUGGED", f"{self.name}: the camera was unplugged")
            raise capture_error("CAMERA_TIMEOUT", f"{self.name}: no frame within {deadline_s:g} s")
        pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return Frame(pixels, self.name, datetime.now(UTC), dict(self._metadata))

    def _opened_reader(self) -> _Reader:
        if self._reader is None:
            raise capture_error("CAMERA_NOT_FOUND", f"{self.name}: the camera is not open")
        return self._reader

    def _prepare(self, device: VideoDevice) -> None:
        """Pixel format and size, before the first frame; runs in the reader's thread."""
        if self.fourcc is not None:
            code = cv2.VideoWriter.fourcc(*self.fourcc)
            device.set(cv2.CAP_PROP_FOURCC, float(code))
            if int(device.get(cv2.CAP_PROP_FOURCC)) != code:
                raise capture_error(
                    "CAMERA_SETTING_REFUSED", f"{self.name}: the camera has no format {self.fourcc}"
                )
        if self.size is not None:
            device.set(cv2.CAP_PROP_FRAME_WIDTH, float(self.size[0]))
            device.set(cv2.CAP_PROP_FRAME_HEIGHT, float(self.size[1]))
            got = (
                int(device.get(cv2.CAP_PROP_FRAME_WIDTH)),
                int(device.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            )
            if got != self.size:
                raise capture_error(
                    "CAMERA_SETTING_REFUSED",
                    f"{self.name}: a size of {self.size[0]}x{self.size[1]} px was asked for and "
                    f"the camera gives {got[0]}x{got[1]}",
                )


def _set_all(device: VideoDevice, settings: CameraSettings) -> tuple[CameraSettings, list[str]]:
    """Set what is given; what the controls read afterwards, and the automatics that stayed on.

    A control that refuses is missing from what is returned. OpenCV returns -1 for a control that
    a camera has not.
    """
    automatic = []
    for name, control, off, still_on in _AUTOMATICS:
        device.set(control, off)
        if device.get(control) in still_on:
            automatic.append(name)
    controls = {
        "exposure_us": (cv2.CAP_PROP_EXPOSURE, US_PER_EXPOSURE_STEP),
        "gain": (cv2.CAP_PROP_GAIN, 1.0),
        "white_balance_k": (cv2.CAP_PROP_WB_TEMPERATURE, 1.0),
    }
    taken: dict[str, float] = {}
    asked = settings.given()
    for name, (control, unit) in controls.items():
        if name in asked and not device.set(control, float(round(asked[name] / unit))):
            continue
        value = device.get(control)
        if value >= 0 and not (name == "white_balance_k" and value == 0):
            taken[name] = value * unit
    return CameraSettings(**taken), automatic


class _Reader(threading.Thread):
    """The thread that owns the device. Everything it shares is behind one condition."""

    def __init__(
        self,
        device: str,
        opener: Callable[[str], VideoDevice],
        prepare: Callable[[VideoDevice], None],
        exists: Callable[[str], bool],
    ) -> None:
        super().__init__(name=f"camera {device}", daemon=True)
        self.opened: Future[None] = Future()
        self.gone = False
        self._device = device
        self._opener = opener
        self._prepare = prepare
        self._exists = exists
        self._changed = threading.Condition()
        self._calls: deque[Callable[[VideoDevice], None]] = deque()
        self._newest: NDArray[np.uint8] | None = None
        self._count = 0
        self._not_before = 0
        self._stopping = threading.Event()

    def call(self, function: Callable[[VideoDevice], T]) -> Future[T]:
        """Run ``function`` on the device between two frames."""
        result: Future[T] = Future()

        def run(device: VideoDevice) -> None:
            try:
                result.set_result(function(device))
            except Exception as error:
                result.set_exception(error)

        self._calls.append(run)
        return result

    def skip(self, count: int) -> None:
        """Let no frame through before ``count`` more have arrived."""
        with self._changed:
            self._not_before = self._count + count

    def next_frame(self, deadline_s: float) -> NDArray[np.uint8] | None:
        """A frame that arrives after this call, BGR; None at the deadline or when it is gone."""
        with self._changed:
            after = max(self._count, self._not_before)
            self._changed.wait_for(lambda: self.gone or self._count > after, deadline_s)
            return self._newest if self._count > after else None

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        try:
            device = self._opener(self._device)
        except Exception as error:
            self.opened.set_exception(_not_opened(self._device, str(error)))
            return
        try:
            if not device.isOpened():
                self.opened.set_exception(_not_opened(self._device, "it may be in use"))
                return
            try:
                self._prepare(device)
            except Exception as error:
                self.opened.set_exception(error)
                return
            self.opened.set_result(None)
            self._read_on(device)
        finally:
            device.release()

    def _read_on(self, device: VideoDevice) -> None:
        while not self._stopping.is_set():
            while self._calls:
                self._calls.popleft()(device)
            try:
                done, bgr = device.read()
            except cv2.error:
                done, bgr = False, None
            if done and bgr is not None:
                with self._changed:
                    self._newest = bgr
                    self._count += 1
                    self._changed.notify_all()
                continue
            if not self._exists(self._device):
                with self._changed:
                    self.gone = True
                    self._changed.notify_all()
                return
            self._stopping.wait(0.02)


def _not_opened(device: str, why: str) -> CaptureError:
    return capture_error(
        "CAMERA_BUSY",
        f"uvc:{device}: the camera cannot be opened ({why})",
    )
