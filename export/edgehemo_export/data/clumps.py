"""Fields of BCCD whose clumped cells were boxed by hand, to measure a finder by.

They lie in ``relabels/bccd_clumps.csv``; the README beside it says how they were made.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.data.relabels import RELABELS

# What limits were set on, and what they were judged by, once.
ClumpPart = Literal["tuning", "scored"]
CLUMP_PARTS: tuple[ClumpPart, ...] = get_args(ClumpPart)
DOUBTFUL = "doubtful"
_KINDS = ("cell", "white_cell", DOUBTFUL)


@dataclass(frozen=True)
class ClumpedField:
    """One field. image: the picture's name without its ending. boxes: float32 (n, 4), x0 y0 x1 y1,
    px of the picture. sure: bool (n,), False where a person cannot say whether there is a cell.
    """

    image: str
    boxes: NDArray[np.float32]
    sure: NDArray[np.bool_]


def clumped_fields(part: ClumpPart) -> list[ClumpedField]:
    """The fields of one part, by name. ValueError where a row is of no known kind."""
    by_image: dict[str, list[dict[str, str]]] = {}
    with (RELABELS / "bccd_clumps.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] not in _KINDS:
                raise ValueError(f"bccd_clumps.csv: {row['kind']!r} is none of {', '.join(_KINDS)}")
            if row["part"] == part:
                by_image.setdefault(row["image"], []).append(row)
    return [
        ClumpedField(
            image,
            np.array([[float(row[side]) for side in ("x0", "y0", "x1", "y1")] for row in rows])
            .astype(np.float32)
            .reshape(-1, 4),
            np.array([row["kind"] != DOUBTFUL for row in rows]),
        )
        for image, rows in sorted(by_image.items())
    ]
