"""Single red cells of the sets that name no types: what their outline alone tells of them.

No finder and no label is asked: a cell that stands alone has an outline, and the outline says
whether it is round, long, or pointed at both ends. So much of its type is known on any microscope.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.crops import crops_at
from edgehemo.cells.outline import Outline, PlacedOutline, outlines_of_field
from edgehemo.errors import EdgeHemoError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, joined
from edgehemo_export.data.relabels import labelled
from edgehemo_export.data.sets import bccd, chula_disease, read_set, txl_pbc, uganda_phone
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.data.splits import CURRENT, ModelSplit, Part
from edgehemo_export.models.classifiers.morphology.data import MORPHOLOGY_CLASSES
from edgehemo_export.models.classifiers.training import UnnamedCrops

# Round cells taken of each field of the sets without types, by the source that their readers give,
# and long ones as many. Raabin's fields stay unseen by every classifier.
A_FIELD: Mapping[str, int] = {
    bccd.SOURCE: 12,
    txl_pbc.SOURCE: 6,
    uganda_phone.SOURCE: 60,
    chula_disease.SOURCE: 40,
}
# The sets that are read for them, and the scale of the one whose scale is known.
_SETS = (bccd.SOURCE, txl_pbc.SOURCE, uganda_phone.SOURCE, chula_disease.SOURCE)
_WIDTH_UM: Mapping[str, float] = {chula_disease.SOURCE: chula_disease.WIDTH_UM}
# A field that comes out wider than this was read at a wrong scale.
_WIDEST_PX = 2500

# The types that a cell of each shape may have; the others it cannot.
ROUND_TYPES = (
    "normal",
    "macrocyte",
    "microcyte",
    "spherocyte",
    "target_cell",
    "stomatocyte",
    "burr_cell",
    "uncategorised",
    "hypochromia",
)
LONG_TYPES = (
    "ovalocyte",
    "teardrop",
    "schistocyte",
    "uncategorised",
    "elliptocyte",
    "sickle_cell",
)
POINTED_TYPES = ("sickle_cell",)

_SMALLEST_UM2, _LARGEST_UM2 = 14.0, 75.0
_ROUND_TO, _ROUND_SOLIDITY = 1.2, 0.95
_LONG_FROM, _LONG_SOLIDITY, _LONG_TO_UM2 = 1.5, 0.88, 60.0
# Pointed at both ends: of labelled elliptocytes none is.
_POINTED_FROM, _POINTED_TIP_TO, _POINTED_SOLIDITY, _POINTED_FROM_UM2 = 1.6, 0.62, 0.8, 18.0

# What decides which cells are taken of a field.
_TAKEN_BY = (
    *(_SMALLEST_UM2, _LARGEST_UM2, _ROUND_TO, _ROUND_SOLIDITY),
    *(_LONG_FROM, _POINTED_SOLIDITY, _WIDEST_PX),
)


def is_round(outline: Outline) -> bool:
    """A single round cell: a clump is neither as small nor as solid."""
    return (
        _SMALLEST_UM2 < outline.area_um2 < _LARGEST_UM2
        and outline.elongation < _ROUND_TO
        and outline.solidity > _ROUND_SOLIDITY
    )


def is_pointed(outline: Outline) -> bool:
    """Long, and pointed at both ends."""
    return (
        _POINTED_FROM_UM2 < outline.area_um2 < _LONG_TO_UM2
        and outline.elongation > _POINTED_FROM
        and outline.tips[1] < _POINTED_TIP_TO
        and outline.solidity > _POINTED_SOLIDITY
    )


def is_long(outline: Outline) -> bool:
    """Surely one cell and surely long: two that touch are less solid or larger."""
    return (
        _SMALLEST_UM2 < outline.area_um2 < _LONG_TO_UM2
        and outline.elongation > _LONG_FROM
        and outline.solidity > _LONG_SOLIDITY
    )


def _is_taken(outline: Outline) -> bool:
    """Long by a wider rule than `is_long`: so many can be measured by others."""
    return (
        _SMALLEST_UM2 < outline.area_um2 < _LARGEST_UM2
        and outline.elongation > _LONG_FROM
        and outline.solidity > _POINTED_SOLIDITY
    )


@dataclass(frozen=True)
class IsolatedCells:
    """Isolated cells with their outlines, one a crop; the crops' labels mean nothing."""

    crops: CellCrops
    outlines: tuple[Outline, ...]

    def __len__(self) -> int:
        return len(self.outlines)

    def where(self, mask: NDArray[np.bool_]) -> IsolatedCells:
        """The cells under a mask, bool (n,)."""
        kept = tuple(o for o, keep in zip(self.outlines, mask, strict=True) if keep)
        return IsolatedCells(self.crops.where(mask), kept)

    def part(self, part: Part, split: ModelSplit = CURRENT) -> IsolatedCells:
        return self.where(np.asarray(self.crops.parts(split) == part, np.bool_))

    def only(self, source: str) -> IsolatedCells:
        return self.where(np.asarray(self.crops.sources == source, np.bool_))

    def round(self) -> NDArray[np.bool_]:
        """Bool (n,)."""
        return np.array([is_round(outline) for outline in self.outlines], np.bool_)


