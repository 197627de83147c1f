"""The frames of a video file in their own time, one for each look that is taken at it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import ImageError

# The largest of the usual cameras has 12.3 million; a decoder holds some twenty frames at a time.
MAX_VIDEO_PIXELS = 20_000_000
# An hour at 30 frames a second; what follows is not read.
MAX_VIDEO_FRAMES = 108_000
# Taken for the frame rate where the file does not tell a believable one.
ASSUMED_FPS = 25.0


class Video(Protocol):
    """An opened video. What it says of itself, and where it stands.

    fps, frame_count: as the file tells them, believable or not. frames, time_s: how many frames
    were gone through, and the time of the last one, s.
    """

    fps: float
    frame_count: float
    frames: int
    time_s: float

    def look(self, due_s: float) -> NDArray[np.uint8] | None:
        """The first frame at or after a time, uint8 RGB (h, w, 3); None where the video ends.

        Raises ImageError, which says what the video does, where it costs more than it may.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass
class VideoClock:
    """The time of each frame, s: by its time stamp, by the frame rate where there are none.

    Browsers call every video one of 1000 frames a second, and phones write frames when they have
    them; raw streams have no time stamps at all.
    """

    fps: float
    index: int = -1
    time_s: float = 0.0
    stamped: bool = False

    def frame(self, stamp_ms: float) -> float:
        """The time of the next frame, which never runs back."""
        self.index += 1
        stamp_s = stamp_ms / 1000.0
        if np.isfinite(stamp_s) and stamp_s > self.time_s:
            self.stamped = True
            self.time_s = stamp_s
        elif not self.stamped:
            self.time_s = self.index / self.fps
        return self.time_s


class Footage:
    """A `Video` in this process, on an opened `cv2.VideoCapture`.

    Raises ImageError where nothing was opened, or its frames are larger than `MAX_VIDEO_PIXELS`.
    """

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        if not capture.isOpened():
            raise ImageError(
                "cannot be read here: it is damaged, or of a kind that is not known; copy it again "
                "or record it as MP4 with H.264"
            )
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_VIDEO_PIXELS:
            raise ImageError(
                f"has {width}x{height} px, more than the {MAX_VIDEO_PIXELS / 1e6:g} million read "
                "here; record it smaller"
            )
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.frame_count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._clock = VideoClock(self.fps if 0.1 <= self.fps < 1000 else ASSUMED_FPS)

    @property
    def frames(self) -> int:
        return self._clock.index + 1

    @property
    def time_s(self) -> float:
        return self._clock.time_s

    def look(self, due_s: float) -> NDArray[np.uint8] | None:
        while self.frames < MAX_VIDEO_FRAMES and self._capture.grab():
            time_s = self._clock.frame(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if time_s < due_s:
                continue
            bgr = self._capture.retrieve()[1]
            # A frame may be larger than the container says.
            if bgr is None or bgr.shape[0] * bgr.shape[1] > MAX_VIDEO_PIXELS:
                return None
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._capture.release()
