"""Nucleated cells and platelets from the public sets, and what is neither, as crops.

PBC Barcelona and the LMU set hold one cell a picture; red cells and empty places are cut from the
sets of fields. Names and contents decide the groups of the split, so that one picture published in
two sets, or twice in one, lies on one side.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.crops import canonical_crop, crops_at
from edgehemo.errors import UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, UINT8_PER_TRANSMITTANCE
from edgehemo.images.reading import read_frame
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, cached_codes, joined
from edgehemo_export.data.datasets import LabelledImage, read_bccd, read_txl_pbc, with_right_kinds
from edgehemo_export.data.duplicates import duplicate_pairs, perceptual_hash, thumbnail, united
from edgehemo_export.data.readers import lmu, pbc, three_class
from edgehemo_export.data.readers.records import (
    FIELDS_PER_BLOCK,
    LMU_WIDTH_UM,
    PBC_WIDTH_UM,
    FoundPicture,
    pbc_group,
    trailing_number,
)
from edgehemo_export.models.classifiers.data import CentreChooser, centres_of, field_crops, rng_of

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
NUCLEATED_CLASSES: tuple[str, ...] = (*NUCLEATED_TYPES, OTHER)

# Red cells and empty places taken of each field.
_RED_CELLS_A_FIELD = 3
_EMPTY_PLACES_A_FIELD = 1
# An empty place shows no more than this share of azure-stained pixels (nuclei, platelets), which
# darken red light; red cells hardly do.
_AZURE_RED_BELOW = 0.72
_MAX_AZURE_SHARE = 0.004


# Sets of one cell a picture. The third holds pictures of the other two again, class and scanner
# confounded: for the comparison with Lateef et al. 2025, never beside them.
PICTURE_READERS = {reader.SOURCE: reader for reader in (pbc, lmu, three_class)}
# Sources of `other`, by the folder they are read from.
FIELD_SOURCES = ("chula_rbc12", "bccd", "txl_pbc")
# What is read where a configuration names no sets.
DEFAULT_SETS = ("pbc", "lmu", *FIELD_SOURCES)


def nucleated_crops(
    root: Path, options: CropOptions, cache: Path | None, sets: Sequence[str] = DEFAULT_SETS
) -> CellCrops:
    """Every crop of the named sets that a data root holds; UsageError where it holds none.

    A set of fields gives `other` only. Exact and near duplicates share a group.
    """
    unknown = [name for name in sets if name not in (*PICTURE_READERS, *FIELD_SOURCES)]
    if unknown:
        known = ", ".join((*PICTURE_READERS, *FIELD_SOURCES))
        raise UsageError(f"sets: no set {unknown[0]!r} of nucleated cells; there are {known}")
    found: list[CellCrops] = []
    for name in sets:
        folder = root / name
        if not folder.is_dir():
            continue
        if name in PICTURE_READERS:
            read = PICTURE_READERS[name].read(root, folder)
            pictures = [p for p in read if p.labels.class_name in NUCLEATED_TYPES]
            if pictures:
                found.append(_picture_crops(name, pictures, options, cache))
        else:
            found.append(_other_crops(name, folder, options, cache))
    if not found:
        raise UsageError(
            f"{root} holds none of the sets of nucleated cells ({', '.join(sets)}), "
            "each in its folder"
        )
    crops = joined(found)
    return grouped_with_duplicates(crops)


def unseen_white_cells(root: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """White cells of Raabin (TXL-PBC), a microscope and stain no classifier is trained on.

    Their types are not published there: all bear the label of `other`, which none of them is;
    evaluation asks only how many are taken for no cell.
    """
    images = [image for image in read_txl_pbc(root / "txl_pbc") if image.source == "txl_raabin"]
    return _cells_in_fields("raabin", images, centres_of("wbc"), options, cache)


def unnamed_white_cells(root: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    """White cells of BCCD, whose types are not published, at the scale the device would estimate.

    All bear the label of `other`, which none of them is. With BCCD's red cells alone in training
    its stain itself would mean `other`. No crops where the root lacks the set.
    """
    folder = root / "bccd"
    images = [with_right_kinds(i) for i in read_bccd(folder)] if folder.is_dir() else []
    return _cells_in_fields(
        "bccd-white", images, centres_of("wbc"), options, cache, estimated_scale=True
    )


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
    name: str, pictures: Sequence[FoundPicture], options: CropOptions, cache: Path | None
) -> CellCrops:
    files = [picture.path for picture in pictures]

    def make() -> NDArray[np.uint8]:
        return np.stack([_picture_codes(picture, options) for picture in pictures])

    key = f"{name}/{options.stored_px}/{options.um_per_px}/{PBC_WIDTH_UM}/{LMU_WIDTH_UM}"
    codes = cached_codes(key, files, make, cache)
    return CellCrops(
        classes=NUCLEATED_CLASSES,
        codes=codes,
        labels=np.array([NUCLEATED_CLASSES.index(_label(p)) for p in pictures], np.intp),
        sources=np.full(len(pictures), name),
        groups=np.array([p.group for p in pictures]),
        names=np.array([f"{name}/{p.path.name}" for p in pictures]),
        um_per_px=options.um_per_px,
        files=tuple(files),
    )


def _label(picture: FoundPicture) -> str:
    assert picture.labels.class_name is not None, "pictures without a class are left out"
    return picture.labels.class_name


def _picture_codes(picture: FoundPicture, options: CropOptions) -> NDArray[np.uint8]:
    pixels = read_frame(picture.path).pixels
    assert picture.width_um is not None, "the readers of single cells know the picture's width"
    scale = picture.width_um / max(pixels.shape[:2])
    return canonical_crop(pixels, scale, options.stored_px, crop_um_per_px=options.um_per_px)


def _other_crops(name: str, folder: Path, options: CropOptions, cache: Path | None) -> CellCrops:
    images: list[LabelledImage] = []
    if name == "chula_rbc12":
        images = list(_chula_red_cells(folder))
    elif name == "bccd":
        images = list(read_bccd(folder))
    else:
        originals = _txl_originals(folder)
        for image in read_txl_pbc(folder):
            if image.source == "txl_pbc":
                group = pbc_group(originals[image.path.name])
                images.append(
                    LabelledImage(
                        image.path, image.source, group, image.boxes, image.kinds, image.complete
                    )
                )
    return _cells_in_fields(name, images, _red_and_empty_centres, options, cache)


def _chula_red_cells(folder: Path) -> Iterator[LabelledImage]:
    """Chula's labelled red cells as points (boxes without extent); in both published layouts."""
    for images, labels in (("images", "labels"), ("Dataset", "Label")):
        for label in sorted((folder / labels).glob("*.txt")):
            path = folder / images / f"{label.stem}.jpg"
            rows = [line.split()[:2] for line in label.read_text(encoding="utf-8").splitlines()]
            points = np.array([[float(v) for v in row] for row in rows if len(row) == 2])
            if not path.is_file() or not len(points):
                continue
            block = trailing_number(label.stem) // FIELDS_PER_BLOCK
            yield LabelledImage(
                path=path,
                source="chula_rbc12",
                group=f"chula_rbc12-{block:03d}",
                boxes=np.hstack([points, points]).astype(np.float32),
                kinds=np.zeros(len(points), np.intp),
                complete=frozenset(),
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


def _txl_originals(folder: Path) -> dict[str, str]:
    """File names of TXL-PBC to the stems of the pictures they were cropped from."""
    table = folder / "sources.csv"
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {row["image"]: Path(row["original_name"]).stem for row in csv.DictReader(file)}


def grouped_with_duplicates(crops: CellCrops) -> CellCrops:
    """Groups joined wherever two crops of single-cell pictures show one picture, exactly or nearly
    (`duplicates`): PBC holds ten such pairs, one of them under two classes."""
    single = np.flatnonzero(np.isin(crops.sources, list(PICTURE_READERS)))
    if not len(single):
        return crops
    digests = [hashlib.sha256(crops.codes[i].tobytes()).hexdigest() for i in single]
    thumbnails = np.stack([thumbnail(crops.codes[i]) for i in single])
    hashes = np.array([perceptual_hash(small) for small in thumbnails], np.uint64)
    groups = [str(group) for group in crops.groups]
    root = united(
        groups,
        [
            (groups[single[pair.first]], groups[single[pair.second]])
            for pair in duplicate_pairs(digests, hashes, thumbnails)
        ],
    )
    return dataclasses.replace(crops, groups=np.array([root[group] for group in groups]))
