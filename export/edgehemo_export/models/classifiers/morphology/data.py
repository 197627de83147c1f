"""Chula RBC-12 as crops of red cells, each with its type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.crops import crops_at
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, joined
from edgehemo_export.data.sets import chula_rbc12, read_set
from edgehemo_export.data.sets.own import own_alone
from edgehemo_export.models.classifiers.data import CHULA_UM_PER_PX
from edgehemo_export.models.classifiers.own_cells import own_crops

SOURCE = chula_rbc12.SOURCE
LICENCE = "Chula RBC-12 (Chula-PIC-Lab), MIT"
# The published order of the label files' numbers; of sickle cells nobody has labelled any: they are
# drawn (`drawn_cells`).
MORPHOLOGY_CLASSES: tuple[str, ...] = (*chula_rbc12.TYPES, "sickle_cell")
# In blocks of ten neighbouring fields nearly every type has cells on all sides
# of the split (few: uncategorised 4 in test, 3 in tune; no elliptocyte in test, for the block that
# would hold them shows pictures of the set by diagnosis again); in larger blocks more have none.


@dataclass(frozen=True)
class MorphologyField:
    """One field with labelled cells; cells that bear no label are not in it.

    group, key: see `SetPicture`. centres: float32 (n, 2), x y, px of the image. types: intp (n,),
    index into MORPHOLOGY_CLASSES.
    """

    path: Path
    group: str
    centres: NDArray[np.float32]
    types: NDArray[np.intp]
    key: str = ""


def read_labelled_fields(data: Path) -> list[MorphologyField]:
    """The fields of Chula RBC-12 that have labels, in the order of their numbers.

    Raises UsageError where the data root holds none, or a label file holds something else.
    """
    fields: list[MorphologyField] = []
    for picture in read_set(data, SOURCE):
        if picture.read_points is None:
            continue
        points = picture.read_points()
        if len(points.types):
            fields.append(
                MorphologyField(
                    picture.path, picture.group, points.centres, points.types, picture.key
                )
            )
    if not fields:
        raise UsageError(
            f"{data} holds no labelled field of {SOURCE}, which the types of red cells are learnt "
            "from"
        )
    return fields


def morphology_crops(data: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """Every labelled red cell of a data root as a crop, cut from its canonical field as on the
    device; those of own sets as well.

    Raises UsageError where the root holds neither Chula RBC-12 nor an own set with red cells.
    """
    names = {name: name for name in MORPHOLOGY_CLASSES}
    own = own_crops(data, options, cache, MORPHOLOGY_CLASSES, names)
    if own_alone(data):
        return joined(own)
    return joined([_labelled_crops(data, options, cache), *own])


def _labelled_crops(data: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """The cells of Chula RBC-12."""
    fields = read_labelled_fields(data)

    def make() -> dict[str, NDArray[Any]]:
        return {"codes": _cut(fields, options)}

    depends_on = {
        "pictures": [content_of(field.path) for field in fields],
        "centres": [field.centres for field in fields],
        "options": options,
        "scale": CHULA_UM_PER_PX,
    }
    counts = [len(field.types) for field in fields]
    return CellCrops(
        classes=MORPHOLOGY_CLASSES,
        codes=prepared(cache, "cell-crops", depends_on, make)["codes"],
        labels=np.concatenate([field.types for field in fields]),
        sources=np.full(sum(counts), SOURCE),
        groups=np.repeat([field.group for field in fields], counts),
        names=np.array(
            [
                f"{field.path.name} {round(float(x))},{round(float(y))}"
                for field in fields
                for x, y in field.centres
            ]
        ),
        um_per_px=options.um_per_px,
        files=tuple(field.path for field in fields for _ in field.types),
        keys=tuple(field.key for field in fields for _ in field.types),
    )


def cells_of_field(
    path: Path, centres: NDArray[np.float32], options: CropOptions, *, um_per_px: float | None
) -> NDArray[np.uint8]:
    """Crops of one field, uint8 (n, stored, stored, 3); centres x y in px of the image.

    um_per_px: of the image; None measures it on the red cells, as on a device without a profile.
    """
    field = canonical_field(read_frame(path), um_per_px=um_per_px)
    across, down = field.frame_px_per_canonical_px
    # A label names a whole pixel: its cell's middle is meant, half a pixel on.
    middles = (centres + 0.5) / np.array([across, down], np.float32)
    return crops_at(
        field.to_uint8(),
        middles.astype(np.float32),
        options.stored_px,
        field_px_per_crop_px=options.um_per_px / CANONICAL_UM_PER_PX,
    )


def _cut(fields: Sequence[MorphologyField], options: CropOptions) -> NDArray[np.uint8]:
    return np.concatenate(
        [
            cells_of_field(field.path, field.centres, options, um_per_px=CHULA_UM_PER_PX)
            for field in fields
        ]
    )
