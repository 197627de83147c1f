"""Sources of frames: files, folders, videos and cameras behind one function.

Cameras are imported when they are opened, so that a device without a library still reads files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.capture.protocol import (
    Camera,
    CameraSettings,
    FailedSource,
    StagedCamera,
    capture_error,
)
from edgehemo.capture.sources import (
    CAMERA_SCHEMES,
    CameraSpec,
    camera_spec,
    refuse_bare_camera,
)
from edgehemo.errors import CaptureError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    from edgehemo.capture.autocapture import AutoCapture, Judge, View
    from edgehemo.capture.guard import GuardedCamera
    from edgehemo.images.frame import Frame

__all__ = [
    "CAMERA_SCHEMES",
    "Camera",
    "CameraSettings",
    "FailedSource",
    "LiveCapture",
    "StagedCamera",
    "frames",
    "is_camera",
    "open_source",
]

log = logging.getLogger(__name__)

# Fields taken from a live camera unless the caller says otherwise.
LIVE_FIELDS = 12
# How long one frame may take, reopening included.
FRAME_DEADLINE_S = 10.0
# How often a frame that stops half way is taken again.
RETAKES = 3
# How long the operator has to bring the next field: found, sharp and held still.
NEXT_FIELD_WAIT_S = 60.0
# How long for the pass through focus that comes before the first.
FOCUS_PASS_WAIT_S = 120.0


@dataclass(frozen=True)
class LiveCapture:
    """How fields are taken from a live camera whose slide the operator moves.

    judge: a frame's focus as quality measures it (`edgehemo.quality.focus.frame_sharpness`); None
    goes by the focus bar alone. judge_every: of the frames that could be taken, one in so many is
    judged, for a judgement costs more than all else. focus_pass: first ask for a pass through
    focus. on_view: called with every live frame and what the operator is to do. on_fault: called
    with a fault of the camera as soon as it is noticed, before reopening is tried.
    """

    judge: Judge | None = None
    judge_every: int = 1
    focus_pass: bool = False
    on_view: Callable[[View, Frame], None] | None = None
    on_fault: Callable[[CaptureError], None] | None = None


def is_camera(spec: str) -> bool:
    """Whether a specification names a camera; raises UsageError for a mistyped one."""
    refuse_bare_camera(spec)
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
        raise UsageError(f"{spec}: is not a camera; cameras are named {known}")
    return GuardedCamera(_camera(parsed))


def frames(
    specs: Sequence[str],
    *,
    limit: int | None = None,
    settings: CameraSettings | None = None,
    live: LiveCapture | None = None,
) -> Iterator[Frame | FailedSource]:
    """The frames of all sources, in the order given.

    A file gives its fields (a TIFF may hold several), a folder its pictures, a video and a camera
    the different places of the slide that they show, at most ``limit`` of each (files are never
    limited). ``settings`` are applied to cameras, whose automatics are switched off in any case;
    ``live`` says how fields are taken from them. What cannot be read is a FailedSource in its
    place and the rest goes on. Raises UsageError, before anything is read, for a mistyped camera.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the number of fields must be at least 1, not {limit}")
    sources = [open_source(spec) if is_camera(spec) else Path(spec) for spec in specs]
    return _all_frames(sources, limit, settings or CameraSettings(), live or LiveCapture())


def _all_frames(
    sources: Sequence[GuardedCamera | Path],
    limit: int | None,
    settings: CameraSettings,
    live: LiveCapture,
) -> Iterator[Frame | FailedSource]:
    from edgehemo.capture.replay import path_frames

    for source in sources:
        if isinstance(source, Path):
            yield from path_frames(source, limit=limit)
        else:
            yield from _live_frames(source, LIVE_FIELDS if limit is None else limit, settings, live)


def _live_frames(
    camera: GuardedCamera, limit: int, settings: CameraSettings, live: LiveCapture
) -> Iterator[Frame | FailedSource]:
    camera.on_fault = live.on_fault
    try:
        with camera:
            camera.apply(settings)
            yield from distinct_frames(camera, limit, live=live)
    except (CaptureError, MissingDependencyError) as error:
        yield FailedSource(camera.name, str(error))


def distinct_frames(
    camera: GuardedCamera,
    limit: int,
    *,
    live: LiveCapture | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Frame]:
    """At most ``limit`` frames of different places of the slide from an open camera.

    A camera with a stage moves itself, and ends where its slide does; else the operator focuses
    and moves the slide, and each frame that is sharp, still and new is taken. Raises CaptureError
    (NO_NEW_FIELD) where none comes within `NEXT_FIELD_WAIT_S`, or the pass through focus within
    `FOCUS_PASS_WAIT_S`.
    """
    if camera.has_stage:
        for taken in range(limit):
            if taken and not camera.move_to_next_field():
                return
            yield _whole_frame(camera)
        return
    yield from _operated(camera, limit, live or LiveCapture(), clock)


def _whole_frame(camera: GuardedCamera) -> Frame:
    """The next frame; one that stops half way is taken again, as a USB camera drops lines at times.

    A camera that sends no whole frame is told by the field's quality.
    """
    from edgehemo.images.whole import missing_part

    frame = camera.frame(FRAME_DEADLINE_S)
    for _ in range(RETAKES):
        if missing_part(frame.pixels) is None:
            break
        frame = camera.frame(FRAME_DEADLINE_S)
    return frame


def _operated(
    camera: GuardedCamera, limit: int, live: LiveCapture, clock: Callable[[], float]
) -> Iterator[Frame]:
    from edgehemo.guidance.catalogue import guidance

    capture = _auto_capture(live)
    ends = clock() + (FOCUS_PASS_WAIT_S if capture.focusing else NEXT_FIELD_WAIT_S)
    while capture.taken < limit:
        frame = _whole_frame(camera)
        focusing = capture.focusing
        view = capture.consider(frame.pixels)
        if live.on_view is not None:
            live.on_view(view, frame)
        if view.take:
            log.debug("field %d taken", capture.taken)
            yield frame
        if view.take or focusing != capture.focusing:
            ends = clock() + NEXT_FIELD_WAIT_S
        elif clock() >= ends:
            wanted = "the pass through focus" if capture.focusing else "a sharp, still, new field"
            raise capture_error(
                "NO_NEW_FIELD",
                f"{camera.name}: {wanted} did not come in time",
                action=guidance(view.advice).action,
            )


def _auto_capture(live: LiveCapture) -> AutoCapture:
    from edgehemo.capture.autocapture import AutoCapture, judged_by_bar

    return AutoCapture(
        live.judge or judged_by_bar, focus_pass=live.focus_pass, judge_every=live.judge_every
    )


def _camera(spec: CameraSpec) -> Camera:
    if spec.scheme == "uvc":
        from edgehemo.capture.uvc import UvcCamera

        return UvcCamera.from_spec(spec)
    if spec.scheme == "picamera2":
        from edgehemo.capture.picamera import PiCamera

        return PiCamera.from_spec(spec)
    from edgehemo.capture.simulated import SimulatedMicroscope

    microscope = SimulatedMicroscope.from_spec(spec.text)
    if microscope.options.hand_s:
        from edgehemo.capture.hand_moved import HandMovedMicroscope

        return HandMovedMicroscope(microscope)
    return microscope
