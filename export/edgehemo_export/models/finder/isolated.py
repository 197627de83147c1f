"""How well a finder reads AneRBC's fields, whose masks show where cells are, not which is which.

An outline that stands alone, smooth and of the size of a cell, is one cell: those are asked for.
Clumps, cells at the border, platelets and white cells are neither asked for nor held against the
finder. The analyser's count says how many platelets there are to a red cell. No finder of this
project is trained on AneRBC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import KindOperatingPoint, Metric
from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.finder import CellFinder, calibrate, interior_mask
from edgehemo.errors import UsageError
from edgehemo.field.canonical import canonical_field
from edgehemo.images.reading import read_frame
from edgehemo_export.data.sets import anerbc, read_set
from edgehemo_export.data.sets.picture import BloodCount, SetPicture
from edgehemo_export.evaluation.statistics import bootstrap_by_group, metric_of
from edgehemo_export.models.finder.matching import average_precision, centres_in, match

SOURCE = "anerbc, isolated cells, never trained on"
# Of the median outline's area: platelets have less, and from 1.4 on most outlines are two cells, as
# their waists show (median solidity 0.93 and less, of smaller ones 0.95 to 0.97).
CELL_AREA = (0.5, 1.4)
# Area of an outline over that of its convex hull: two cells that touch have a waist.
MIN_SOLIDITY = 0.9
# Outlines smaller than this share of the median are specks of the mask and no place at all.
SPECK = 0.05
# Outlines from this share of the one that halves the cells' area count for the median: cells.
WHOLE = 0.25

_BACKGROUND, _ISOLATED, _IGNORED = 0, 1, 2


@dataclass(frozen=True)
class IsolatedCells:
    """The cells of a mask that stand alone, and where a finding can be judged.

    boxes: float32 (n, 4), x0 y0 x1 y1, px of the mask. places: uint8 (h, w): 0 bare background,
    1 one of these cells, 2 anything else.
    """

    boxes: NDArray[np.float32]
    places: NDArray[np.uint8]


def isolated_cells(mask: NDArray[np.bool_]) -> IsolatedCells:
    """The outlines of a mask (h, w), true on cells, that are one cell each; see the module."""
    height, width = mask.shape
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = np.array([cv2.contourArea(outline) for outline in found])
    places = np.zeros(mask.shape, np.uint8)
    if not (areas > 0).any():
        return IsolatedCells(np.zeros((0, 4), np.float32), places)
    # Half of the cells' area lies in larger outlines than this: specks do not move it, clumps do.
    ordered = np.sort(areas)
    halving = ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)]
    middle = float(np.median(areas[areas >= WHOLE * halving]))
    boxes = []
    for outline, area in zip(found, areas, strict=True):
        if area < SPECK * middle:
            continue
        x, y, wide, tall = cv2.boundingRect(outline)
        cut = x <= 0 or y <= 0 or x + wide >= width or y + tall >= height
        smooth = area >= MIN_SOLIDITY * cv2.contourArea(cv2.convexHull(outline))
        alone = not cut and smooth and CELL_AREA[0] <= area / middle <= CELL_AREA[1]
        cv2.drawContours(places, [outline], -1, _ISOLATED if alone else _IGNORED, cv2.FILLED)
        if alone:
            boxes.append((x, y, x + wide, y + tall))
    return IsolatedCells(np.array(boxes, np.float32).reshape(-1, 4), places)


@dataclass(frozen=True)
class _Read:
    """A field's isolated interior cells and the red candidates that can be judged.

    scores: float32 (n,) and matched: bool (n,), of the candidates. found: cells with a candidate of
    at least the threshold. stray: such candidates on bare background. expected: the candidates'
    probabilities, summed. platelets: expected ones a red cell over the analyser's, less 1; None
    where the analyser's counts are not known.
    """

    cells: int
    scores: NDArray[np.float32]
    matched: NDArray[np.bool_]
    found: int
    stray: int
    expected: float
    platelets: float | None


def measure_isolated(
    data: Path, finder: CellFinder, points: dict[str, KindOperatingPoint]
) -> list[Metric]:
    """Red cells found, precision and counts on AneRBC's fields; none where there are no masks.

    Interior cells by the rule of the counts; intervals by a bootstrap over patients.
    """
    pictures = read_set(data, anerbc.SOURCE)
    masked = [(p, data / p.labels.mask) for p in pictures if p.labels.mask is not None]
    if not masked:
        return []
    read = [_read_field(picture, mask, finder, points) for picture, mask in masked]
    intervals = bootstrap_by_group(
        [picture.group for picture, _ in masked],
        lambda chosen: _figures([read[i] for i in chosen]),
    )
    return [metric_of(found, name, SOURCE, len(read)) for name, found in intervals.items()]


def _figures(read: Sequence[_Read]) -> dict[str, float]:
    cells = np.array([field.cells for field in read], float)
    expected = np.array([field.expected for field in read])
    found = sum(field.found for field in read)
    stray = sum(field.stray for field in read)
    enough = cells > 0
    figures = {
        "AP50 rbc": average_precision(
            np.concatenate([field.scores for field in read]),
            np.concatenate([field.matched for field in read]),
            int(cells.sum()),
        ),
        "red cells found at the threshold": found / max(1.0, cells.sum()),
        "found on bare background, of all that can be judged": stray / max(1, found + stray),
        "interior rbc count, total relative error": expected.sum() / max(1.0, cells.sum()) - 1,
    }
    if enough.any():
        error = np.abs(expected - cells)[enough] / cells[enough]
        figures["interior rbc count, median relative error of a field"] = float(np.median(error))
    platelets = [abs(field.platelets) for field in read if field.platelets is not None]
    if platelets:
        name = "platelets a red cell against the analyser, {} relative error of a field"
        figures[name.format("median")] = float(np.median(platelets))
        figures[name.format("mean")] = float(np.mean(platelets))
    return figures


def _read_field(
    picture: SetPicture,
    mask_path: Path,
    finder: CellFinder,
    points: dict[str, KindOperatingPoint],
) -> _Read:
    frame = read_frame(picture.path)
    isolated = isolated_cells(read_mask(mask_path, frame.pixels))
    field = canonical_field(frame)
    across, down = field.frame_px_per_canonical_px
    boxes = (isolated.boxes / np.array([across, down, across, down])).astype(np.float32)
    places = cv2.resize(
        isolated.places, (field.width, field.height), interpolation=cv2.INTER_NEAREST
    )
    interior = interior_mask(field.valid)
    candidates = finder.candidates(field.to_uint8())
    red, platelets = (
        candidates[candidates[:, 5] == CELL_KINDS.index(kind)] for kind in ("rbc", "platelet")
    )
    red_cells, platelet_count = (
        float(calibrate(rows[centres_in(rows, interior), 4], points[kind]).sum())
        for kind, rows in (("rbc", red), ("platelet", platelets))
    )
    red = red[centres_in(red, interior & (places != _IGNORED))]
    boxes = boxes[centres_in(boxes, interior)]
    matched = match(red, boxes, np.zeros(len(boxes), np.intp))
    probability = calibrate(red[:, 4], points["rbc"])
    reported = probability >= points["rbc"].threshold
    on_cells = centres_in(red, places == _ISOLATED)
    return _Read(
        cells=len(boxes),
        scores=red[:, 4],
        matched=matched,
        found=int((matched & reported).sum()),
        stray=int((reported & ~on_cells).sum()),
        expected=float(probability.sum()),
        platelets=_against(picture.labels.blood_count, platelet_count, red_cells),
    )


def _against(count: BloodCount | None, platelets: float, red_cells: float) -> float | None:
    """Relative error of the platelets to a red cell; None where the analyser's is not known."""
    if count is None or not count.plt_1e9_per_l or not count.rbc_1e12_per_l or red_cells <= 0:
        return None
    return platelets / red_cells * (1000 * count.rbc_1e12_per_l) / count.plt_1e9_per_l - 1


def read_mask(path: Path, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A binary mask, bool (h, w), true on cells: of its two sides the darker one in the picture.

    picture: uint8 (h, w, 3). Raises UsageError where the two differ in size.
    """
    bright = read_frame(path).pixels.mean(axis=2) >= 128
    if bright.shape != picture.shape[:2]:
        raise UsageError(f"{path}: a mask of another size than its picture")
    light = picture.mean(axis=2)
    if not bright.any() or bright.all():
        return np.zeros_like(bright)
    return np.asarray(bright if light[bright].mean() < light[~bright].mean() else ~bright)
