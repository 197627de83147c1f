"""Frames from files: single pictures, folders of them, and videos."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.capture.protocol import FailedSource
from edgehemo.errors import ImageError
from edgehemo.images.frame import Frame
from edgehemo.images.kinds import picture_format, video_kind
from edgehemo.images.reading import (
    head_of,
    images_in,
    is_folder,
    open_picture,
    passed_over,
)

if TYPE_CHECKING:
    from edgehemo.capture.footage import Video
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
# Fields of one video, unless the caller says otherwise: beyond 2,400 counted cells more fields
# hardly narrow the interval, and a field has 50 of them and more.
VIDEO_FIELDS = 60
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
    try:
        with _opened(path) as video:
            yield from _fields_of(video, path, limit)
    except ImageError as error:
        # What was read before stands.
        yield FailedSource(str(path), f"{path}: is a video ({kind}) that {error}")


def _opened(path: Path) -> Video:
    """The video of a file, in a process of its own."""
    # Nobody whose files are pictures waits for what reads videos; below likewise.
    from edgehemo.capture.video_process import VideoProcess  # noqa: PLC0415

    return VideoProcess(path)


def _fields_of(video: Video, path: Path, limit: int) -> Iterator[Frame | FailedSource]:
    from edgehemo.capture.footage import MAX_VIDEO_FRAMES  # noqa: PLC0415
    from edgehemo.capture.overlap import place_of, same_place  # noqa: PLC0415

    places: list[Place] = []
    due_s = 0.0
    while len(places) < limit and (pixels := video.look(due_s)) is not None:
        due_s = VIDEO_STEP_S * (video.time_s // VIDEO_STEP_S + 1)
        place = place_of(pixels)
        if not any(same_place(place, known) for known in places):
            places.append(place)
            time_s = round(video.time_s, 3)
            yield Frame(pixels, f"{path}#t={time_s:g}", metadata={"time_s": time_s})
    if not places and limit > 0:
        yield FailedSource(
            str(path), f"{path}: holds no frame that can be read; copy or record it again"
        )
    elif len(places) < limit and (promised_s := _promised_s(video)) is not None:
        least = _WHOLE_SHARE * min(1.0, MAX_VIDEO_FRAMES / video.frame_count)
        if video.time_s < least * promised_s and video.frames < least * video.frame_count:
            yield FailedSource(
                str(path),
                f"{path}: ends after {video.time_s:.1f} of {promised_s:.1f} s; copy it again to "
                "use the rest",
            )


def _promised_s(video: Video) -> float | None:
    """The length a video claims, s; None where it claims none that can be believed."""
    count, fps = video.frame_count, video.fps
    if not (isfinite(count) and isfinite(fps) and count > 0 and fps > 0):
        return None
    return count / fps
