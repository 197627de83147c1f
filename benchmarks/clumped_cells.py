"""Red cells in clumps: how many are found, before and after the second look, and what it adds.

    python benchmarks/clumped_cells.py [--part tuning|scored] [--bundle DIR] [--fields 60]
                                       [--sheet FILE.png]

First the fields of BCCD whose cells were boxed by hand (`edgehemo_export/data/relabels`): of the
interior cells that a person is sure of the share found, and of the interior boxes of the finder the
share that is such a cell, one to one at an overlap of half their union. Boxes on places of which a
person could not say whether there is a cell count for neither and are told.

Then other sources: how many interior red cells the second look adds, and where every red cell has a
box, how many of the added ones lie on a box that no other cell took, and in how many fields the
interval of the count holds the number of boxes. Intervals (95 %): bootstrap over fields.
``--sheet`` draws what was added, each beside the bare picture, for looking at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.bundle.bundle import load_bundle
from edgehemo.cells.cell import Cell
from edgehemo.cells.crops import crop_at
from edgehemo.cells.finder import INTERIOR_DIAMETERS, CellFinder, open_cell_finder
from edgehemo.errors import EdgeHemoError
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.field.scale import RED_CELL_DIAMETER_UM
from edgehemo.images.reading import read_frame
from edgehemo_export.data.clumps import CLUMP_PARTS, ClumpPart, clumped_fields
from edgehemo_export.data.relabels import BOXED_SETS, labelled_images
from edgehemo_export.data.sets import bccd
from edgehemo_export.models.finder.matching import MATCH_IOU, box_iou

ROUNDS = 2000
DRAWN_PX, COLUMNS = 72, 10
# Sets without boxes of red cells: what is added is counted and can be looked at.
UNBOXED = ("anerbc/images", "uganda_phone/clear", "uganda_phone/sickle")

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Tally:
    """Of one field: sure interior cells, those found, right and wrong interior boxes, and boxes on
    doubtful places.
    """

    cells: int
    found: int
    right: int
    wrong: int
    doubtful: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=CLUMP_PARTS, default="scored")
    parser.add_argument("--bundle", type=Path, help="a bundle's folder; else the shipped one")
    parser.add_argument("--fields", type=int, default=60, help="of each other source")
    parser.add_argument("--sheet", type=Path, help="draw what the second look added")
    options = parser.parse_args()
    finder = open_cell_finder(load_bundle(options.bundle), threads=1)
    drawn: list[NDArray[np.uint8]] = []
    clumps(finder, options.part)
    print(
        f"\n{'source':28} {'fields':>6} {'red cells':>9} {'added':>6} {'on a free box':>14} "
        f"{'interval holds':>14}"
    )
    for source, items in other_sources(real_fields.data_root(), options.fields):
        red = added = boxed = on_free = fields = counted = holds = 0
        for path, labels in items:
            try:
                field = canonical_field(read_frame(path))
            except EdgeHemoError:
                continue
            found = finder.find(field)
            fields += 1
            cells = [(index, c) for index, c in enumerate(found.cells) if c.kind == "rbc"]
            inner = [(index, c) for index, c in cells if interior(boxes_of([c]), field)[0]]
            hidden = [cell for index, cell in inner if index in found.hidden]
            red += len(inner)
            added += len(hidden)
            drawn += [picture(cell, field) for cell in hidden]
            if labels is not None:
                before = boxes_of([cell for index, cell in cells if index not in found.hidden])
                free = labels[~taken(before, labels)[1]]
                boxed += len(hidden)
                on_free += int((taken(boxes_of(hidden), free)[0] >= 0).sum())
                count = found.interior_counts["rbc"]
                counted += 1
                holds += count.low <= interior(labels, field).sum() <= count.high
        lies = f"{on_free} of {boxed}" if boxed else "-"
        held = f"{holds} of {counted}" if counted else "-"
        print(f"{source:28} {fields:6} {red:9} {added:6} {lies:>14} {held:>14}")
    if options.sheet is not None and drawn:
        cv2.imwrite(str(options.sheet), sheet(drawn)[..., ::-1])


def clumps(finder: CellFinder, part: ClumpPart) -> None:
    """Print recall and precision on the fields with boxes by hand."""
    pictures = {
        image.path.stem: image.path
        for image in labelled_images(real_fields.data_root(), (bccd.SOURCE,))
    }
    before: list[Tally] = []
    after: list[Tally] = []
    for hand in clumped_fields(part):
        field = canonical_field(read_frame(pictures[hand.image]))
        found = finder.find(field)
        cells = [(i, cell) for i, cell in enumerate(found.cells) if cell.kind != "platelet"]
        first = boxes_of([cell for index, cell in cells if index not in found.hidden])
        before.append(tally(first, hand.boxes, hand.sure, field))
        after.append(tally(boxes_of([c for _, c in cells]), hand.boxes, hand.sure, field))
    print(f"{part} part: {len(after)} fields, {sum(t.cells for t in after)} interior cells")
    for name, tallies in (("before", before), ("after", after)):
        print(
            f"  {name:6} found {share(tallies, 'found', ('cells',))}, "
            f"right {share(tallies, 'right', ('right', 'wrong'))}, "
            f"{sum(t.doubtful for t in tallies)} boxes on doubtful places"
        )


def tally(found: Boxes, boxes: Boxes, sure: NDArray[np.bool_], field: CanonicalField) -> Tally:
    """One field's figures."""
    which, used = taken(found, boxes[sure])
    left = which < 0
    on_doubt = left & lies_on(found, boxes[~sure])
    inner, inner_cells = interior(found, field), interior(boxes[sure], field)
    return Tally(
        cells=int(inner_cells.sum()),
        found=int((inner_cells & used).sum()),
        right=int((inner & ~left).sum()),
        wrong=int((inner & left & ~on_doubt).sum()),
        doubtful=int((inner & on_doubt).sum()),
    )


