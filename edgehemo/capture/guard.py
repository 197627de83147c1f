"""A camera that is watched: dark and frozen pictures are faults, and a lost camera is reopened.

Works with every `Camera`. Nothing here knows a device; clock and sleep come in as arguments, so
that every branch is a fast test.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.protocol import (
    Camera,
    CameraSettings,
    OpenedByContext,
    StagedCamera,
    capture_error,
)
from edgehemo.errors import CaptureError
from edgehemo.guidance.codes import CameraCode
from edgehemo.images.frame import Frame

log = logging.getLogger(__name__)

# A frame whose brightest hundredth stays below this (of 255) has no lamp behind it; the clear part
# of a well set bright field lies near 70 % of full scale (OpenFlexure's automatic exposure).
DARK_LEVEL = 25
# Bit-identical frames after the first. Sensor noise makes even one unlikely; two are no accident.
FROZEN_REPEATS = 2
# A camera that sends nothing for so long is lost, however much longer the caller would wait: the
# operator is to know within this time.
FAULT_NOTICED_S = 3.0
# How often a lost camera is reopened within one call, and how long is waited before.
REOPEN_TRIES = 2
REOPEN_WAIT_S = 0.5
# Faults that closing and opening again may cure. Darkness is the lamp's.
_CURABLE: frozenset[CameraCode] = frozenset(
    {"CAMERA_TIMEOUT", "CAMERA_UNPLUGGED", "CAMERA_FROZEN", "CAMERA_NOT_FOUND", "CAMERA_BUSY"}
)


class GuardedCamera(OpenedByContext):
    """Wraps a camera; is one itself.

    camera: the one watched. settings: what the camera reported after `apply`, None before. After
    a reopening the settings asked for are applied again, so that a result never stands on a
    camera that fell back to its automatic mode. on_fault: told of a fault as soon as it is
    noticed, before a reopening is tried, so that the operator need not wait for its outcome.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        reopen_tries: int = REOPEN_TRIES,
        reopen_wait_s: float = REOPEN_WAIT_S,
        on_fault: Callable[[CaptureError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.camera = camera
        self.settings: CameraSettings | None = None
        self.reopened = 0
        self.on_fault = on_fault
        self._asked: CameraSettings | None = None
        self._previous: NDArray[np.uint8] | None = None
        self._lost = False
        self._tries = reopen_tries
        self._wait_s = reopen_wait_s
        self._clock = clock
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self.camera.name

    def open(self) -> None:
        self.camera.open()
        self._lost = False
        self._previous = None

    def close(self) -> None:
        self.camera.close()
        self._previous = None

    def apply(self, settings: CameraSettings) -> CameraSettings:
        """Apply, and remember for a reopening; raises what the camera raises."""
        taken = self.camera.apply(settings)
        self._asked = settings if self._asked is None else self._asked.overlaid(settings)
        self.settings = taken
        return taken

    @property
    def has_stage(self) -> bool:
        """Whether the camera can go to another place of the slide by itself."""
        return isinstance(self.camera, StagedCamera)

    def move_to_next_field(self) -> bool:
        """Move a camera that has a stage; False where its slide ends or it has none."""
        if not isinstance(self.camera, StagedCamera):
            return False
        try:
            self.camera.move_to_next_field()
        except CaptureError as error:
            if error.code != "SLIDE_ENDED":
                raise
            return False
        return True

    def frame(self, deadline_s: float) -> Frame:
        """The next frame that is neither dark nor frozen.

        Reopens a camera that timed out, froze or was unplugged, at most ``reopen_tries`` times.
        Raises the first such CaptureError once the tries or ``deadline_s`` are used up; the next
        call then starts by reopening. What reopening cannot cure (darkness, a refused setting) is
        raised at once.
        """
        ends = self._clock() + deadline_s
        first: CaptureError | None = None
        tries_left = self._tries
        while True:
            try:
                if self._lost:
                    self._reopen()
                share_s = max(0.0, ends - self._clock()) / (tries_left + 1)
                share_s = min(FAULT_NOTICED_S, share_s)
                return self._healthy_frame(share_s)
            except CaptureError as error:
                if error.code not in _CURABLE:
                    raise
                first = first or error
                self._lost = True
                log.info("camera fault %s, %d tries left", error.code, tries_left)
                remaining_s = ends - self._clock()
                if tries_left == 0 or remaining_s <= 0:
                    raise first from None
                if self.on_fault is not None:
                    self.on_fault(error)
                tries_left -= 1
                self._sleep(min(self._wait_s, remaining_s))

    def _reopen(self) -> None:
        # The last frame is kept: a camera that sends it again is still frozen.
        # It counts as lost until its settings hold again.
        self.camera.close()
        self.camera.open()
        if self._asked is not None:
            self.settings = self.camera.apply(self._asked)
        self._lost = False
        self.reopened += 1

    def _healthy_frame(self, deadline_s: float) -> Frame:
        """A frame that differs from the one before; the first after opening is compared too."""
        ends = self._clock() + deadline_s
        repeats = 0
        while True:
            frame = self.camera.frame(max(0.0, ends - self._clock()))
            if is_dark(frame.pixels):
                raise capture_error("CAMERA_DARK", f"{self.name}: the picture is dark")
            previous, self._previous = self._previous, frame.pixels
            if previous is None:
                # It sends: what is to be compared with this one has as long again. A slow processor
                # may have needed the whole of it for the first.
                ends = self._clock() + deadline_s
                continue
            if not is_repeat(previous, frame.pixels):
                return frame
            repeats += 1
            if repeats >= FROZEN_REPEATS:
                raise capture_error(
                    "CAMERA_FROZEN", f"{self.name}: the camera sends the same frame"
                )


def is_dark(pixels: NDArray[np.uint8]) -> bool:
    """Whether a frame (uint8 RGB) was taken without light: see `DARK_LEVEL`."""
    brightest = pixels[::4, ::4].max(axis=2)
    return bool(np.quantile(brightest, 0.99) < DARK_LEVEL)


def is_repeat(previous: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    """Whether two frames are the same bit for bit.

    A fully clipped picture is the same every time without being frozen: it does not count.
    """
    if previous.shape != pixels.shape or not np.array_equal(previous, pixels):
        return False
    return bool(pixels.min() < 255)
