"""The cell finder on the device: a canonical field in, cells and counts out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.bundle import Bundle
from edgehemo.bundle.manifest import (
    DEFAULT_FORMAT,
    ArtefactFormat,
    InputSpec,
    KindOperatingPoint,
    Precision,
)
from edgehemo.cells.cell import (
    CELL_KINDS,
    Cell,
    CellKind,
    CountInterval,
    DoubtfulCell,
    FieldCells,
)
from edgehemo.cells.clumps import HIDDEN_SHARE_RIGHT, hidden_cells
from edgehemo.cells.counting import expected_count
from edgehemo.cells.maps import (
    KINDS_IN_MAPS,
    MIN_SCORE,
    STRIDE,
    read_maps,
    rival_scores,
    suppress,
)
from edgehemo.errors import BundleError
from edgehemo.field.canonical import (
    CANONICAL_UM_PER_PX,
    CELL_DIAMETER_PX,
    CLEAR_FIELD_CODE,
    CanonicalField,
)
from edgehemo.inference import Runner, open_model

# Interior cells have their centre at least this many diameters of a normal red cell from the
# border and the field stop.
INTERIOR_DIAMETERS = 0.6
# Longest side of a tile where the model takes any size, give or take a step of its grid: bounds
# memory to some 60 MB.
MAX_TILE_PX = 768
# Places of the kinds that one cell may be divided between.
_RED, _WHITE = CELL_KINDS.index("rbc"), CELL_KINDS.index("wbc")
# Context around a tile's own part; a peak belongs to the tile whose own part holds it.
TILE_MARGIN_PX = 64


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of the field that is run (x, y, width, height) and the part it answers for."""

    x: int
    y: int
    width: int
    height: int
    own_x0: int
    own_y0: int
    own_x1: int
    own_y1: int


def tiles_of(width: int, height: int, spec: InputSpec) -> list[Tile]:
    """Cover a field with tiles that overlap by the margin; sides in the model's steps.

    Every pixel belongs to exactly one tile's own part.
    """
    across = _spans(width, spec.width_px, spec.multiple_of_px)
    down = _spans(height, spec.height_px, spec.multiple_of_px)
    return [
        Tile(x, y, tile_width, tile_height, own_x0, own_y0, own_x1, own_y1)
        for y, tile_height, own_y0, own_y1 in down
        for x, tile_width, own_x0, own_x1 in across
    ]


