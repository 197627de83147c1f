"""The camera's picture without a sample, in the process that owns the camera.

The engineer turns settings and sees at once what they do; pictures are kept where they are asked
for. It ends by itself when nobody asks any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.capture import FRAME_DEADLINE_S, open_source
from edgehemo.capture.autocapture import focus_bar
from edgehemo.capture.guard import GuardedCamera
from edgehemo.capture.protocol import CameraSettings
from edgehemo.errors import CaptureError, EdgeHemoError
from edgehemo.kiosk.messages import (
    Levels,
    LookFailed,
    LookOrder,
    Order,
    Report,
    SawLook,
    TookPicture,
)

# A look that nobody asked for again ends after so many seconds.
LOOK_S = 8.0
# So many live pictures a second, at most.
_PER_S = 10.0
# Counts from which a channel is taken for clipped, and to which a pixel is taken for black.
CLIPPED_COUNTS, BLACK_COUNTS = 250, 5
BRIGHT_QUANTILE = 0.98
HISTOGRAM_BINS = 32
# Levels are read from a picture of about this longest side, px.
_LEVELS_SIDE_PX = 320


class Orders(Protocol):
    """Where orders come from; a `multiprocessing.connection.Connection` is one."""

    def poll(self, timeout_s: float, /) -> bool:
        """Whether one waits, or comes within so many seconds."""
        ...

    def recv(self) -> Any:
        """The next one."""
        ...


class Looking:
    """One look after another at one camera. picture: makes the JPEG file of a live picture. clock:
    seconds.
    """

    def __init__(
        self,
        connection: Orders,
        say: Callable[[Report], None],
        picture: Callable[[NDArray[np.uint8]], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._say, self._picture = connection, say, picture
        self._clock = clock
        self._best_focus = 0.0
        self._set = CameraSettings()

    def look(self, order: LookOrder) -> tuple[Order | None, ...]:
        """Look until something else is to be done, which is returned; nothing where nobody asked
        again.
        """
        try:
            with open_source(order.source) as camera:
                return self._at(camera, order)
        except EdgeHemoError as error:
            self._say(_failed(order.number, error))
            return ()

    def _at(self, camera: GuardedCamera, order: LookOrder) -> tuple[Order | None, ...]:
        self._apply(camera, order)
        ends_s = self._begin(camera, order)
        while self._clock() < ends_s:
            begun_s = self._clock()
            self._show(camera, order.number)
            # The wait for the next picture is a wait for the next order as well.
            if not self._connection.poll(max(0.0, begun_s + 1 / _PER_S - self._clock())):
                continue
            other: Order | None = self._connection.recv()
            if not isinstance(other, LookOrder) or other.source != order.source:
                return (other,)
            if other.settings != order.settings:
                self._apply(camera, other)
            ends_s = self._begin(camera, other)
            order = other
        return ()

    def _begin(self, camera: GuardedCamera, order: LookOrder) -> float:
        """Keep the pictures that are asked for; when the look ends, seconds."""
        if order.folder is not None:
            self._keep(camera, order, Path(order.folder))
        return self._clock() + LOOK_S

    def _apply(
        self, camera: GuardedCamera, order: LookOrder, given: CameraSettings | None = None
    ) -> bool:
        """Set the camera; what it does not take is told, and it goes on as it is then. given: on
        top of the order's own settings.
        """
        self._best_focus = 0.0
        wanted = order.settings if given is None else order.settings.overlaid(given)
        try:
            self._set = camera.apply(wanted)
        except CaptureError as error:
            self._say(_failed(order.number, error))
            return False
        return True

    def _keep(self, camera: GuardedCamera, order: LookOrder, folder: Path) -> None:
        for index, given in enumerate(order.pictures):
            if index and order.move and camera.has_stage and not camera.move_to_next_field():
                return
            if given != CameraSettings() and not self._apply(camera, order, given):
                return
            frame = camera.frame(FRAME_DEADLINE_S)
            file = folder / f"{order.number:04d}-{index + 1:03d}.png"
            done, data = cv2.imencode(".png", cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))
            assert done, "a uint8 picture of three channels is always encoded"
            try:
                file.write_bytes(bytes(data))
            except OSError as error:
                said = f"a picture cannot be written ({error.strerror or error})"
                self._say(LookFailed(order.number, "DATA_FOLDER_UNREADABLE", said))
                return
            self._say(TookPicture(order.number, str(file)))
            self._show_frame(frame.pixels, order.number)
        if any(given != CameraSettings() for given in order.pictures):
            self._apply(camera, order)

    def _show(self, camera: GuardedCamera, number: int) -> None:
        try:
            frame = camera.frame(FRAME_DEADLINE_S)
        except CaptureError as error:
            if error.code != "CAMERA_DARK":
                raise
            # Whoever turns the exposure sees how dark it is; no sample is taken of it.
            frame = camera.camera.frame(FRAME_DEADLINE_S)
        self._show_frame(frame.pixels, number)

    def _show_frame(self, pixels: NDArray[np.uint8], number: int) -> None:
        levels = levels_of(pixels)
        self._best_focus = max(self._best_focus, levels.focus)
        bar = levels.focus / self._best_focus if self._best_focus > 0 else 0.0
        self._say(SawLook(number, self._picture(pixels), bar, levels, self._set))


def levels_of(pixels: NDArray[np.uint8]) -> Levels:
    """The light and the sharpness of a picture, uint8 RGB (height, width, 3)."""
    step = max(1, max(pixels.shape[:2]) // _LEVELS_SIDE_PX)
    # Points, not means: a mean hides what is clipped.
    small = pixels[::step, ::step].reshape(-1, 3)
    red, green, blue = np.quantile(small, BRIGHT_QUANTILE, axis=0)
    counts, _ = np.histogram(small[:, 1], bins=HISTOGRAM_BINS, range=(0, 256))
    return Levels(
        bright_rgb=(float(red), float(green), float(blue)),
        clipped=float(np.mean(small.max(axis=1) >= CLIPPED_COUNTS)),
        black=float(np.mean(small.max(axis=1) <= BLACK_COUNTS)),
        histogram=tuple(float(count) / len(small) for count in counts),
        focus=focus_bar(pixels),
    )


def _failed(number: int, error: EdgeHemoError) -> LookFailed:
    return LookFailed(number, error.code, str(error))
