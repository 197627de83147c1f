"""The pictures of one stored result: its fields with what was found in them, and single cells.

One result's at a time is kept, because its pages ask for one picture after another.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np

from edgehemo.errors import RecordsError
from edgehemo.kiosk.gallery import Gallery, stored_gallery
from edgehemo.memory import not_enough
from edgehemo.records.results import StoredResult, result_of
from edgehemo.records.store import Reader
from edgehemo.report.pictures import annotated
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import UnreadableImage

# Twice the width that the smallest screen shows it in.
WIDTH_PX, QUALITY = 960, 85


class ResultPictures:
    """Of the result that was asked for last."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._of: tuple[str, str] | None = None
        self._gallery: Gallery | None = None
        self._readings: Sequence[FieldReading | UnreadableImage] | None = None

    def gallery(self, reader: Reader, identifier: str) -> Gallery:
        """The cells that ask for a person. RecordsError where they cannot be read."""
        with self._one_at_a_time:
            self._turn_to(reader, identifier)
            if self._gallery is None:
                self._gallery = stored_gallery(reader, identifier)
            return self._gallery

    def field(self, reader: Reader, identifier: str, position: int) -> bytes:
        """A field as a JPEG file, what was found drawn in. RecordsError where it is not there."""
        with self._one_at_a_time:
            self._turn_to(reader, identifier)
            result: StoredResult = result_of(reader, identifier)
            if position >= len(result.fields):
                raise RecordsError("this result has no such field")
            if self._readings is None:
                self._readings = result.document(reader).images()
            frame = result.fields[position].frame(reader)
            reading = self._readings[position]
        drawn = annotated(frame, reading) if isinstance(reading, FieldReading) else frame.pixels
        if drawn.shape[1] > WIDTH_PX:
            height = max(1, round(drawn.shape[0] * WIDTH_PX / drawn.shape[1]))
            smaller = cv2.resize(drawn, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
            drawn = np.asarray(smaller, np.uint8)
        done, data = cv2.imencode(
            ".jpg", np.ascontiguousarray(drawn[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )
        if not done:
            raise not_enough()
        return data.tobytes()

    def _turn_to(self, reader: Reader, identifier: str) -> None:
        asked = (reader.id, identifier)
        if self._of != asked:
            self._of, self._gallery, self._readings = asked, None, None