def isolated_cells(
    data: Path,
    options: CropOptions,
    cache: Path | None,
    wanted: Callable[[SetPicture], bool] = lambda picture: True,
) -> IsolatedCells:
    """Round and long isolated cells of every set without types that a data root holds.

    wanted: which of their pictures. At most `A_FIELD` of each a field, the same at every call.
    Fields whose scale cannot be told have none, nor are white cells taken that a set has boxed.
    """
    pictures = [
        picture
        for name in _SETS
        for picture in read_set(data, name)
        if picture.source in A_FIELD and wanted(picture)
    ]
    found = [
        _of_source(source, [p for p in pictures if p.source == source], options, cache)
        for source in sorted({p.source for p in pictures})
    ]
    if not found:
        side = options.stored_px
        return IsolatedCells(_crops([], np.zeros((0, side, side, 3), np.uint8), [], options), ())
    outlines = tuple(outline for cells in found for outline in cells.outlines)
    return IsolatedCells(joined([cells.crops for cells in found]), outlines)


def partly_known(cells: IsolatedCells) -> UnnamedCrops:
    """The cells whose outline says something of their type, with the types it leaves possible."""
    types = [possible_types(outline) for outline in cells.outlines]
    known = cells.crops.where(np.array([bool(some) for some in types], np.bool_))
    rows = [np.isin(MORPHOLOGY_CLASSES, some) for some in types if some]
    return UnnamedCrops(known, np.array(rows, np.bool_).reshape(-1, len(MORPHOLOGY_CLASSES)))


def possible_types(outline: Outline) -> tuple[str, ...]:
    """The types a cell of this outline may have; none where it is neither round nor surely long."""
    if is_pointed(outline):
        return POINTED_TYPES
    if is_long(outline):
        return LONG_TYPES
    return ROUND_TYPES if is_round(outline) else ()


def _of_source(
    source: str, pictures: Sequence[SetPicture], options: CropOptions, cache: Path | None
) -> IsolatedCells:
    side = options.stored_px
    shape_fields = 6

    def make() -> dict[str, NDArray[Any]]:
        codes: list[NDArray[np.uint8]] = []
        shapes: list[tuple[float, ...]] = []
        owners: list[int] = []
        for index, picture in enumerate(pictures):
            try:
                cut, placed = _cells_of(picture, options)
            except EdgeHemoError:
                continue
            codes.append(cut)
            shapes += [_numbers(cell.outline) for cell in placed]
            owners += [index] * len(placed)
        return {
            "codes": np.concatenate([np.zeros((0, side, side, 3), np.uint8), *codes]),
            "shapes": np.array(shapes, np.float64).reshape(-1, shape_fields),
            "owners": np.array(owners, np.intp),
        }

    depends_on = {
        "pictures": [(picture.key, content_of(picture.path)) for picture in pictures],
        "others": [_boxes_of_others(picture) for picture in pictures],
        "side_px": side,
        "um_per_px": options.um_per_px,
        "most": A_FIELD[source],
        "width_um": _WIDTH_UM.get(source),
        "limits": _TAKEN_BY,
    }
    stored = prepared(cache, "isolated-cells", depends_on, make)
    owners = [pictures[i] for i in stored["owners"].tolist()]
    outlines = tuple(
        Outline(area, elongation, solidity, (sharper, blunter), roundness)
        for area, elongation, solidity, sharper, blunter, roundness in stored["shapes"].tolist()
    )
    numbers = list(range(len(owners)))
    return IsolatedCells(_crops(owners, stored["codes"], numbers, options), outlines)


