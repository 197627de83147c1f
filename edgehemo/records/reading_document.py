"""The document of one result: what was read of every image, to the last digit, and result.json.

``progress`` is what `edgehemo.screening.resuming` writes: all that a screening is made of, in full
precision. ``record`` is the result as `edgehemo screen` wrote it, rounded for people.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgehemo.errors import EdgeHemoError, RecordsError
from edgehemo.files.atomic import dump_json
from edgehemo.report.result import ScreenOutput
from edgehemo.screening.field import FieldReading
from edgehemo.screening.resuming import kept, resumed
from edgehemo.screening.sample import UnreadableImage

READING_SCHEMA: Literal["edgehemo.reading/1"] = "edgehemo.reading/1"
# A document of 60 fields with 400 cells each is some 10 MB.
MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadingDocument:
    """progress: JSON values of the images. record: those of result.json."""

    progress: dict[str, Any]
    record: dict[str, Any]

    def images(self) -> list[FieldReading | UnreadableImage]:
        """The readings themselves; RecordsError where they are of another version."""
        try:
            return resumed(json.dumps(self.progress).encode("utf-8"))
        except EdgeHemoError as error:
            raise RecordsError(f"the stored reading cannot be read: {error}") from None


def packed(images: Sequence[FieldReading | UnreadableImage], output: ScreenOutput) -> bytes:
    """The document as it is kept: JSON, compressed."""
    record = dump_json(output.model_dump())
    text = b"".join(
        (
            f'{{"schema":"{READING_SCHEMA}","progress":'.encode("ascii"),
            kept(images),
            b',"record":',
            record.encode("utf-8"),
            b"}",
        )
    )
    return zlib.compress(text, 6)


def unpacked(data: bytes) -> ReadingDocument:
    """A document that `packed` made; RecordsError, one line, for anything else."""
    try:
        worker = zlib.decompressobj()
        text = worker.decompress(data, MAX_BYTES)
        if worker.unconsumed_tail or not worker.eof:
            raise ValueError("too large or cut off")
        content = json.loads(text)
        if content["schema"] != READING_SCHEMA:
            raise ValueError(f"of schema {str(content['schema'])[:40]}")
        return ReadingDocument(content["progress"], content["record"])
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordsError(f"a stored reading cannot be read: {error}") from None
