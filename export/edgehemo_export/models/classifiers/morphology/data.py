"""Chula RBC-12 as crops of red cells, each with its type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.crops import crops_at
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, cached_codes, joined
from edgehemo_export.data.datasets import (
    LabelledImage,
    completed,
    read_bccd,
    read_chula_disease,
    read_txl_pbc,
)
from edgehemo_export.data.manifest import united_group
from edgehemo_export.data.readers import bccd, chula_disease, chula_rbc12, txl_pbc
from edgehemo_export.data.readers.records import FIELDS_PER_BLOCK, first_folder
from edgehemo_export.models.classifiers.data import CHULA_UM_PER_PX, field_crops, rng_of

SOURCE = chula_rbc12.SOURCE
LICENCE = "Chula RBC-12 (Chula-PIC-Lab), MIT"
# The published order of the label files' numbers.
MORPHOLOGY_CLASSES: tuple[str, ...] = chula_rbc12.TYPES
# In blocks of ten neighbouring fields (`FIELDS_PER_BLOCK`) nearly every type has cells on all sides
# of the split (few: uncategorised 4 in test, 3 in tune; no elliptocyte in test, for the block that
# would hold them shows pictures of the set by diagnosis again); in larger blocks more have none.


# Red cells taken of each field of the sets whose cells bear no type. The fields by diagnosis are of
# the labelled set's laboratory, and hold what it has few of; the others show other microscopes.
# Raabin's fields stay unseen by every classifier.
UNNAMED_A_FIELD = {chula_disease.SOURCE: 80, bccd.SOURCE: 12, txl_pbc.SOURCE: 6}


@dataclass(frozen=True)
class MorphologyField:
    """One field with labelled cells; cells that bear no label are not in it.

    group: the block of neighbouring numbers; blocks that share a picture are one.
    centres: float32 (n, 2), x y, px of the image.
    types: intp (n,), index into MORPHOLOGY_CLASSES.
    """

    path: Path
    group: str
    centres: NDArray[np.float32]
    types: NDArray[np.intp]


def read_labelled_fields(folder: Path) -> list[MorphologyField]:
    """Chula RBC-12's fields that have labels, in the order of their numbers.

    Takes ``images/ labels/`` as well as the published ``Dataset/ Label/``. Raises UsageError
    where the folder holds neither, or a label file holds something else.
    """
    images = first_folder(folder, ("images", "Dataset"))
    labels = first_folder(folder, ("labels", "Label"))
    if images is None or labels is None:
        raise UsageError(f"{folder} holds no Chula RBC-12 (the folders images and labels)")
    numbered = sorted((int(p.stem), p) for p in labels.glob("*.txt") if p.stem.isdigit())
    fields: list[MorphologyField] = []
    for number, label in numbered:
        image = images / f"{label.stem}.jpg"
        table = _label_table(label)
        if not image.is_file() or not len(table):
            continue
        fields.append(
            MorphologyField(
                path=image,
                group=united_group(f"{SOURCE}-{number // FIELDS_PER_BLOCK:03d}"),
                centres=table[:, :2].astype(np.float32),
                types=table[:, 2].astype(np.intp),
            )
        )
    if not fields:
        raise UsageError(f"{folder} holds no field with labels")
    return fields


def morphology_crops(data: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """Every labelled cell of a data root as a crop, cut from its canonical field as on the device.

    Raises UsageError where the root holds no Chula RBC-12.
    """
    if not (data / SOURCE).is_dir():
        raise UsageError(f"{data} holds no {SOURCE}, which the types of red cells are learnt from")
    fields = read_labelled_fields(data / SOURCE)
    paths = [field.path for field in fields]
    key = f"morphology/{FIELDS_PER_BLOCK}/{CHULA_UM_PER_PX}/{options.model_dump_json()}"
    codes = cached_codes(key, paths, lambda: _cut(fields, options), cache)
    counts = [len(field.types) for field in fields]
    if len(codes) != sum(counts):
        raise UsageError(f"{cache}: the cached crops are of other labels; delete the folder")
    return CellCrops(
        classes=MORPHOLOGY_CLASSES,
        codes=codes,
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
        files=tuple(path for path, count in zip(paths, counts, strict=True) for _ in range(count)),
    )


def unnamed_red_cells(data: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """Red cells of the sets that name no types, `UNNAMED_A_FIELD` of each field.

    Their labels mean nothing. BCCD and TXL-PBC are cut at the scale that their boxes give. Sets
    that the data root lacks have no crops.
    """
    readers = (
        (bccd.SOURCE, lambda folder: completed(read_bccd(folder))),
        (chula_disease.SOURCE, read_chula_disease),
        (txl_pbc.SOURCE, read_txl_pbc),
    )
    return joined(
        [
            field_crops(
                f"red cells of {source}/{UNNAMED_A_FIELD[source]}",
                [i for i in read(data / source) if i.source == source]
                if (data / source).is_dir()
                else [],
                _some_red_cells,
                options,
                cache,
                MORPHOLOGY_CLASSES,
                MORPHOLOGY_CLASSES.index("uncategorised"),
            )
            for source, read in readers
        ]
    )


def _some_red_cells(
    image: LabelledImage, boxes: NDArray[np.float32], codes: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """At most `UNNAMED_A_FIELD` of an image's red cells, the same at every call."""
    red = boxes[image.kinds == CELL_KINDS.index("rbc")]
    chosen = rng_of(image).permutation(len(red))[: UNNAMED_A_FIELD[image.source]]
    return np.asarray((red[chosen, :2] + red[chosen, 2:]) / 2, np.float32)


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


def _label_table(label: Path) -> NDArray[np.float64]:
    rows = [line.split() for line in label.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not rows:
        return np.empty((0, 3))
    try:
        table = np.array([[float(value) for value in row] for row in rows], np.float64)
    except ValueError:
        table = np.empty((0, 0))
    known = np.arange(len(MORPHOLOGY_CLASSES))
    if table.ndim != 2 or table.shape[1] != 3 or not np.isin(table[:, 2], known).all():
        raise UsageError(f"{label}: a line is not `x y type` with a type of 0 to {known[-1]}")
    return table
