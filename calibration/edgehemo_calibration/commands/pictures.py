"""Where the calibrate commands take their frames from: files, folders or one camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgehemo.commands import common
from edgehemo.errors import UsageError

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame


def only_camera(sources: tuple[str, ...]) -> str | None:
    """The camera that the sources name, None where they are files.

    Raises UsageError where a camera is named beside other sources.
    """
    from edgehemo.capture import is_camera

    cameras = [source for source in sources if is_camera(source)]
    if not cameras:
        return None
    if len(sources) > 1:
        raise UsageError(f"{cameras[0]}: give either one camera or pictures, not both")
    return cameras[0]


def read_frames(sources: tuple[str, ...]) -> list[Frame]:
    """Every field of the files and folders, with a progress bar."""
    from edgehemo.images.reading import images_in, read_fields

    paths = images_in(sources)
    frames = []
    with common.Progress("reading", total=len(paths)) as progress:
        for path in paths:
            frames += read_fields(path)
            progress.advance()
    return frames


def live_frames(camera: str, count: int) -> list[Frame]:
    """Frames of a camera as it stands, nothing set and the stage not moved."""
    from edgehemo.capture import FRAME_DEADLINE_S, open_source

    with open_source(camera) as opened:
        return [opened.frame(FRAME_DEADLINE_S) for _ in range(count)]
