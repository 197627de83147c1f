"""Red cells of this microscope for a person to name: drawn by lot, sorted into folders, compared.

The folder that is drawn holds `to_sort/` with a picture a cell, an empty folder for each type and
two more, and `drawn.json` with what the model called each. The person moves every picture into the
folder of its type and does not look into that file.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import cv2
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edgehemo.cells.cell import UNCERTAIN
from edgehemo.errors import CalibrationError
from edgehemo.field.scale import RED_CELL_DIAMETER_UM
from edgehemo.files.atomic import write_bytes_atomically, write_json_atomically
from edgehemo.files.strict import Record, RecordError, Sha256, Text
from edgehemo.profile.parts import CheckedType
from edgehemo.screening.cell_types import interior_cells
from edgehemo.screening.field import FieldReading

Thing = TypeVar("Thing")

TO_SORT = "to_sort"
# Folders beside those of the types. A cell that a person cannot name does not bear out a name.
UNSURE, NOT_A_RED_CELL = "unsure", "not_a_red_cell"
DRAWN_FILE = "drawn.json"
# So many cells tell 0.90 from 0.80 (Wilson's interval of 180 of 200 is 0.851 to 0.934).
CELLS_WANTED = 200
# Fewer tell too little: of 50 named alike 50 may be 0.93 of all.
LEAST_CELLS = 50
# A cell's picture: so many of a normal red cell's diameters wide, so that its neighbours show, and
# so many px wide, so that its shape shows on a screen.
PICTURE_DIAMETERS, PICTURE_PX = 2.4, 192


class DrawnCell(Record, frozen=True, kw_only=True):
    """One cell: the file of its picture, the image it is from, and what the model called it."""

    file: Annotated[str, Meta(pattern=r"^[a-z0-9_]+\.png$")]
    image: Text
    type: Text


class DrawnCells(Record, frozen=True, kw_only=True):
    """`drawn.json`. types: all that the model may call a red cell. fields: how many were read."""

    schema: Literal["edgehemo.drawn-cells/1"] = "edgehemo.drawn-cells/1"
    model_sha256: Sha256
    fields: Annotated[int, Meta(ge=1)]
    types: list[str]
    cells: list[DrawnCell]


def named_red_cells(reading: FieldReading) -> list[tuple[float, float, str]]:
    """Centre (px of the field) and type of the red cells whose names shares are made of."""
    return [
        (*cell.centre, cell.type)
        for cell in interior_cells(reading)
        if cell.kind == "rbc" and cell.type not in (None, UNCERTAIN)
    ]


class Lot(Generic[Thing]):
    """So many of things that come one after another, each with the same chance.

    Keeps no more than it draws (Vitter's algorithm R, ACM Transactions on Mathematical Software
    11 (1985) 37): a whole set's pictures of cells would not fit into memory. wanted: how many to
    keep. seed: the same things in the same order draw the same.
    """

    def __init__(self, wanted: int, seed: int) -> None:
        self.kept: list[Thing] = []
        self.seen = 0
        self._wanted = wanted
        self._random = random.Random(seed)

    def offer(self, make: Callable[[], Thing]) -> None:
        """One more thing, made only where it is drawn."""
        self.seen += 1
        if len(self.kept) < self._wanted:
            self.kept.append(make())
        elif (place := self._random.randrange(self.seen)) < self._wanted:
            self.kept[place] = make()

    def shuffled(self) -> list[Thing]:
        """What was kept, in an order by lot: their places tell nothing of where they came from."""
        kept = list(self.kept)
        self._random.shuffle(kept)
        return kept


def cell_picture(
    pixels: NDArray[np.uint8], centre: tuple[float, float], um_per_px: float
) -> NDArray[np.uint8]:
    """uint8 (PICTURE_PX, PICTURE_PX, 3) RGB: a cell with its surroundings, from uint8 (h, w, 3)."""
    side = PICTURE_DIAMETERS * RED_CELL_DIAMETER_UM / um_per_px
    scale = PICTURE_PX / side
    middle = (PICTURE_PX - 1) / 2
    matrix = np.array(
        [[scale, 0, middle - scale * centre[0]], [0, scale, middle - scale * centre[1]]], np.float64
    )
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.warpAffine(
        pixels, matrix, (PICTURE_PX, PICTURE_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(picture, np.uint8)


def write_drawn(folder: Path, drawn: DrawnCells, pictures: Iterable[NDArray[np.uint8]]) -> None:
    """Write the folder's files. pictures: uint8 RGB, one for each of its cells in their order."""
    for name in (TO_SORT, *drawn.types, UNSURE, NOT_A_RED_CELL):
        (folder / name).mkdir(parents=True)
    for cell, picture in zip(drawn.cells, pictures, strict=True):
        done, coded = cv2.imencode(".png", picture[..., ::-1])
        assert done, "OpenCV writes PNG"
        write_bytes_atomically(folder / TO_SORT / cell.file, coded.tobytes())
    write_json_atomically(folder / DRAWN_FILE, drawn.model_dump())


