"""The gallery of the cells that ask for a person: which they are, and their pictures.

One sample's at a time is kept, made again from what is stored whenever it is needed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import RecordsError
from edgehemo.records.results import StoredResult, result_of
from edgehemo.records.store import Reader
from edgehemo.report.asked_cells import AskedCell, asked_cells
from edgehemo.report.pictures import cell_picture

_QUALITY = 88
# Pixels of a field, uint8 RGB; RecordsError where they are gone.
PictureOf = Callable[[int], NDArray[np.uint8]]


class Gallery:
    """Of one result. record: as result.json holds it; all but its images is kept, which are too
    large for that. refusals: codes of why fields were refused, the commonest first, and how often.
    """

    def __init__(self, record: Mapping[str, Any], picture_of: PictureOf) -> None:
        self.record = {key: value for key, value in record.items() if key != "images"}
        self.refusals = _refusals(record["images"])
        self.cells: Sequence[AskedCell] = asked_cells(record)
        self._picture_of = picture_of
        self._cut: dict[int, bytes] = {}
        self._one_at_a_time = threading.Lock()

    def picture(self, item: int) -> bytes:
        """A cell as a JPEG file. RecordsError where its field's picture is gone.

        A field is decoded once, and all its cells are cut from it.
        """
        with self._one_at_a_time:
            if item not in self._cut:
                field = self.cells[item].field
                pixels = self._picture_of(field)
                for number, cell in enumerate(self.cells):
                    if cell.field == field:
                        self._cut[number] = _jpeg(cell_picture(pixels, cell.box))
            return self._cut[item]


def _refusals(images: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    """By the first check that each refused field failed."""
    codes = Counter(
        next(check["code"] for check in image["checks"] if check["verdict"] == "fail")
        for image in images
        if "error" not in image and not image["accepted"]
    )
    codes["FIELD_UNREADABLE"] = sum("error" in image for image in images)
    return tuple((code, count) for code, count in codes.most_common() if count)


def stored_gallery(reader: Reader, identifier: str) -> Gallery:
    """Of a stored result. RecordsError where there is none of that name, or its reading is gone."""
    result = result_of(reader, identifier)
    return Gallery(result.document(reader).record, lambda field: _pixels(reader, result, field))


def _pixels(reader: Reader, result: StoredResult, field: int) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = result.fields[field].frame(reader).pixels
    return pixels


def practice_gallery(record: Mapping[str, Any], pictures: Mapping[int, bytes]) -> Gallery:
    """Of a practice sample. pictures: field -> its picture as a file."""

    def pixels(field: int) -> NDArray[np.uint8]:
        decoded = cv2.imdecode(
            np.frombuffer(pictures.get(field, b"\0"), np.uint8), cv2.IMREAD_COLOR
        )
        if decoded is None:
            raise RecordsError("the picture of this field was not kept")
        return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)

    return Gallery(record, pixels)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    assert done, "a uint8 picture of three channels is always encoded"
    return bytes(data)