def _numbers(outline: Outline) -> tuple[float, ...]:
    return (
        outline.area_um2,
        outline.elongation,
        outline.solidity,
        *outline.tips,
        outline.roundness,
    )


def _crops(
    owners: Sequence[SetPicture],
    codes: NDArray[np.uint8],
    numbers: Sequence[int],
    options: CropOptions,
) -> CellCrops:
    return CellCrops(
        classes=MORPHOLOGY_CLASSES,
        codes=codes,
        labels=np.full(len(owners), MORPHOLOGY_CLASSES.index("uncategorised"), np.intp),
        sources=np.array([picture.source for picture in owners], np.str_),
        groups=np.array([picture.group for picture in owners], np.str_),
        names=np.array(
            [f"{p.key} isolated {n}" for p, n in zip(owners, numbers, strict=True)], np.str_
        ),
        um_per_px=options.um_per_px,
        files=tuple(picture.path for picture in owners),
        keys=tuple(picture.key for picture in owners),
    )


def _cells_of(
    picture: SetPicture, options: CropOptions
) -> tuple[NDArray[np.uint8], list[PlacedOutline]]:
    frame = read_frame(picture.path)
    width_um = _WIDTH_UM.get(picture.source)
    field = canonical_field(frame, um_per_px=None if width_um is None else width_um / frame.width)
    if field.scale_source == "assumed" or field.width > _WIDEST_PX:
        return np.zeros((0, *(options.stored_px,) * 2, 3), np.uint8), []
    codes = field.to_uint8()
    scale = np.array(field.frame_px_per_canonical_px * 2)
    others = _boxes_of_others(picture) / scale
    most = A_FIELD[picture.source]
    rng = np.random.default_rng(zlib.crc32(picture.key.encode()))
    cells = [
        cell
        for cell in outlines_of_field(codes, valid=field.valid)
        if not _in_one_of(others, cell.x, cell.y)
    ]
    cells = [cells[i] for i in rng.permutation(len(cells))]
    rounds = [cell for cell in cells if is_round(cell.outline)]
    longs = [cell for cell in cells if _is_taken(cell.outline)]
    chosen = rounds[:most] + longs[:most]
    centres = np.array([(cell.x + 0.5, cell.y + 0.5) for cell in chosen], np.float32)
    cut = crops_at(
        codes,
        centres.reshape(-1, 2),
        options.stored_px,
        field_px_per_crop_px=options.um_per_px / CANONICAL_UM_PER_PX,
    )
    return cut, chosen


def _boxes_of_others(picture: SetPicture) -> NDArray[np.float32]:
    """The boxes of a picture's white cells and platelets, px of its file, float32 (n, 4): a
    lymphocyte that stands alone is as round as a red cell.
    """
    image = labelled(picture)
    if image is None:
        return np.zeros((0, 4), np.float32)
    return np.asarray(image.boxes[image.kinds != CELL_KINDS.index("rbc")], np.float32)


def _in_one_of(boxes: NDArray[np.float64], x: float, y: float) -> bool:
    return bool(((boxes[:, :2] <= (x, y)) & (boxes[:, 2:] >= (x, y))).all(axis=1).any())