def read_drawn(folder: Path) -> DrawnCells:
    """What was drawn into a folder. Raises CalibrationError, one line."""
    path = folder / DRAWN_FILE
    try:
        return DrawnCells.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CalibrationError(
            f"{folder}: holds no {DRAWN_FILE}; draw cells with `edgehemo calibrate types draw`"
        ) from None
    except (OSError, ValueError, RecordError) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from None


def sorted_cells(folder: Path, drawn: DrawnCells) -> dict[str, str]:
    """The name of the folder that each cell's picture lies in, by its file.

    Raises CalibrationError, one line, for pictures not sorted yet, missing, or in two folders.
    """
    places: dict[str, list[str]] = {cell.file: [] for cell in drawn.cells}
    for name in (TO_SORT, *drawn.types, UNSURE, NOT_A_RED_CELL):
        below = folder / name
        for file in places:
            if (below / file).is_file():
                places[file].append(name)
    waiting = [file for file, names in places.items() if TO_SORT in names]
    if waiting:
        raise CalibrationError(
            f"{folder / TO_SORT}: {len(waiting)} of {len(places)} cells are not sorted yet; move "
            f"every one into the folder of its type, or into {UNSURE} or {NOT_A_RED_CELL}: those "
            "that are hard to name tell most"
        )
    lost = [file for file, names in places.items() if not names]
    if lost:
        raise CalibrationError(
            f"{folder}: the pictures of {len(lost)} cells are in no folder of a type: "
            f"{_first(lost)}; put them back"
        )
    twice = [file for file, names in places.items() if len(names) > 1]
    if twice:
        raise CalibrationError(f"{folder}: lie in two folders: {_first(twice)}; keep one of each")
    return {file: names[0] for file, names in places.items()}


def compared(drawn: DrawnCells, said: dict[str, str]) -> tuple[CheckedType, ...]:
    """By the model's name how many cells were shown and agreed with, the commonest first.

    said: the person's name of each cell, by its file.
    """
    shown = Counter(cell.type for cell in drawn.cells)
    agreed = Counter(cell.type for cell in drawn.cells if said[cell.file] == cell.type)
    return tuple(
        CheckedType(type=name, shown=count, agreed=agreed[name])
        for name, count in sorted(shown.items(), key=lambda item: (-item[1], item[0]))
    )


def disagreements(drawn: DrawnCells, said: dict[str, str]) -> list[tuple[str, str, int]]:
    """The model's name, the person's and how many cells where they differ, the commonest first."""
    pairs = Counter(
        (cell.type, said[cell.file]) for cell in drawn.cells if said[cell.file] != cell.type
    )
    return [(model, person, count) for (model, person), count in pairs.most_common()]


def _first(files: Sequence[str], most: int = 3) -> str:
    more = f" and {len(files) - most} more" if len(files) > most else ""
    return ", ".join(files[:most]) + more