def _spans(length: int, fixed: int | None, multiple: int) -> list[tuple[int, int, int, int]]:
    """(start, run length, own start, own end) of the tiles along one side.

    Where the model takes any size a tile is its own part and the margins, no more, and starts on
    the model's coarsest grid: it then sees what it would see of the whole field in one run.
    """
    longest = fixed if fixed is not None else MAX_TILE_PX // multiple * multiple
    if length <= longest:
        run = fixed if fixed is not None else _up_to_grid(length, multiple)
        return [(0, run, 0, length)]
    own = longest - 2 * TILE_MARGIN_PX
    count = -(-length // own)
    edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
    spans = []
    for low, high in pairwise(edges):
        start = max(0, low - TILE_MARGIN_PX)
        if fixed is None:
            start = start // multiple * multiple
            run = _up_to_grid(min(length, high + TILE_MARGIN_PX) - start, multiple)
        else:
            # The grid of places is the same in every tile; the last may reach past the field by
            # less than a stride, where it is padded.
            start = min(start // STRIDE * STRIDE, _up_to_grid(length - fixed, STRIDE))
            run = fixed
        spans.append((start, run, low, high))
    return spans


def _up_to_grid(length: int, multiple: int) -> int:
    """The next multiple that is not shorter."""
    return -(-length // multiple) * multiple


class CellFinder:
    """A loaded cell finder; make one with `open_cell_finder`."""

    def __init__(
        self, runner: Runner, spec: InputSpec, operating_points: dict[str, KindOperatingPoint]
    ) -> None:
        missing = [kind for kind in CELL_KINDS if kind not in operating_points]
        if missing:
            raise BundleError(f"the cell finder's manifest has no operating point for {missing[0]}")
        if spec.um_per_px is None or abs(spec.um_per_px - CANONICAL_UM_PER_PX) > 1e-6:
            raise BundleError(
                f"the cell finder was made for {spec.um_per_px} um/px, "
                f"canonical fields have {CANONICAL_UM_PER_PX}"
            )
        self.runner = runner
        self.spec = spec
        self._points = operating_points

    def find(self, field: CanonicalField) -> FieldCells:
        """All cells of a field, with boxes in the frame's pixels, and the counts."""
        return self.cells_from(self._seen(field.to_uint8()), field)

    def candidates(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network over the tiles; rows as `read_maps` gives them, suppressed."""
        return self._seen(codes)[:, :6]

    def _seen(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The candidates, in a seventh column their `rival_scores` of red and white."""
        height, width = codes.shape[:2]
        pad = (CLEAR_FIELD_CODE,) * 3
        found = []
        for tile in tiles_of(width, height, self.spec):
            part = codes[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            below, right = tile.height - part.shape[0], tile.width - part.shape[1]
            if below or right:
                part = cv2.copyMakeBorder(
                    part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=pad
                ).astype(np.uint8, copy=False)
            maps = self.runner.run(np.ascontiguousarray(part[None]))[0]
            rows = read_maps(maps, MIN_SCORE)
            rows[:, [0, 2]] += tile.x
            rows[:, [1, 3]] += tile.y
            centre_x, centre_y = (rows[:, 0] + rows[:, 2]) / 2, (rows[:, 1] + rows[:, 3]) / 2
            # A centre just outside the picture belongs to the tile at that border.
            own = (
                ((centre_x >= tile.own_x0) | (tile.own_x0 == 0))
                & ((centre_y >= tile.own_y0) | (tile.own_y0 == 0))
                & ((centre_x < tile.own_x1) | (tile.own_x1 == width))
                & ((centre_y < tile.own_y1) | (tile.own_y1 == height))
            )
            found.append(rows[own])
        peaks = np.concatenate(found)
        rivals = rival_scores(peaks, (_RED, _WHITE))
        return suppress(np.concatenate([peaks, rivals[:, None]], axis=1))

    def cells_from(self, candidates: NDArray[np.float32], field: CanonicalField) -> FieldCells:
        """Calibrate, count and report candidates (canonical px) of a field.

        candidates: as `read_maps` gives them; where a seventh column holds their `rival_scores`,
        cells whose kind alone is in doubt are told.
        """
        width, height = field.width, field.height
        rows = candidates.copy()
        rows[:, [0, 2]] = np.clip(rows[:, [0, 2]], 0, width)
        rows[:, [1, 3]] = np.clip(rows[:, [1, 3]], 0, height)
        sides = rows[:, 2:4] - rows[:, :2]
        rows = rows[(sides > 1.0).all(axis=1)]
        column = np.clip(((rows[:, 0] + rows[:, 2]) / 2).astype(int), 0, width - 1)
        row = np.clip(((rows[:, 1] + rows[:, 3]) / 2).astype(int), 0, height - 1)
        inside = field.valid[row, column]
        rows, row, column = rows[inside], row[inside], column[inside]
        interior = interior_mask(field.valid)
        in_interior = interior[row, column]
        kind_index = rows[:, 5].astype(int)
        probability = np.zeros(len(rows), np.float32)
        reported = np.zeros(len(rows), np.bool_)
        counts: dict[CellKind, int] = {}
        interior_counts: dict[CellKind, CountInterval] = {}
        for index, kind in enumerate(CELL_KINDS):
            point = self._points[kind]
            of_kind = kind_index == index
            calibrated = calibrate(rows[of_kind, 4], point)
            probability[of_kind] = calibrated
            reported[of_kind] = calibrated >= point.threshold
        hidden = hidden_cells(rows, probability, reported, field)
        probability[hidden] = np.maximum(probability[hidden], HIDDEN_SHARE_RIGHT)
        reported[hidden] = True
        for index, kind in enumerate(CELL_KINDS):
            of_kind = kind_index == index
            counts[kind] = int(reported[of_kind].sum())
            interior_counts[kind] = expected_count(
                probability[of_kind & in_interior],
                relative_sd=self._points[kind].count_relative_sd,
            )
        across, down = field.frame_px_per_canonical_px
        boxes = rows[:, :4].astype(np.float64) * (across, down, across, down)
        # Rounding must not put a border past the frame.
        np.clip(boxes, 0, np.tile((field.frame_width, field.frame_height), 2), out=boxes)
        cells = tuple(
            Cell(CELL_KINDS[kind], box[0], box[1], box[2], box[3], score)
            for kind, box, score in zip(
                kind_index[reported].tolist(),
                boxes[reported].tolist(),
                probability[reported].tolist(),
                strict=True,
            )
        )
        doubtful = self._doubtful(rows, probability, reported, in_interior, boxes)
        pixel_mm2 = (CANONICAL_UM_PER_PX / 1000.0) ** 2
        return FieldCells(
            cells=cells,
            counts=counts,
            interior_counts=interior_counts,
            interior_area_mm2=float(np.count_nonzero(interior)) * pixel_mm2,
            doubtful=doubtful,
            hidden=frozenset((np.cumsum(reported)[hidden] - 1).tolist()),
        )

    def _doubtful(
        self,
        rows: NDArray[np.float32],
        probability: NDArray[np.float32],
        reported: NDArray[np.bool_],
        in_interior: NDArray[np.bool_],
        boxes: NDArray[np.float64],
    ) -> tuple[DoubtfulCell, ...]:
        """The places that red and white together make sure of, and neither alone."""
        if rows.shape[1] < 7:
            return ()
        found = []
        for own, other in ((_RED, _WHITE), (_WHITE, _RED)):
            which = np.flatnonzero((rows[:, 5] == own) & ~reported & (rows[:, 6] > 0))
            rivals = calibrate(rows[which, 6], self._points[CELL_KINDS[other]])
            both = np.minimum(1.0, probability[which] + rivals)
            sure = both >= self._points[CELL_KINDS[_RED]].threshold
            for index, score in zip(which[sure].tolist(), both[sure].tolist(), strict=True):
                x0, y0, x1, y1 = boxes[index].tolist()
                cell = Cell(CELL_KINDS[own], x0, y0, x1, y1, score)
                counted = float(probability[index]) if in_interior[index] else None
                found.append(DoubtfulCell(cell, counted))
        return tuple(found)


def calibrate(scores: NDArray[np.float32], point: KindOperatingPoint) -> NDArray[np.float32]:
    """Probabilities of being a cell from the network's scores, float32 (n,)."""
    clipped = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))
    scaled = point.calibration.slope * logit + point.calibration.intercept
    return np.asarray(1 / (1 + np.exp(-scaled)), dtype=np.float32)


def interior_mask(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True at least `INTERIOR_DIAMETERS` of a red cell from the border and the field stop."""
    margin = round(INTERIOR_DIAMETERS * CELL_DIAMETER_PX)
    out = valid.copy()
    if not valid.all():
        distance = cv2.distanceTransform(valid.astype(np.uint8), cv2.DIST_L2, 3)
        out &= distance >= margin
    out[:margin] = False
    out[-margin:] = False
    out[:, :margin] = False
    out[:, -margin:] = False
    return out


def open_cell_finder(
    bundle: Bundle,
    *,
    threads: int,
    runtime: ArtefactFormat = DEFAULT_FORMAT,
    precision: Precision | None = None,
) -> CellFinder:
    """Open the bundle's cell finder in a runtime.

    precision: what the device configuration prefers; another serves where the bundle lacks it.
    Raises BundleError where the bundle has nothing for the runtime, or a finder of other cells.
    """
    entry = bundle.model("cell_finder")
    if tuple(entry.classes) != KINDS_IN_MAPS:
        raise BundleError(
            f"{entry.name}: finds {', '.join(entry.classes)}, this software reads "
            f"{', '.join(KINDS_IN_MAPS)}; export the bundle again"
        )
    artefact, runner = open_model(
        bundle, "cell_finder", threads=threads, runtime=runtime, precision=precision
    )
    return CellFinder(runner, entry.input_of(artefact), dict(entry.operating_points))
