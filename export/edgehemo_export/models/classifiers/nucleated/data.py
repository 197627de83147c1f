"""Nucleated cells and platelets from the public sets, and what is neither, as crops.

PBC Barcelona and the LMU set hold one cell a picture; red cells and empty places are cut from the
sets of fields, and of BCCD's, whose white cells have published types, these and the platelets too.
What shows a kept-out picture again is not trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import NOT_A_CELL
from edgehemo.cells.crops import canonical_crop, crops_at
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, UINT8_PER_TRANSMITTANCE
from edgehemo.images.reading import read_frame
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, joined
from edgehemo_export.data.duplicates import duplicate_pairs, perceptual_hash, thumbnail
from edgehemo_export.data.relabels import LabelledImage, labelled, with_right_kinds
from edgehemo_export.data.sets import (
    bccd,
    chula_rbc12,
    lmu,
    pbc,
    read_set,
    set_folder,
    three_class,
    txl_pbc,
)
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.models.classifiers.data import (
    CentreChooser,
    centres_of,
    field_crops,
    rng_of,
)
from edgehemo_export.models.classifiers.own_cells import own_crops

# The contract's order, then the answer that means "no nucleated cell and no platelet".
NUCLEATED_TYPES: tuple[str, ...] = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature_granulocyte",
    "lymphocyte",
    "monocyte",
    "myeloblast",
    "neutrophil",
    "platelet",
)
OTHER = "other"
# What a cell that is called white, and no more, may be.
WHITE_CELL_TYPES: tuple[str, ...] = (
    "basophil",
    "eosinophil",
    "immature_granulocyte",
    "lymphocyte",
    "monocyte",
    "myeloblast",
    "neutrophil",
)
# What healthy blood holds of them.
HEALTHY_WHITE_CELLS: tuple[str, ...] = (
    "basophil",
    "eosinophil",
    "lymphocyte",
    "monocyte",
    "neutrophil",
)
NUCLEATED_CLASSES: tuple[str, ...] = (*NUCLEATED_TYPES, OTHER)

# What a class of an own set may be called -> ours.
OWN_NAMES = {**{name: name for name in NUCLEATED_CLASSES}, NOT_A_CELL: OTHER}

# Red cells and empty places taken of each field.
_RED_CELLS_A_FIELD = 3
_EMPTY_PLACES_A_FIELD = 1
# An empty place shows no more than this share of azure-stained pixels (nuclei, platelets), which
# darken red light; red cells hardly do.
_AZURE_RED_BELOW = 0.72
_MAX_AZURE_SHARE = 0.004


# Sets of one cell a picture. The third holds pictures of the other two again, class and scanner
# confounded: for the comparison with Lateef et al. 2025, never beside them.
PICTURE_SETS = (pbc.SOURCE, lmu.SOURCE, three_class.SOURCE)
# Sets of fields, sources of `other`.
FIELD_SETS = (chula_rbc12.SOURCE, bccd.SOURCE, txl_pbc.SOURCE)
# TXL-PBC's crops of Raabin-WBC: never trained on.
RAABIN = "txl_raabin"
# What is read where a configuration names no sets.
DEFAULT_SETS = (pbc.SOURCE, lmu.SOURCE, *FIELD_SETS)


def nucleated_crops(
    root: Path, options: CropOptions, cache: Path | None, sets: Sequence[str] = DEFAULT_SETS
) -> CellCrops:
    """Every crop of the named sets that a data root holds, and of own ones; UsageError where it
    holds none.

    A set of fields gives `other`; BCCD its white cells and platelets as well.
    """
    unknown = [name for name in sets if name not in (*PICTURE_SETS, *FIELD_SETS)]
    if unknown:
        known = ", ".join((*PICTURE_SETS, *FIELD_SETS))
        raise UsageError(f"sets: no set {unknown[0]!r} of nucleated cells; there are {known}")
    found = own_crops(root, options, cache, NUCLEATED_CLASSES, OWN_NAMES)
    for name in sets:
        if set_folder(root, name) is None:
            continue
        if name in PICTURE_SETS:
            pictures = [p for p in read_set(root, name) if p.labels.class_name in NUCLEATED_TYPES]
            if pictures:
                found.append(_picture_crops(name, pictures, options, cache))
        else:
            images = [i for p in read_set(root, name) if (i := _field_of_others(p)) is not None]
            found.append(_cells_in_fields(name, images, _red_and_empty_centres, options, cache))
            if name == bccd.SOURCE:
                found += [
                    typed_white_cells(root, options, cache),
                    platelets_of_fields(root, options, cache),
                ]
    if not found:
        raise UsageError(
            f"{root} holds none of the sets of nucleated cells ({', '.join(sets)}), "
            "each in its folder, and no set of one's own (dataset.toml)"
        )
    return without_kept_out_copies(joined(found))


def unseen_white_cells(root: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """White cells of Raabin (TXL-PBC), a microscope and stain no classifier is trained on.

    Their types are not published there: all bear the label of `other`, which none of them is;
    evaluation asks only how many are taken for no cell.
    """
    images = [
        image
        for picture in read_set(root, txl_pbc.SOURCE)
        if picture.source == RAABIN and (image := labelled(picture)) is not None
    ]
    return _cells_in_fields("raabin", images, centres_of("wbc"), options, cache)


def typed_white_cells(root: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """BCCD's white cells with their published types, at the scale the device would estimate.

    The types are named by picture, not by place: only pictures whose white cells all bear one type
    give any. No crops where the root lacks the set or its types.
    """
    named = {key: types.pop() for key, types in _white_cell_types(root).items() if len(types) == 1}
    images = [image for image in _bccd_fields(root) if image.key in named]
    crops = _cells_in_fields(
        "bccd-typed", images, centres_of("wbc"), options, cache, estimated_scale=True
    )
    labels = [NUCLEATED_CLASSES.index(named[key]) for key in crops.keys]
    return replace(crops, labels=np.array(labels, np.intp))


def platelets_of_fields(root: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """BCCD's platelets, at the scale the device would estimate: a second stain of that class."""
    images = _bccd_fields(root)
    crops = _cells_in_fields(
        "bccd-platelets", images, centres_of("platelet"), options, cache, estimated_scale=True
    )
    label = NUCLEATED_CLASSES.index("platelet")
    return replace(crops, labels=np.full(len(crops), label, np.intp))


