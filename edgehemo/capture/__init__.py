"""Sources of frames: files, folders, videos and cameras behind one function.

Cameras are imported when they are opened, so that a device without a library still reads files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.capture.protocol import (
    Camera,
    CameraSettings,
    FailedSource,
    StagedCamera,
    capture_error,
)
from edgehemo.capture.sources import CAMERA_SCHEMES, CameraSpec, camera_spec
from edgehemo.errors import CaptureError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    from edgehemo.capture.guard import GuardedCamera
    from edgehemo.frame import Frame

__all__ = [
    "CAMERA_SCHEMES",
    "Camera",
    "CameraSettings",
    "FailedSource",
    "StagedCamera",
    "frames",
    "is_camera",
    "open_source",
]

# Fields taken from a live camera unless the caller says otherwise.
LIVE_FIELDS = 12
# How long one frame may take, reopening included.
FRAME_DEADLINE_S = 10.0
# How long the operator has to move the slide to a place not seen yet.
NEXT_FIELD_WAIT_S = 30.0
# Pause between looks at an unmoved slide.
_LOOK_AGAIN_S = 0.2


def is_camera(spec: str) -> bool:
    """Whether a specification names a camera; raises UsageError for a mistyped one."""
    return camera_spec(spec) is not None


def open_source(spec: str) -> GuardedCamera:
    """The camera of a specification, guarded and not yet opened: enter it as a context.

    ``picamera2:N`` the Nth camera of the board, ``uvc:/dev/videoN`` a USB camera, both with
    ``?width=W&height=H``; ``simulated:...`` the simulated microscope. Raises UsageError for what
    names no camera.
    """
    from edgehemo.capture.guard import GuardedCamera

    parsed = camera_spec(spec)
    if parsed is None:
        known = ", ".join(CAMERA_SCHEMES.values())
        raise UsageError(f"{spec}: is no camera; cameras are named {known}")
    return GuardedCamera(_camera(parsed, spec))


def frames(
    specs: Sequence[str],
    *,
    limit: int | None = None,
    settings: CameraSettings | None = None,
) -> Iterator[Frame | FailedSource]:
    """The frames of all sources, in the order given.

    A file gives one frame, a folder its pictures, a video and a camera the different places of
    the slide that they show, at most ``limit`` of each (files are never limited). ``settings`` are
    applied to cameras. What cannot be read is a FailedSource in its place and the rest goes on.
    Raises UsageError, before anything is read, for a mistyped camera.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the number of fields must be at least 1, not {limit}")
    sources = [open_source(spec) if is_camera(spec) else Path(spec) for spec in specs]
    return _all_frames(sources, limit, settings)


def _all_frames(
    sources: Sequence[GuardedCamera | Path], limit: int | None, settings: CameraSettings | None
) -> Iterator[Frame | FailedSource]:
    from edgehemo.capture.replay import path_frames

    for source in sources:
        if isinstance(source, Path):
            yield from path_frames(source, limit=limit)
        else:
            yield from _live_frames(source, LIVE_FIELDS if limit is None else limit, settings)


def _live_frames(
    camera: GuardedCamera, limit: int, settings: CameraSettings | None
) -> Iterator[Frame | FailedSource]:
    try:
        with camera:
            if settings is not None and settings.given():
                camera.apply(settings)
            yield from distinct_frames(camera, limit)
    except (CaptureError, MissingDependencyError) as error:
        yield FailedSource(camera.name, str(error))


def distinct_frames(
    camera: GuardedCamera,
    limit: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Frame]:
    """At most ``limit`` frames of different places of the slide from an open camera.

    A camera with a stage moves itself, and ends where its slide does; else the operator moves the
    slide and has `NEXT_FIELD_WAIT_S` for each field. Raises CaptureError (timeout) where the
    picture does not change within that.
    """
    from edgehemo.capture.overlap import Place, place_of, same_place

    places: list[Place] = []
    for taken in range(limit):
        if camera.has_stage:
            if taken and not camera.move_to_next_field():
                return
            yield camera.frame(FRAME_DEADLINE_S)
            continue
        ends = clock() + NEXT_FIELD_WAIT_S
        while True:
            frame = camera.frame(FRAME_DEADLINE_S)
            place = place_of(frame.pixels)
            if not any(same_place(place, known) for known in places):
                break
            if clock() >= ends:
                raise capture_error(
                    "timeout",
                    f"{camera.name}: the slide was not moved for {NEXT_FIELD_WAIT_S:g} s",
                    action="Move to the next field after each picture.",
                )
            sleep(_LOOK_AGAIN_S)
        places.append(place)
        yield frame


def _camera(parsed: CameraSpec, spec: str) -> Camera:
    if parsed.scheme == "uvc":
        from edgehemo.capture.uvc import UvcCamera

        return UvcCamera.from_spec(parsed.rest, spec)
    if parsed.scheme == "picamera2":
        from edgehemo.capture.picamera import PiCamera

        return PiCamera.from_spec(parsed.rest, spec)
    from edgehemo.capture.simulated import SimulatedMicroscope

    return SimulatedMicroscope.from_spec(spec)
