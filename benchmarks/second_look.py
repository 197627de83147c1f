"""White cells before and after the second look at them: which are lost, which were red all along.

    python benchmarks/second_look.py [--part tune|test] [--bundle DIR] [--disease-fields 46]

Sets with boxes: each white cell the finder reports is true where it overlaps a white cell's box by
half, false otherwise; `lost` are true ones that the look turns into red cells, `put right` false
ones. Raabin's white cells (TXL-PBC) were never shown to the classifier. Chula's fields by diagnosis
bear no boxes, and the limit was set with a part of them in view: there the counts alone are given;
nearly all that changes sides in them is a red cell
(elliptocytes, burr cells, deep spherocytes; `--sheet FILE.png` draws them). Shares have 95 %
intervals (Wilson).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.bundle.bundle import load_bundle
from edgehemo.cells.cell import Cell
from edgehemo.cells.crops import crop_at
from edgehemo.cells.finder import open_cell_finder
from edgehemo.cells.second_look import NO_NUCLEUS_FROM
from edgehemo.cells.typing import open_cell_typer
from edgehemo.errors import EdgeHemoError
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo_export.data.relabels import LabelledImage, labelled_images
from edgehemo_export.data.sets import bccd, chula_disease, read_set, txl_pbc
from edgehemo_export.data.splits import ModelSplit, Part
from edgehemo_export.evaluation.statistics import wilson
from edgehemo_export.models.finder.matching import box_iou

WHITE = 1
OVERLAP = 0.5
DRAWN_PX = 72


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("tune", "test"), default="tune")
    parser.add_argument("--bundle", type=Path, help="a bundle's folder; else the shipped one")
    parser.add_argument("--disease-fields", type=int, default=46)
    parser.add_argument("--sheet", type=Path, help="draw what changed sides in fields by diagnosis")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    finder, typer = open_cell_finder(bundle, threads=1), open_cell_typer(bundle, threads=1)

    def looked_at(field: CanonicalField) -> list[tuple[Cell, bool]]:
        """The finder's white cells, each with whether the second look made it a red one."""
        found = finder.find(field)
        typed = typer.typed(field, found)
        return [
            (before, after.kind == "rbc")
            for before, after in zip(found.cells, typed.cells, strict=True)
            if before.kind == "wbc"
        ]

    print(f"no nucleus from a probability of {NO_NUCLEUS_FROM:g} on; {options.part} part")
    print(f"{'set':28} {'true white':>10} {'lost':>22} {'false':>6} {'put right':>22}")
    for name, images in labelled_sets(real_fields.data_root(), options.part):
        tally: Counter[tuple[bool, bool]] = Counter()
        for image in images:
            try:
                field = canonical_field(read_frame(image.path))
            except EdgeHemoError:
                continue
            boxes = image.boxes[image.kinds == WHITE]
            for cell, changed in looked_at(field):
                tally[overlaps(cell, boxes), changed] += 1
        lost, kept = tally[True, True], tally[True, False]
        right, left = tally[False, True], tally[False, False]
        print(
            f"{name:28} {lost + kept:10} {share(lost, lost + kept):>22} {right + left:6} "
            f"{share(right, right + left):>22}"
        )

    print(f"\n{'diagnosis (no boxes)':28} {'fields':>6} {'white, finder':>14} {'left white':>10}")
    drawn: list[NDArray[np.uint8]] = []
    pictures = read_set(real_fields.data_root(), chula_disease.SOURCE)
    for diagnosis in sorted({picture.labels.class_name or "" for picture in pictures}):
        paths = [p.path for p in pictures if p.labels.class_name == diagnosis]
        paths = paths[:: max(1, len(paths) * 5 // options.disease_fields)]
        before = after = 0
        for path in paths:
            frame = read_frame(path)
            field = canonical_field(frame, um_per_px=chula_disease.WIDTH_UM / frame.width)
            for cell, changed in looked_at(field):
                before += 1
                after += not changed
                if changed:
                    drawn.append(picture(cell, field))
        print(f"{diagnosis:28} {len(paths):6} {before:14} {after:10}")
    if options.sheet is not None and drawn:
        cv2.imwrite(str(options.sheet), sheet(drawn)[..., ::-1])


def labelled_sets(root: Path, part: Part) -> Iterator[tuple[str, list[LabelledImage]]]:
    """Sets with boxes of white cells, one part of each. Raabin was never trained on, so its part is
    another: the limit was set on every third image, the test part is the next ones.
    """
    images = labelled_images(root, (bccd.SOURCE, txl_pbc.SOURCE))
    # The bundle does not say by which split its networks were trained: neither may have seen them.
    chosen = ModelSplit(("cell_finder", "nucleated")).select(images, part)
    yield "bccd", [image for image in chosen if image.source == "bccd"]
    yield "txl_pbc, PBC crops", [image for image in chosen if image.source == "txl_pbc"]
    raabin = [image for image in images if image.source == "txl_raabin"]
    yield "txl_pbc, Raabin crops", raabin[part == "test" :: 3]


def overlaps(cell: Cell, boxes: NDArray[np.float32]) -> bool:
    """Whether a cell shares half of its union with one of the boxes (n, 4), px of the image."""
    own = np.array([[cell.x0, cell.y0, cell.x1, cell.y1]], np.float32)
    return bool((box_iou(own, boxes) >= OVERLAP).any())


def share(hits: int, total: int) -> str:
    if not total:
        return "-"
    interval = wilson(hits, total)
    return f"{hits} ({interval.low:.1%} to {interval.high:.1%})"


def picture(cell: Cell, field: CanonicalField) -> NDArray[np.uint8]:
    across, down = field.frame_px_per_canonical_px
    x, y = cell.centre
    return crop_at(field.to_uint8(), (x / across, y / down), DRAWN_PX)


def sheet(pictures: list[NDArray[np.uint8]], columns: int = 12) -> NDArray[np.uint8]:
    rows = -(-len(pictures) // columns)
    blank = np.full_like(pictures[0], 255)
    whole = [*pictures, *[blank] * (rows * columns - len(pictures))]
    return np.vstack([np.hstack(whole[i * columns : (i + 1) * columns]) for i in range(rows)])


if __name__ == "__main__":
    main()