def unnamed_white_cells(root: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """White cells of BCCD without a known type, at the scale the device would estimate.

    All bear the label of `other`, which none of them is. No crops where the root lacks the set.
    """
    types = _white_cell_types(root)
    images = [image for image in _bccd_fields(root) if len(types.get(image.key, ())) != 1]
    return _cells_in_fields(
        "bccd-white", images, centres_of("wbc"), options, cache, estimated_scale=True
    )


def _bccd_fields(root: Path) -> list[LabelledImage]:
    return [
        with_right_kinds(image)
        for picture in read_set(root, bccd.SOURCE)
        if (image := labelled(picture)) is not None
    ]


def _white_cell_types(root: Path) -> dict[str, set[str]]:
    """By picture (`SetPicture.key`) the types its white cells were given, none left out."""
    return {
        picture.key: set(picture.labels.cell_types)
        for picture in read_set(root, bccd.SOURCE)
        if picture.labels.cell_types
    }


def _cells_in_fields(
    key: str,
    images: Sequence[LabelledImage],
    choose: CentreChooser,
    options: CropOptions,
    cache: Path | None,
    *,
    estimated_scale: bool = False,
) -> CellCrops:
    """Places in fields as crops of `other`, see `field_crops`."""
    label = NUCLEATED_CLASSES.index(OTHER)
    return field_crops(
        key,
        images,
        choose,
        options,
        cache,
        NUCLEATED_CLASSES,
        label,
        estimated_scale=estimated_scale,
    )


def _picture_crops(
    name: str, pictures: Sequence[SetPicture], options: CropOptions, cache: Path | None
) -> CellCrops:
    def make() -> dict[str, NDArray[Any]]:
        return {"codes": np.stack([_picture_codes(picture, options) for picture in pictures])}

    depends_on = {
        "pictures": [(content_of(picture.path), picture.width_um) for picture in pictures],
        "side_px": options.stored_px,
        "um_per_px": options.um_per_px,
    }
    codes = prepared(cache, "cell-crops", depends_on, make)["codes"]
    return CellCrops(
        classes=NUCLEATED_CLASSES,
        codes=codes,
        labels=np.array([NUCLEATED_CLASSES.index(_label(p)) for p in pictures], np.intp),
        sources=np.full(len(pictures), name),
        groups=np.array([p.group for p in pictures]),
        names=np.array([f"{name}/{p.path.name}" for p in pictures]),
        um_per_px=options.um_per_px,
        files=tuple(picture.path for picture in pictures),
        keys=tuple(picture.key for picture in pictures),
    )


def _label(picture: SetPicture) -> str:
    assert picture.labels.class_name is not None, "pictures without a class are left out"
    return picture.labels.class_name


def _picture_codes(picture: SetPicture, options: CropOptions) -> NDArray[np.uint8]:
    pixels = read_frame(picture.path).pixels
    assert picture.width_um is not None, "the readers of single cells know the picture's width"
    scale = picture.width_um / max(pixels.shape[:2])
    return canonical_crop(pixels, scale, options.stored_px, crop_um_per_px=options.um_per_px)


def _field_of_others(picture: SetPicture) -> LabelledImage | None:
    """A field that red cells and empty places are cut from; None for what gives none.

    Chula's labelled red cells are points (boxes without extent); of TXL-PBC PBC's crops alone.
    """
    if picture.source == RAABIN:
        return None
    if picture.read_points is None:
        return labelled(picture) if picture.read_boxes is not None else None
    centres = picture.read_points().centres
    if not len(centres):
        return None
    return LabelledImage(
        path=picture.path,
        source=picture.source,
        group=picture.group,
        boxes=np.hstack([centres, centres]),
        kinds=np.zeros(len(centres), np.intp),
        complete=frozenset(),
        key=picture.key,
    )


def _red_and_empty_centres(
    image: LabelledImage, boxes: NDArray[np.float32], codes: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Some red cells and places without azure stain, canonical px, float32 (n, 2)."""
    rng = rng_of(image)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    red = centres[image.kinds == 0]
    chosen = [c for c in rng.permutation(red)[: 2 * _RED_CELLS_A_FIELD] if _free(codes, c)]
    chosen = chosen[:_RED_CELLS_A_FIELD]
    height, width = codes.shape[:2]
    tries = rng.uniform([0, 0], [width, height], (4 * _EMPTY_PLACES_A_FIELD, 2))
    chosen += [c for c in tries if _free(codes, c)][:_EMPTY_PLACES_A_FIELD]
    return np.array(chosen, np.float32).reshape(-1, 2)


def _free(codes: NDArray[np.uint8], centre: NDArray[np.float32]) -> bool:
    """No azure-stained matter in the middle 12 um round a place."""
    around = crops_at(codes, centre[None], round(12.0 / CANONICAL_UM_PER_PX))[0]
    azure = around[..., 0] < _AZURE_RED_BELOW * UINT8_PER_TRANSMITTANCE
    return bool(azure.mean() <= _MAX_AZURE_SHARE)


def without_kept_out_copies(crops: CellCrops) -> CellCrops:
    """Without the training crops of single-cell pictures that show, exactly or nearly, one that is
    kept out of training (`duplicates`).

    The recorded split has all copies that were found on one side; a data root may hold pictures
    that it does not know.
    """
    single = np.flatnonzero(np.isin(crops.sources, PICTURE_SETS))
    parts = crops.parts()
    if len(set(parts[single].tolist())) < 2:
        return crops
    digests = [hashlib.sha256(crops.codes[i].tobytes()).hexdigest() for i in single]
    thumbnails = np.stack([thumbnail(crops.codes[i]) for i in single])
    hashes = np.array([perceptual_hash(small) for small in thumbnails], np.uint64)
    keep = np.ones(len(crops), np.bool_)
    for pair in duplicate_pairs(digests, hashes, thumbnails):
        both = single[[pair.first, pair.second]]
        trained = both[parts[both] == "train"]
        if len(trained) == 1:
            keep[trained] = False
    return crops if keep.all() else crops.where(keep)
