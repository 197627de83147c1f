"""A screening that was interrupted goes on where it was.

What was read of each image is kept as JSON; a kiosk writes it after every field, and after a power
cut makes the `Screening` anew with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from edgehemo.errors import UsageError
from edgehemo.estimate.values import FieldIndices
from edgehemo.files.strict import Record, RecordError, plain_number
from edgehemo.screening import field as readings
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import UnreadableImage

PROGRESS_SCHEMA: Literal["edgehemo.screening-progress/1"] = "edgehemo.screening-progress/1"

# The names in a reading's fields are looked up where it is defined, and there this one is loaded
# for types alone: what only finds cells does without it.
vars(readings).setdefault("FieldIndices", FieldIndices)


class _Image(Record, frozen=True, kw_only=True):
    """One image: a field that was read, or why it could not be."""

    field: FieldReading | None = None
    unreadable: UnreadableImage | None = None


class _Progress(Record, frozen=True, kw_only=True):
    schema: Literal["edgehemo.screening-progress/1"]
    images: list[_Image]


def kept(images: Sequence[FieldReading | UnreadableImage]) -> bytes:
    """JSON of the images of a screening so far (`Screening.images`)."""
    entries = [
        _Image(field=image) if isinstance(image, FieldReading) else _Image(unreadable=image)
        for image in images
    ]
    progress = _Progress(schema=PROGRESS_SCHEMA, images=entries)
    return msgspec.json.encode(progress, enc_hook=plain_number)


def resumed(raw: bytes) -> list[FieldReading | UnreadableImage]:
    """The images that `kept` wrote; UsageError, one line, for anything else."""
    try:
        progress = _Progress.model_validate(msgspec.json.decode(raw))
    except (msgspec.DecodeError, RecordError) as error:
        raise UsageError(f"this screening cannot be continued: {error}") from None
    images: list[FieldReading | UnreadableImage] = []
    for entry in progress.images:
        if entry.field is not None:
            images.append(entry.field)
        elif entry.unreadable is not None:
            images.append(entry.unreadable)
        else:
            raise UsageError("this screening cannot be continued: an image has no content")
    return images
