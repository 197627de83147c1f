"""Crops of single cells with their labels, in memory as canonical codes, ready to be drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.splits import CURRENT, ModelSplit, Part

T = TypeVar("T")


class CropOptions(Configuration):
    """side_px: of the model's input. margin_px: more on each side is kept, so that a turned or
    shifted crop still shows the picture and no padding. um_per_px: scale of the crops.
    """

    side_px: int = 96
    margin_px: int = 16
    um_per_px: float = 0.25

    @property
    def stored_px(self) -> int:
        return self.side_px + 2 * self.margin_px


@dataclass(frozen=True)
class CellCrops:
    """Labelled crops.

    classes: names, in the order of the model's outputs. codes: uint8 (n, s, s, 3), canonical
    codes, s = `CropOptions.stored_px`, the cell in the middle. labels: intp (n,), index into
    classes. sources, groups, names: one a crop: the set, what must stay on one side of the split
    (slide, patient, block), and what a person would call the crop by. um_per_px: of the crops.
    files, keys: what the crops were made of, one a crop: see `SetPicture.key`.
    """

    classes: tuple[str, ...]
    codes: NDArray[np.uint8]
    labels: NDArray[np.intp]
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]
    names: NDArray[np.str_]
    um_per_px: float
    files: tuple[Path, ...] = ()
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.codes), len(self.labels), len(self.sources), len(self.groups)}
        lengths |= {len(self.names)}
        lengths |= {len(own) or len(self.codes) for own in (self.files, self.keys)}
        if len(lengths) != 1:
            raise ValueError(f"crops and their labels differ in number: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, mask: NDArray[np.bool_]) -> CellCrops:
        """The crops under a mask, bool (n,)."""
        return dataclasses.replace(
            self,
            codes=self.codes[mask],
            labels=self.labels[mask],
            sources=self.sources[mask],
            groups=self.groups[mask],
            names=self.names[mask],
            files=_under(self.files, mask),
            keys=_under(self.keys, mask),
        )

    def part(self, part: Part, split: ModelSplit = CURRENT) -> CellCrops:
        """The crops of one part of the split, as a model may be measured by it."""
        return self.where(self.parts(split) == part)

    def parts(self, split: ModelSplit = CURRENT) -> NDArray[np.str_]:
        """The part of each crop, str (n,); empty where the splits behind a model disagree."""
        keys = self.keys or ("",) * len(self)
        pictures = list(zip(self.groups.tolist(), keys, strict=True))
        known = {picture: split.part_of(*picture) or "" for picture in set(pictures)}
        return np.array([known[picture] for picture in pictures], np.str_)

    def without(self, source: str | None) -> CellCrops:
        """All but one source; all where it is None."""
        return self if source is None else self.where(self.sources != source)

    def only(self, source: str) -> CellCrops:
        return self.where(self.sources == source)

    def among(self, classes: tuple[str, ...]) -> CellCrops:
        """The crops of the first so many classes, as if there were no others."""
        if classes != self.classes[: len(classes)]:
            raise UsageError("the first of the crops' classes are needed, in their order")
        return dataclasses.replace(self.where(self.labels < len(classes)), classes=classes)

    def as_unlabelled(self, classes: tuple[str, ...]) -> CellCrops:
        """The crops under other classes, their labels the first one's, which means nothing."""
        return dataclasses.replace(self, classes=classes, labels=np.zeros_like(self.labels))

    def middle(self, side_px: int) -> NDArray[np.uint8]:
        """The model's input: the middle of each crop, uint8 (n, side, side, 3)."""
        start = (self.codes.shape[1] - side_px) // 2
        return np.ascontiguousarray(self.codes[:, start : start + side_px, start : start + side_px])

    def counts(self) -> dict[str, dict[str, int]]:
        """Crops of each source and class."""
        out: dict[str, dict[str, int]] = {}
        for source in sorted(set(self.sources.tolist())):
            of = self.labels[self.sources == source]
            tally = np.bincount(of, minlength=len(self.classes))
            out[source] = {
                name: int(count) for name, count in zip(self.classes, tally, strict=True) if count
            }
        return out


def joined(sets: Sequence[CellCrops]) -> CellCrops:
    """Several sets of the same classes, scale and size as one."""
    first = sets[0]
    for other in sets[1:]:
        same = other.classes == first.classes and other.um_per_px == first.um_per_px
        if not same or other.codes.shape[1:] != first.codes.shape[1:]:
            raise UsageError("crop sets of different classes, scales or sizes cannot be joined")
    return CellCrops(
        classes=first.classes,
        codes=np.concatenate([s.codes for s in sets]),
        labels=np.concatenate([s.labels for s in sets]),
        sources=np.concatenate([s.sources for s in sets]),
        groups=np.concatenate([s.groups for s in sets]),
        names=np.concatenate([s.names for s in sets]),
        um_per_px=first.um_per_px,
        files=tuple(f for s in sets for f in s.files)
        if all(len(s.files) == len(s) for s in sets)
        else (),
        keys=tuple(k for s in sets for k in s.keys)
        if all(len(s.keys) == len(s) for s in sets)
        else (),
    )


def _under(values: tuple[T, ...], mask: NDArray[np.bool_]) -> tuple[T, ...]:
    """The values under a mask; none where there are none."""
    return tuple(v for v, keep in zip(values, mask, strict=True) if keep) if values else ()
