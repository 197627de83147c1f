"""Pictures as they are kept: the file as it came, else the camera's pixels without any loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import cv2
import numpy as np

from edgehemo.errors import RecordsError
from edgehemo.images.frame import Frame, FrameMetadata
from edgehemo.images.reading import picture_of
from edgehemo.report.pictures import png

# file: the picture file as it came. pixels: PNG of what the camera gave.
PictureForm = Literal["file", "pixels"]


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """What is kept of a frame. page: which field of the file it is."""

    data: bytes
    form: PictureForm
    page: int = 0


def kept(frame: Frame) -> KeptPicture:
    """What of a frame is stored: from it `frame_of` makes the same pixels again."""
    if frame.original is not None:
        return KeptPicture(frame.original.data, "file", frame.original.field)
    return KeptPicture(png(frame.pixels), "pixels")


def frame_of(
    picture: KeptPicture,
    source: str,
    *,
    taken_at: datetime | None = None,
    metadata: Mapping[str, str | int | float | bool] | None = None,
) -> Frame:
    """The frame that was stored, called ``source``. ImageError where its file cannot be read any
    more, RecordsError for pixels that are none.
    """
    told: FrameMetadata = dict(metadata or {})
    if picture.form == "file":
        frame = picture_of(picture.data, source).frame(picture.page)
        return replace(frame, source=source, timestamp=taken_at, metadata=told)
    decoded = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise RecordsError(f"{source}: the stored picture cannot be read")
    pixels = np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)
    return Frame(pixels, source, taken_at, told)
