"""Cells of a laboratory's own sets as crops, alone or beside the public ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS, CellKind
from edgehemo.cells.crops import canonical_crop, crops_at
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, canonical_field
from edgehemo.images.reading import read_frame
from edgehemo.records.exports.dataset import DATASET_FILE
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.canonical_set import scale_from_boxes
from edgehemo_export.data.cell_crops import CellCrops, CropOptions, joined
from edgehemo_export.data.sets.own import (
    KNOWN_CLASSES,
    MIN_GROUPS,
    NO_KIND,
    OwnField,
    OwnSet,
    class_of,
    own_alone,
    own_class_list,
    own_fields,
    own_pictures,
    own_sets,
)
from edgehemo_export.data.sets.own_layouts import LAYOUTS, Faults
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import ClassifierConfig

# Every class that a model learns, and the kinds of cell, which are none of a classifier.
KNOWN = KNOWN_CLASSES | frozenset(CELL_KINDS)
_RED: CellKind = "rbc"
# Of every batch, crops of own sets where there are public ones too: a few hundred cells beside ten
# thousand would hardly be seen. `source_weights` in a configuration says otherwise.
OWN_SHARE = 0.25

Config = TypeVar("Config", bound=ClassifierConfig)


def own_crops(
    root: Path,
    options: CropOptions,
    cache: Path | None,
    classes: Sequence[str],
    names: Mapping[str, str],
) -> list[CellCrops]:
    """The crops of each own set of a data root that has any of these classes.

    names: what a folder's class may be called -> the model's class. UsageError names the file that
    is wrong.
    """
    found = []
    for own in own_sets(root):
        known = frozenset(own.told.own_classes) or KNOWN | frozenset(classes)
        if own.in_fields:
            crops = _crops_of_fields(own, names, known, options, cache, tuple(classes))
        else:
            pictures = own_pictures(own, names, known)
            crops = _crops_of(own, pictures, options, cache, tuple(classes)) if pictures else None
        if crops is not None:
            found.append(crops)
    if own_alone(root):
        groups = {str(group) for crops in found for group in crops.groups}
        if not found:
            raise UsageError(
                f"{root}: holds no cell of {', '.join(sorted(set(names.values())))}, and no public "
                "set"
            )
        if len(groups) < MIN_GROUPS:
            raise UsageError(
                f"{root}: the cells come from {len(groups)} samples (groups); at least "
                f"{MIN_GROUPS} are needed, so that thresholds are set and figures measured on "
                f"samples that were not learnt from. Add samples, or put public sets beside it"
            )
    return found


def with_own_classes(spec: ClassifierSpec, classes: tuple[str, ...]) -> ClassifierSpec:
    """A classifier that answers a list of classes of one's own instead of its own.

    What means "no such cell" (`NO_KIND`) is no type. Nothing is known of harm among such classes.
    """
    names = {name: name for name in classes}

    def build(data: Path, config: ClassifierConfig, cache: Path | None) -> CellCrops:
        return joined(own_crops(data, config.crop, cache, classes, names))

    return replace(
        spec,
        says=f"{spec.says} Its classes are a laboratory's own.",
        classes=classes,
        rejects=tuple(name for name in classes if name in NO_KIND),
        build=build,
        unnamed=None,
        drawn=None,
        false_alarms=None,
        never_tested=("cells of any other laboratory",),
    )


def for_data(spec: ClassifierSpec, root: Path) -> ClassifierSpec:
    """The classifier as a data root asks for it: with its own classes, or with those of the root's
    own sets.
    """
    classes = own_class_list(root)
    return spec if classes is None else with_own_classes(spec, classes)


def for_own_alone(config: Config, root: Path) -> Config:
    """The configuration where there are own sets alone: what only public sets can give is left out,
    cells without types and shapes drawn from them.
    """
    if not own_alone(root):
        return config
    return config.model_copy(update={"unnamed_share": 0.0, "drawn_share": 0.0})


def weighted_for_own(config: Config, root: Path, crops: CellCrops) -> Config:
    """The configuration with own sets drawn in a quarter of the crops, where it does not weigh them
    itself and public sets are learnt from, too.
    """
    own = [item.told.name for item in own_sets(root)]
    sources = crops.sources.tolist()
    mine = sum(sources.count(name) for name in own)
    if not mine or any(name in config.source_weights for name in own):
        return config
    others = sum(config.source_weights.get(str(name), 1.0) for name in sources if name not in own)
    if not others:
        return config
    weight = max(1.0, OWN_SHARE / (1 - OWN_SHARE) * others / mine)
    return config.model_copy(
        update={"source_weights": {**config.source_weights, **dict.fromkeys(own, weight)}}
    )


def _crops_of(
    own: OwnSet,
    pictures: Sequence[SetPicture],
    options: CropOptions,
    cache: Path | None,
    classes: tuple[str, ...],
) -> CellCrops:
    def make() -> dict[str, NDArray[Any]]:
        return {"codes": np.stack([_codes(own, picture, options) for picture in pictures])}

    depends_on = {
        "own": [content_of(picture.path) for picture in pictures],
        "pixels": own.told.pixels,
        "scale": own.told.um_per_px,
        "side_px": options.stored_px,
        "um_per_px": options.um_per_px,
    }
    return CellCrops(
        classes=classes,
        codes=prepared(cache, "cell-crops", depends_on, make)["codes"],
        labels=np.array([classes.index(str(p.labels.class_name)) for p in pictures], np.intp),
        sources=np.full(len(pictures), own.told.name),
        groups=np.array([picture.group for picture in pictures]),
        names=np.array([f"{own.told.name}/{picture.original}" for picture in pictures]),
        um_per_px=options.um_per_px,
        files=tuple(picture.path for picture in pictures),
        keys=tuple(picture.key for picture in pictures),
    )


def _crops_of_fields(
    own: OwnSet,
    names: Mapping[str, str],
    known: Collection[str],
    options: CropOptions,
    cache: Path | None,
    classes: tuple[str, ...],
) -> CellCrops | None:
    """The cells of an own set's fields, each cut where it is told to lie; None where it has none of
    these classes.
    """
    faults = Faults()
    chosen: list[tuple[OwnField, list[int], list[str]]] = []
    for item in own_fields(own):
        named = [
            class_of(own, label, known, place, faults)
            for label, place in zip(item.cells.labels, item.cells.places, strict=True)
        ]
        wanted = [
            (index, names[name])
            for index, name in enumerate(named)
            if name is not None and name in names
        ]
        if wanted:
            chosen.append((item, [index for index, _ in wanted], [name for _, name in wanted]))
    faults.tell()
    if not chosen:
        return None

    def make() -> dict[str, NDArray[Any]]:
        cut = [_cut(own, item, item.cells.centres[which], options) for item, which, _ in chosen]
        return {"codes": np.concatenate(cut)}

    depends_on = {
        "own": [content_of(item.cells.path) for item, _, _ in chosen],
        "centres": [item.cells.centres[which] for item, which, _ in chosen],
        "boxes": [item.cells.boxes for item, _, _ in chosen],
        "labels": [list(item.cells.labels) for item, _, _ in chosen],
        "pixels": own.told.pixels,
        "scale": own.told.um_per_px,
        "side_px": options.stored_px,
        "um_per_px": options.um_per_px,
    }
    counts = [len(which) for _, which, _ in chosen]
    labels = [classes.index(name) for _, _, each in chosen for name in each]
    return CellCrops(
        classes=classes,
        codes=prepared(cache, "cell-crops", depends_on, make)["codes"],
        labels=np.array(labels, np.intp),
        sources=np.full(sum(counts), own.told.name),
        groups=np.repeat([item.group for item, _, _ in chosen], counts),
        names=np.array(
            [f"{item.key}#{index + 1}" for item, which, _ in chosen for index in which], np.str_
        ),
        um_per_px=options.um_per_px,
        files=tuple(item.cells.path for item, which, _ in chosen for _ in which),
        keys=tuple(item.key for item, which, _ in chosen for _ in which),
    )


def _cut(
    own: OwnSet, item: OwnField, centres: NDArray[np.float32], options: CropOptions
) -> NDArray[np.uint8]:
    """Crops round places of a field, px of its picture, uint8 (n, stored, stored, 3)."""
    told, side, path = own.told, options.stored_px, item.cells.path
    if told.pixels == "canonical":
        if told.um_per_px is None:
            raise UsageError(
                f"{own.folder / DATASET_FILE}: canonical pictures need their scale, um_per_px"
            )
        zoom = options.um_per_px / told.um_per_px
        return crops_at(_canonical(path), centres, side, field_px_per_crop_px=zoom)
    try:
        frame = read_frame(path)
        field = canonical_field(frame, um_per_px=told.um_per_px)
        if field.scale_source == "assumed":
            scale = _scale_of_boxes(own, item)
            if scale is None:
                raise UsageError(
                    f"{path}: shows no red cells that tell its scale; say um_per_px in "
                    f"{own.folder / DATASET_FILE}, or take the picture out"
                )
            field = canonical_field(frame, um_per_px=scale)
    except UsageError:
        raise
    except EdgeHemoError as error:
        raise UsageError(f"{error}; mend the picture or take it out of the set") from None
    per_px = np.array(field.frame_px_per_canonical_px, np.float32)
    zoom = options.um_per_px / CANONICAL_UM_PER_PX
    middles = np.asarray(centres / per_px, np.float32)
    return crops_at(field.to_uint8(), middles, side, field_px_per_crop_px=zoom)


def _scale_of_boxes(own: OwnSet, item: OwnField) -> float | None:
    """um/px by the boxed red cells, None where they are too few or points."""
    if not LAYOUTS[own.told.layout].boxed:
        return None
    red = [
        index
        for index, label in enumerate(item.cells.labels)
        if _RED in (label, own.told.classes.get(label), own.told.kinds.get(label))
    ]
    return scale_from_boxes(
        item.cells.boxes[red], np.full(len(red), CELL_KINDS.index(_RED), np.intp)
    )


def _codes(own: OwnSet, picture: SetPicture, options: CropOptions) -> NDArray[np.uint8]:
    """One cell's picture as canonical codes at the model's scale."""
    told = own.told
    if told.pixels == "photograph":
        try:
            pixels = read_frame(picture.path).pixels
            return canonical_crop(
                pixels, told.um_per_px, options.stored_px, crop_um_per_px=options.um_per_px
            )
        except EdgeHemoError as error:
            raise UsageError(f"{error}; mend the picture or take it out of the set") from None
    if told.um_per_px is None:
        raise UsageError(
            f"{own.folder / DATASET_FILE}: canonical pictures need their scale, um_per_px"
        )
    codes = _canonical(picture.path)
    height, width = codes.shape[:2]
    middle = np.array([[width / 2, height / 2]], np.float32)
    zoom = options.um_per_px / told.um_per_px
    return np.asarray(
        crops_at(codes, middle, options.stored_px, field_px_per_crop_px=zoom)[0], np.uint8
    )


def _canonical(path: Path) -> NDArray[np.uint8]:
    """Canonical codes, uint8 RGB: no photograph, so that even padding is no fault of it."""
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise UsageError(f"{path}: cannot be read; mend the picture or take it out of the set")
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)
