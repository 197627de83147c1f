"""Fields drawn with what was found in them, for the report and beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import Cell, CellKind
from edgehemo.images.frame import Frame
from edgehemo.memory import not_enough
from edgehemo.screening.field import FieldReading

# Colours that the colour-blind can tell apart and that stain does not have (Okabe and Ito 2008),
# RGB. The shapes differ as well, for black-and-white prints.
KIND_RGB: dict[CellKind, tuple[int, int, int]] = {
    "rbc": (0, 114, 178),
    "wbc": (213, 94, 0),
    "platelet": (0, 120, 90),
}
REFUSED_RGB = (178, 24, 43)
# Lines are a 400th of the picture's width, so that they look alike at any size.
LINES_PER_WIDTH = 400
# Pictures in the report: wide enough to judge a field by, small enough that 24 of them stay
# below 3 MB.
REPORT_WIDTH_PX = 640
REPORT_JPEG_QUALITY = 82
# Of the drawn fields beside the report.
DRAWN_SUFFIX, DRAWN_JPEG_QUALITY = ".jpg", 92
# Pictures of single cells: their side, and how much is seen round a cell, in its own width.
CELL_PX = 112
CELL_ROOM = 1.7


def annotated(frame: Frame, reading: FieldReading) -> NDArray[np.uint8]:
    """The frame with its cells drawn, uint8 RGB (height, width, 3); a refused one is framed in red.

    Red cells as ellipses, white cells as rectangles, platelets as diamonds.
    """
    picture = frame.pixels.copy()
    thickness = max(1, round(frame.width / LINES_PER_WIDTH))
    if not reading.accepted:
        edge = 2 * thickness
        cv2.rectangle(picture, (0, 0), (frame.width - 1, frame.height - 1), REFUSED_RGB, 2 * edge)
        return picture
    for cell in reading.cells.cells if reading.cells is not None else ():
        _draw(picture, cell, thickness)
    return picture


def png(picture: NDArray[np.uint8]) -> bytes:
    """PNG file of a uint8 RGB picture.

    OpenCV's own settings are the quickest, in writing and in reading: any that are given, the
    lowest compression too, take nearly twice as long for a file a little smaller.
    """
    return _encoded(picture, ".png", [])


def drawn_file(picture: NDArray[np.uint8]) -> bytes:
    """The file of a drawn field (`DRAWN_SUFFIX`), from uint8 RGB.

    What a field was read from is kept elsewhere, and here people see no difference: a PNG takes 15
    times as long and 8 times the room. Colours at full resolution, since lines are thin.
    """
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    return _encoded(
        picture,
        DRAWN_SUFFIX,
        [
            cv2.IMWRITE_JPEG_QUALITY,
            DRAWN_JPEG_QUALITY,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            sampling,
        ],
    )


def read_drawn(path: Path) -> NDArray[np.uint8]:
    """The picture of a drawn field's file, uint8 RGB; OSError where it is gone or damaged."""
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise OSError(f"{path} is not a whole picture")
    return np.asarray(decoded[..., ::-1], dtype=np.uint8)


def cell_picture(
    picture: NDArray[np.uint8], box: tuple[float, float, float, float]
) -> NDArray[np.uint8]:
    """One cell of a field, uint8 RGB (CELL_PX, CELL_PX, 3), with some of what lies round it.

    box: x0 y0 x1 y1, px. Beyond the picture its border goes on.
    """
    x0, y0, x1, y1 = box
    half = max(4, round(CELL_ROOM * max(x1 - x0, y1 - y0) / 2))
    x, y = round((x0 + x1) / 2), round((y0 + y1) / 2)
    height, width = picture.shape[:2]
    # Only what is seen is copied. A cell's middle lies in its picture.
    left, right = max(0, x - half), min(width, x + half)
    top, bottom = max(0, y - half), min(height, y + half)
    part = cv2.copyMakeBorder(
        picture[top:bottom, left:right],
        top - (y - half),
        y + half - bottom,
        left - (x - half),
        x + half - right,
        cv2.BORDER_REPLICATE,
    )
    flag = cv2.INTER_AREA if 2 * half > CELL_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (CELL_PX, CELL_PX), interpolation=flag), np.uint8)


def shrunk(picture: NDArray[np.uint8], width_px: int = REPORT_WIDTH_PX) -> NDArray[np.uint8]:
    """A uint8 RGB picture at most ``width_px`` wide."""
    if picture.shape[1] <= width_px:
        return picture
    height = max(1, round(picture.shape[0] * width_px / picture.shape[1]))
    return np.asarray(
        cv2.resize(picture, (width_px, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a report holds it: a JPEG file and its size, px."""

    file: bytes = field(repr=False)
    width: int
    height: int


def jpeg(picture: NDArray[np.uint8]) -> Picture:
    """A uint8 RGB picture as JPEG, of the quality that reports have."""
    file = _encoded(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, REPORT_JPEG_QUALITY])
    return Picture(file, picture.shape[1], picture.shape[0])


def data_uri(picture: Picture) -> str:
    """A ``data:`` URI of a picture."""
    return "data:image/jpeg;base64," + base64.b64encode(picture.file).decode("ascii")


def _draw(picture: NDArray[np.uint8], cell: Cell, thickness: int) -> None:
    colour = KIND_RGB[cell.kind]
    x, y = cell.centre
    half_width, half_height = (cell.x1 - cell.x0) / 2, (cell.y1 - cell.y0) / 2
    if cell.kind == "rbc":
        box = ((x, y), (2 * half_width, 2 * half_height), 0.0)
        cv2.ellipse(picture, box, colour, thickness, cv2.LINE_AA)
        return
    corners = [
        (x - half_width, y - half_height),
        (x + half_width, y - half_height),
        (x + half_width, y + half_height),
        (x - half_width, y + half_height),
    ]
    if cell.kind == "platelet":
        corners = [
            (x, y - 1.4 * half_height),
            (x + 1.4 * half_width, y),
            (x, y + 1.4 * half_height),
            (x - 1.4 * half_width, y),
        ]
        thickness *= 2
    else:
        thickness *= 2
    outline = np.round(np.array(corners)).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(picture, [outline], True, colour, thickness, cv2.LINE_AA)


def _encoded(picture: NDArray[np.uint8], extension: str, settings: list[int]) -> bytes:
    done, data = cv2.imencode(extension, np.ascontiguousarray(picture[..., ::-1]), settings)
    if not done:
        # Nothing else keeps a picture of ours from being coded.
        raise not_enough()
    return data.tobytes()
