"""Frames from files: single pictures, folders of them, and videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgehemo.capture.overlap import place_of, same_place
from edgehemo.capture.protocol import FailedSource
from edgehemo.errors import ImageError
from edgehemo.images.decoder_messages import decoder_messages
from edgehemo.images.frame import Frame
from edgehemo.images.kinds import picture_format, video_kind
from edgehemo.images.reading import (
    MAX_PIXELS,
    head_of,
    images_in,
    is_folder,
    open_picture,
    passed_over,
)

if TYPE_CHECKING:
    from edgehemo.capture.overlap import Place

# Videos of JPEG pictures without a container begin as a picture does; only the name tells them.
_MOTION_JPEG_SUFFIXES = frozenset({".mjpg", ".mjpeg"})
# Taken for a video though its first bytes say nothing, so that it is called a damaged video.
VIDEO_SUFFIXES = _MOTION_JPEG_SUFFIXES | {
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".h264", ".h265", ".wmv", ".asf", ".mpg",
    ".mpeg", ".3gp", ".ts", ".mts", ".m2ts", ".ogv", ".flv",
}  # fmt: skip
# A frame is looked at this often; an operator rests longer than this on a field.
VIDEO_STEP_S = 0.5
# Taken for the frame rate where the file does not tell a believable one.
ASSUMED_FPS = 25.0
# Fields of one video, unless the caller says otherwise: beyond 2,400 counted cells more fields
# hardly narrow the interval, and a field has 50 of them and more.
VIDEO_FIELDS = 60
# An hour at 30 frames a second; what follows is not read.
MAX_VIDEO_FRAMES = 108_000
# A file that yields less than this share of the time and of the frames it promises was cut short.
_WHOLE_SHARE = 0.9


def is_video(path: Path) -> bool:
    """Whether a file is a video: by its first bytes, by its name only where they say nothing."""
    head = head_of(path)
    suffix = path.suffix.lower()
    if picture_format(head) is not None:
        return suffix in _MOTION_JPEG_SUFFIXES
    return video_kind(head) is not None or suffix in VIDEO_SUFFIXES


def path_frames(path: Path, *, limit: int | None = None) -> Iterator[Frame | FailedSource]:
    """The frames a path stands for: the fields of a file, the pictures of a folder or a video.

    What cannot be read comes as a FailedSource and the rest goes on; so does a video or a kind of
    picture that is not read among the pictures of a folder. ``limit`` bounds the fields of a
    video (default `VIDEO_FIELDS`).
    """
    if is_folder(path):
        yield from _folder_frames(path)
    elif is_video(path):
        yield from video_frames(path, limit=VIDEO_FIELDS if limit is None else limit)
    else:
        yield from picture_frames(path)


def _folder_frames(folder: Path) -> Iterator[Frame | FailedSource]:
    others: list[FailedSource] = []
    try:
        others = [FailedSource(str(path), f"{path}: {why}") for path, why in passed_over(folder)]
        pictures = images_in([folder])
    except ImageError as error:
        yield from others or [FailedSource(str(folder), str(error))]
        return
    for picture in pictures:
        yield from picture_frames(picture)
    yield from others


def picture_frames(path: Path) -> Iterator[Frame | FailedSource]:
    """Every field of one picture file; each that cannot be read is a FailedSource of its own."""
    try:
        picture = open_picture(path)
    except ImageError as error:
        yield FailedSource(str(path), str(error))
        return
    for field in range(len(picture)):
        try:
            yield picture.frame(field)
        except ImageError as error:
            yield FailedSource(picture.name_of(field), str(error))


def video_frames(path: Path, *, limit: int = VIDEO_FIELDS) -> Iterator[Frame | FailedSource]:
    """At most ``limit`` frames of a video that show different places of the slide.

    Every half second a frame is looked at; one that overlaps a place already taken is skipped, so
    that no cell is counted twice. ``source`` is the path and the time, ``smear.mp4#t=12.5``;
    ``metadata`` holds ``time_s``. A video that ends before its own length says yields what it has
    and then a FailedSource.
    """
    head = head_of(path)
    if not head:
        # `open_picture` has the words for what is missing, empty or forbidden.
        yield from picture_frames(path)
        return
    kind = video_kind(head) or ("motion JPEG" if picture_format(head) == "jpeg" else None)
    if kind is None:
        # FFmpeg is asked about videos alone: of other files it reads lists of addresses as well.
        yield FailedSource(str(path), f"{path}: is not a video; copy or record it again")
        return
    capture = _opened(path)
    try:
        if not capture.isOpened():
            yield FailedSource(
                str(path),
                f"{path}: is a video ({kind}) that cannot be read here: it is damaged, or of a "
                "kind that is not known; copy it again or record it as MP4 with H.264",
            )
            return
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            yield FailedSource(
                str(path),
                f"{path}: has {width}x{height} px, more than the {MAX_PIXELS / 1e6:g} million "
                "read here; record it smaller",
            )
            return
        yield from _fields_of(capture, path, limit)
    finally:
        capture.release()


def _opened(path: Path) -> cv2.VideoCapture:
    """The video of a file, opened by what is in it.

    FFmpeg reads a meaning into names: what stands before a colon is a protocol, ``%d`` a series of
    pictures, ``.jpg`` no video. The system's name for an open file has none.
    """
    named = Path("/proc/self/fd")
    with decoder_messages():
        if not named.is_dir():
            return cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
        with path.open("rb") as file:
            # FFmpeg opens the file anew, and keeps it when this one is closed.
            return cv2.VideoCapture(str(named / str(file.fileno())), cv2.CAP_FFMPEG)


@dataclass
class _VideoClock:
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


def _fields_of(capture: cv2.VideoCapture, path: Path, limit: int) -> Iterator[Frame | FailedSource]:
    told = capture.get(cv2.CAP_PROP_FPS)
    clock = _VideoClock(told if 0.1 <= told < 1000 else ASSUMED_FPS)
    places: list[Place] = []
    due_s = 0.0
    while len(places) < limit and clock.index + 1 < MAX_VIDEO_FRAMES:
        with decoder_messages():
            if not capture.grab():
                break
            time_s = clock.frame(capture.get(cv2.CAP_PROP_POS_MSEC))
            if time_s < due_s:
                continue
            bgr = capture.retrieve()[1]
        due_s = VIDEO_STEP_S * (time_s // VIDEO_STEP_S + 1)
        if bgr is None:
            break
        pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        place = place_of(pixels)
        if not any(same_place(place, known) for known in places):
            places.append(place)
            time_s = round(time_s, 3)
            yield Frame(pixels, f"{path}#t={time_s:g}", metadata={"time_s": time_s})
    if not places and limit > 0:
        yield FailedSource(
            str(path), f"{path}: holds no frame that can be read; copy or record it again"
        )
    elif len(places) < limit and (promised_s := _promised_s(capture, told)) is not None:
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        least = _WHOLE_SHARE * min(1.0, MAX_VIDEO_FRAMES / count)
        if clock.time_s < least * promised_s and clock.index + 1 < least * count:
            yield FailedSource(
                str(path),
                f"{path}: ends after {clock.time_s:.1f} of {promised_s:.1f} s; copy it again to "
                "use the rest",
            )


def _promised_s(capture: cv2.VideoCapture, fps: float) -> float | None:
    """The length a video claims, s; None where it claims none that can be believed."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not (np.isfinite(count) and np.isfinite(fps) and count > 0 and fps > 0):
        return None
    return float(count / fps)
