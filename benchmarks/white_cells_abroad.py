"""White cells of a source left out of training whole: how many are named, and rightly.

    python benchmarks/white_cells_abroad.py WITHOUT_SOURCE.safetensors [--source SOURCE]
                                            [--most 600] [--sheet FILE.png] [--worst 20]

The checkpoint is one of `edgehemo train nucleated --leave-out SOURCE`; the source is taken from it,
or named where a run learnt no types of it for another reason, and read as the device reads it.
BCCD's fields go through the finder (cells that the border cuts are left out, and fields with white
cells of several types) and count as one sample: where it is strange, what is named by itself needs
the familiarity that a strange sample asks. Single cells are what `edgehemo classify` makes of them.
`before` is without matching the stain (`edgehemo.cells.stain_match`). Shares have 95 % intervals
(Wilson). ``--sheet`` draws the cells named wrongly, the surest first, to be looked at: published
types are wrong at times.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.manifest import FamiliarityRule
from edgehemo.cells.cell import UNCERTAIN
from edgehemo.cells.crops import canonical_crop, crop_scale
from edgehemo.cells.finder import open_cell_finder
from edgehemo.cells.typing import ALARMING_TYPES, CellClassifier, CellTyper, is_cut
from edgehemo.errors import EdgeHemoError
from edgehemo.field.canonical import canonical_field
from edgehemo.files.atomic import sha256_of_file
from edgehemo.images.reading import read_frame
from edgehemo_export.checkpoints import load_checkpoint
from edgehemo_export.data.sets import bccd, read_set
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.evaluation.statistics import wilson
from edgehemo_export.models.classifiers.checkpoint import classifier_net
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.nucleated.data import WHITE_CELL_TYPES
from edgehemo_export.models.classifiers.nucleated.specification import SPEC
from edgehemo_export.nets.torch_runner import TorchRunner

DRAWN_PX, COLUMNS = 110, 5


@dataclass(frozen=True)
class Named:
    """One white cell: what it is, what it is called before the match and after, how familiar it is,
    how sure the name, how it looks and where it is from.
    """

    truth: str
    before: str
    after: str
    matched: bool
    familiarity: float
    score: float
    crop: NDArray[np.uint8]
    picture: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--source", help="instead of the one that was left out")
    parser.add_argument("--most", type=int, default=600, help="single cells that are read")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--worst", type=int, default=20)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    source = options.source or checkpoint.record.get("left_out")
    if source is None:
        parser.error(f"{options.checkpoint}: no source was left out of its training")
    entry = classifier_subject(SPEC, checkpoint).entry([], sha256_of_file(options.checkpoint))
    classifier = CellClassifier(TorchRunner(classifier_net(SPEC, checkpoint)), entry)
    pictures = [
        picture
        for picture in read_set(real_fields.data_root(), source)
        if white_type(picture) is not None
    ]
    if source == bccd.SOURCE:
        cells = list(in_fields(pictures, classifier))
        if entry.familiarity is not None:
            cells = as_one_sample(cells, entry.familiarity)
    else:
        chosen = np.linspace(0, len(pictures) - 1, min(options.most, len(pictures))).astype(int)
        cells = list(alone([pictures[i] for i in np.unique(chosen).tolist()], classifier))
    tell(source, cells)
    if options.sheet is not None:
        wrong = sorted(
            (c for c in cells if c.after not in (UNCERTAIN, c.truth)), key=lambda c: -c.score
        )
        cv2.imwrite(str(options.sheet), sheet(wrong[: options.worst])[..., ::-1])


def white_type(picture: SetPicture) -> str | None:
    """The one type of the white cells of a picture, None where there is none or more than one."""
    labels = picture.labels
    types = set(labels.cell_types or (labels.class_name or "",))
    name = next(iter(types)) if len(types) == 1 else ""
    return name if name in WHITE_CELL_TYPES else None


def in_fields(pictures: list[SetPicture], classifier: CellClassifier) -> Iterator[Named]:
    """The white cells that the finder sees in fields."""
    finder = open_cell_finder(load_bundle(), threads=1)
    typer = CellTyper({"nucleated": classifier})
    for picture in pictures:
        try:
            field = canonical_field(read_frame(picture.path))
        except EdgeHemoError:
            continue
        typed = typer.typed(field, finder.find(field))
        across, down = field.frame_px_per_canonical_px
        for index, cell in enumerate(typed.cells):
            if cell.kind != "wbc" or is_cut(cell, field):
                continue
            centre = np.array([[cell.centre[0] / across, cell.centre[1] / down]], np.float32)
            crop = classifier.crops(field.to_uint8(), centre)
            first = classifier.named(classifier.answers(crop)).names[0]
            yield Named(
                truth=white_type(picture) or "",
                before=first,
                after=cell.type if index in typed.matched else first,
                matched=index in typed.matched,
                familiarity=cell.familiarity or 0.0,
                score=cell.type_score or 0.0,
                crop=crop[0],
                picture=picture.original,
            )


def alone(pictures: list[SetPicture], classifier: CellClassifier) -> Iterator[Named]:
    """The white cells of pictures that hold one."""
    for picture in pictures:
        frame = read_frame(picture.path)
        um_per_px = None if picture.width_um is None else picture.width_um / frame.width
        verdict, scale = classifier.classify(frame, um_per_px)
        crop = canonical_crop(
            frame.pixels,
            crop_scale(frame.pixels, scale.um_per_px, of_red_cell=False).um_per_px,
            classifier.side_px,
            crop_um_per_px=classifier.um_per_px,
        )
        plain = classifier.verdict(classifier.answers(crop[None])[0])
        yield Named(
            truth=white_type(picture) or "",
            before=str(plain.type) if plain.certain else UNCERTAIN,
            after=str(verdict.type) if verdict.certain else UNCERTAIN,
            matched=verdict != plain,
            familiarity=plain.familiarity or 0.0,
            score=verdict.score,
            crop=crop,
            picture=picture.original,
        )


def as_one_sample(cells: list[Named], rule: FamiliarityRule) -> list[Named]:
    """The cells without the names that a strange sample does not bear out."""
    if np.median([cell.familiarity for cell in cells]) >= rule.sample_from:
        return cells

    def stands(cell: Named) -> bool:
        return cell.familiarity >= rule.strange_cell_from and cell.before not in ALARMING_TYPES

    return [
        cell
        if stands(cell)
        else replace(cell, before=UNCERTAIN, after=cell.after if cell.matched else UNCERTAIN)
        for cell in cells
    ]


def tell(source: str, cells: list[Named]) -> None:
    """Print the figures of a source."""
    median = float(np.median([cell.familiarity for cell in cells]))
    print(f"{source}, left out whole: {len(cells)} white cells, median familiarity {median:.2f}")
    for label in ("before", "after"):
        names = [(cell.truth, str(getattr(cell, label))) for cell in cells]
        given = [(truth, name) for truth, name in names if name != UNCERTAIN]
        right = sum(truth == name for truth, name in given)
        harm = sum(n in ALARMING_TYPES and t not in ALARMING_TYPES for t, n in given)
        of = share(right, len(given)) if given else "-"
        print(f"  {label:6} named {share(len(given), len(cells))}, right {of}, alarms {harm}")
        for what, count in Counter(f"{t} called {n}" for t, n in given if t != n).most_common():
            print(f"         {count:4} {what}")


def share(hits: int, total: int) -> str:
    figure = wilson(hits, total)
    return f"{hits} of {total} = {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def sheet(cells: list[Named]) -> NDArray[np.uint8]:
    """The cells with their types, published and given."""
    tiles = []
    for cell in cells:
        large = cv2.resize(cell.crop, (DRAWN_PX * 2,) * 2, interpolation=cv2.INTER_CUBIC)
        tile = np.full((DRAWN_PX * 2 + 30, DRAWN_PX * 2, 3), 255, np.uint8)
        tile[30:] = large
        lines = (cell.picture[-24:], f"{cell.truth[:11]} > {cell.after[:11]} {cell.score:.2f}")
        for row, text in enumerate(lines):
            cv2.putText(tile, text, (2, 12 + 14 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0))
        tiles.append(tile)
    if not tiles:
        return np.full((30, 30, 3), 255, np.uint8)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return np.vstack(rows)


if __name__ == "__main__":
    main()