def taken(found: Boxes, boxes: Boxes) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Which box each found one is, -1 for none, intp (n,), and which boxes are found, bool (m,).

    One to one, the greatest overlap first.
    """
    which = np.full(len(found), -1, np.intp)
    used = np.zeros(len(boxes), np.bool_)
    overlap = box_iou(found, boxes)
    own, other = np.nonzero(overlap >= MATCH_IOU)
    for index in np.argsort(-overlap[own, other], kind="stable").tolist():
        if which[own[index]] < 0 and not used[other[index]]:
            which[own[index]] = other[index]
            used[other[index]] = True
    return which, used


def lies_on(found: Boxes, places: Boxes) -> NDArray[np.bool_]:
    """Boxes whose centre lies in one of the places, or that overlap one by half, bool (n,)."""
    x, y = ((found[:, side] + found[:, side + 2])[:, None] / 2 for side in (0, 1))
    x0, y0, x1, y1 = places.T
    inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return np.asarray((inside | (box_iou(found, places) >= MATCH_IOU)).any(axis=1), np.bool_)


def interior(boxes: Boxes, field: CanonicalField) -> NDArray[np.bool_]:
    """Boxes, in px of the frame, whose centre is not near its border, bool (n,)."""
    margin = INTERIOR_DIAMETERS * RED_CELL_DIAMETER_UM / field.frame_um_per_px
    x, y = ((boxes[:, side] + boxes[:, side + 2]) / 2 for side in (0, 1))
    across = (x >= margin) & (x <= field.frame_width - margin)
    return np.asarray(across & (y >= margin) & (y <= field.frame_height - margin), np.bool_)


def boxes_of(cells: list[Cell]) -> Boxes:
    return np.array([cell.box for cell in cells], np.float32).reshape(-1, 4)


def share(tallies: list[Tally], hits: str, of: tuple[str, ...]) -> str:
    """Hits of what they are part of, with their interval."""
    rows = np.array([(getattr(t, hits), sum(getattr(t, name) for name in of)) for t in tallies])
    drawn = rows[np.random.default_rng(0).integers(0, len(rows), (ROUNDS, len(rows)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / np.maximum(1, drawn[:, 1]), (0.025, 0.975))
    hit, total = rows.sum(axis=0).tolist()
    return f"{hit} of {total} = {hit / total:.3f} ({low:.3f} to {high:.3f})"


def other_sources(root: Path, most: int) -> Iterator[tuple[str, list[tuple[Path, Boxes | None]]]]:
    """Sources and some of their fields, evenly chosen; boxes where every red cell has one."""
    by_source: dict[str, list[tuple[Path, Boxes | None]]] = {}
    for image in labelled_images(root, [name for name in BOXED_SETS if name != bccd.SOURCE]):
        boxes = image.boxes[image.kinds == 0] if "rbc" in image.complete else None
        name = image.source if boxes is not None else f"{image.source}, partly boxed"
        by_source.setdefault(name, []).append((image.path, boxes))
    for folder in UNBOXED:
        by_source[folder] = [(path, None) for path in sorted((root / folder).iterdir())]
    for name, items in by_source.items():
        chosen = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))
        yield name, [items[index] for index in chosen.tolist()]


def picture(cell: Cell, field: CanonicalField) -> NDArray[np.uint8]:
    """The place bare, and with the cell's box."""
    across, down = field.frame_px_per_canonical_px
    x, y = cell.centre
    bare = crop_at(field.to_uint8(), (x / across, y / down), DRAWN_PX)
    boxed = bare.copy()
    wide, tall = (cell.x1 - cell.x0) / across, (cell.y1 - cell.y0) / down
    first = round((DRAWN_PX - wide) / 2), round((DRAWN_PX - tall) / 2)
    last = round((DRAWN_PX + wide) / 2), round((DRAWN_PX + tall) / 2)
    cv2.rectangle(boxed, first, last, (200, 0, 0), 1)
    return np.hstack([bare, boxed])


def sheet(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    rows = -(-len(pictures) // COLUMNS)
    whole = [*pictures, *[np.full_like(pictures[0], 255)] * (rows * COLUMNS - len(pictures))]
    return np.vstack([np.hstack(whole[i * COLUMNS : (i + 1) * COLUMNS]) for i in range(rows)])


if __name__ == "__main__":
    main()
