"""The simulated microscope without a stage: a simulated hand moves the slide on.

The picture comes as from a camera, so many a second, and the slide is seen to move between two
places. Each place is drawn once, while the one before is shown, and under a few patterns of noise
in turn, so that no two frames in a row are the same and a frame costs next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from edgehemo.capture.protocol import CameraSettings, OpenedByContext
from edgehemo.capture.simulated import SimulatedMicroscope
from edgehemo.images.frame import Frame

FRAMES_PER_S = 30.0
# So many patterns of noise, of at most so many counts.
PATTERNS, NOISE_COUNTS = 3, 2
# Apart from the streams of the slide itself.
_STREAM_HAND = 5
# How long the hand takes from one place to the next.
MOVING_S = 0.4


class HandMovedMicroscope(OpenedByContext):
    """A `Camera` that has no stage. microscope: whose slide is moved."""

    def __init__(
        self,
        microscope: SimulatedMicroscope,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._microscope = microscope
        self._clock, self._sleep = clock, sleep
        self._drawn: dict[int, Future[list[Frame]]] = {}
        self._drawing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulated-slide")
        self._noise = np.random.default_rng([microscope.options.seed, _STREAM_HAND])
        self._shown = 0
        self._place, self._since = 0, 0.0
        self._next_at = 0.0

    @property
    def name(self) -> str:
        return self._microscope.name

    def open(self) -> None:
        self._microscope.open()
        self._since = self._next_at = self._clock()

    def close(self) -> None:
        self._forget()
        self._microscope.close()

    def apply(self, settings: CameraSettings) -> CameraSettings:
        self._forget()
        return self._microscope.apply(settings)

    def frame(self, deadline_s: float) -> Frame:
        """The next frame in its time; raises what the microscope's faults raise."""
        if (wait_s := self._next_at - self._clock()) > 0:
            self._sleep(wait_s)
        now = self._clock()
        self._next_at = max(self._next_at + 1.0 / FRAMES_PER_S, now)
        held_s = self._microscope.options.hand_s
        if now - self._since >= held_s and self._place + 1 < self._microscope.options.fields:
            self._place, self._since = self._place + 1, now
        moved = 1.0 - min(1.0, (now - self._since) / MOVING_S) if self._place else 0.0
        frame = self._still(deadline_s)
        self._shown += 1
        if moved == 0.0:
            return frame
        pixels = np.roll(frame.pixels, round(moved * frame.width), axis=1)
        return replace(frame, pixels=np.ascontiguousarray(pixels))

    def _still(self, deadline_s: float) -> Frame:
        """A picture of the place, drawn before where it can be; a fault is asked for every time."""
        if self._microscope.faults:
            self._forget()
            return self._microscope.frame(deadline_s)
        last = self._microscope.options.fields - 1
        for place in (self._place, min(self._place + 1, last)):
            if place not in self._drawn:
                self._drawn[place] = self._drawing.submit(self._place_drawn, place, deadline_s)
        self._drawn.pop(self._place - 1, None)
        shown = self._drawn[self._place].result()[self._shown % PATTERNS]
        return replace(shown, timestamp=datetime.now(UTC))

    def _forget(self) -> None:
        """Let go of what was drawn; the microscope is asked by one thread at a time."""
        for drawing in self._drawn.values():
            if not drawing.cancel():
                drawing.exception()
        self._drawn = {}

    def _place_drawn(self, place: int, deadline_s: float) -> list[Frame]:
        self._microscope.move_to_field(place)
        frame = self._microscope.frame(deadline_s)
        seen = []
        for _ in range(PATTERNS):
            noise = self._noise.integers(
                -NOISE_COUNTS, NOISE_COUNTS, frame.pixels.shape, np.int16, endpoint=True
            )
            pixels = np.clip(frame.pixels + noise, 0, 255).astype(np.uint8)
            seen.append(replace(frame, pixels=pixels))
        return seen
