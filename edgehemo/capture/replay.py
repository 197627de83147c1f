"""Frames from files: single pictures, folders of them, and videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgehemo.capture.overlap import place_of, same_place
from edgehemo.capture.protocol import FailedSource
from edgehemo.errors import ImageError
from edgehemo.images.decoder_messages import decoder_messages
from edgehemo.images.frame import Frame
from edgehemo.images.reading import MAX_PIXELS, images_in, read_frame

if TYPE_CHECKING:
    from edgehemo.capture.overlap import Place

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mjpg", ".mjpeg"})
# A frame is looked at this often; an operator rests longer than this on a field.
VIDEO_STEP_S = 0.5
# Taken for the frame rate where the file does not tell a believable one.
ASSUMED_FPS = 25.0
# Fields of one video, unless the caller says otherwise: beyond 2,400 counted cells more fields
# hardly narrow the interval, and a field has 50 of them and more.
VIDEO_FIELDS = 60
# An hour at 30 frames a second; what follows is not read.
MAX_VIDEO_FRAMES = 108_000
# A file that yields less than this share of the frames it promises was cut short.
_WHOLE_SHARE = 0.9


def is_video(path: Path) -> bool:
    """Whether a path is taken for a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def path_frames(path: Path, *, limit: int | None = None) -> Iterator[Frame | FailedSource]:
    """The frames a path stands for: one file, the pictures of a folder, the fields of a video.

    What cannot be read comes as a FailedSource and the rest goes on. ``limit`` bounds the fields
    of a video (default `VIDEO_FIELDS`).
    """
    if path.is_dir():
        try:
            pictures = images_in([path])
        except ImageError as error:
            yield FailedSource(str(path), str(error))
            return
        for picture in pictures:
            yield picture_or_failure(picture)
    elif is_video(path):
        yield from video_frames(path, limit=VIDEO_FIELDS if limit is None else limit)
    else:
        yield picture_or_failure(path)


def picture_or_failure(path: Path) -> Frame | FailedSource:
    """`read_frame`, its error as a FailedSource."""
    try:
        return read_frame(path)
    except ImageError as error:
        return FailedSource(str(path), str(error))


def video_frames(path: Path, *, limit: int = VIDEO_FIELDS) -> Iterator[Frame | FailedSource]:
    """At most ``limit`` frames of a video that show different places of the slide.

    Every half second a frame is looked at; one that overlaps a place already taken is skipped, so
    that no cell is counted twice. ``source`` is the path and the time, ``smear.mp4#t=12.5``;
    ``metadata`` holds ``time_s``. A video that ends before its own length says yields what it has
    and then a FailedSource.
    """
    if not path.is_file():
        yield FailedSource(str(path), f"{path}: does not exist; check the name")
        return
    with decoder_messages():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            yield FailedSource(
                str(path), f"{path}: is not a video that can be read; copy or record it again"
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


def _fields_of(capture: cv2.VideoCapture, path: Path, limit: int) -> Iterator[Frame | FailedSource]:
    told = capture.get(cv2.CAP_PROP_FPS)
    fps = told if 0.1 <= told <= 1000 else ASSUMED_FPS
    promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    step = max(1, round(fps * VIDEO_STEP_S))
    places: list[Place] = []
    index = 0
    while len(places) < limit and index < MAX_VIDEO_FRAMES:
        with decoder_messages():
            done = capture.grab()
            bgr = capture.retrieve()[1] if done and index % step == 0 else None
        if not done:
            break
        if index % step == 0:
            if bgr is None:
                break
            pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            place = place_of(pixels)
            if not any(same_place(place, known) for known in places):
                places.append(place)
                time_s = round(index / fps, 3)
                yield Frame(pixels, f"{path}#t={time_s:g}", metadata={"time_s": time_s})
        index += 1
    if not places and limit > 0:
        yield FailedSource(
            str(path), f"{path}: holds no frame that can be read; copy or record it again"
        )
    elif len(places) < limit and index < _WHOLE_SHARE * min(promised, MAX_VIDEO_FRAMES):
        yield FailedSource(
            str(path),
            f"{path}: ends after {index / fps:.1f} of {promised / fps:.1f} s; copy it again to "
            "use the rest",
        )
