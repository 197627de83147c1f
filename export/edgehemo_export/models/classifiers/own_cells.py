"""Cells of a laboratory's own sets as crops, alone or beside the public ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import NOT_A_CELL
from edgehemo.cells.crops import canonical_crop, crops_at
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.images.reading import read_frame
from edgehemo.records.exports.dataset import DATASET_FILE
from edgehemo.report.asked_cells import TYPES_OF_KIND
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.cell_crops import CellCrops, CropOptions
from edgehemo_export.data.sets.own import MIN_GROUPS, OwnSet, own_alone, own_pictures, own_sets
from edgehemo_export.data.sets.picture import SetPicture
from edgehemo_export.models.classifiers.training import ClassifierConfig

# Every class that a person can give a cell at the kiosk, and what is none.
KNOWN = frozenset(
    {NOT_A_CELL, "other", *(name for each in TYPES_OF_KIND.values() for name in each)}
)
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
        pictures = own_pictures(own, names, KNOWN | set(classes))
        if pictures:
            found.append(_crops_of(own, pictures, options, cache, tuple(classes)))
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
