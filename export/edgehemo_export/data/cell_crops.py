"""Crops of single cells with their labels, in memory as canonical codes, ready to be drawn from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.splits import Part, part_of

# Raise when what is stored changes, so that caches of the old kind are not read.
CACHE_VERSION = 1


class CropOptions(Configuration):
    """side_px: of the model's input. margin_px: more on each side is kept, so that a turned or
    shifted crop still shows the picture and no padding. um_per_px: scale of the crops."""

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
    files: what the crops were made of, one a crop.
    """

    classes: tuple[str, ...]
    codes: NDArray[np.uint8]
    labels: NDArray[np.intp]
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]
    names: NDArray[np.str_]
    um_per_px: float
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.codes), len(self.labels), len(self.sources), len(self.groups)}
        lengths |= {len(self.names), len(self.files) or len(self.codes)}
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
            files=tuple(f for f, keep in zip(self.files, mask, strict=True) if keep)
            if self.files
            else (),
        )

    def part(self, part: Part) -> CellCrops:
        """The crops of one part of the split."""
        return self.where(in_part(self.groups, part))

    def without(self, source: str | None) -> CellCrops:
        """All but one source; all where it is None."""
        return self if source is None else self.where(self.sources != source)

    def only(self, source: str) -> CellCrops:
        return self.where(self.sources == source)

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


def in_part(groups: NDArray[np.str_], part: Part) -> NDArray[np.bool_]:
    """bool (n,): which groups belong to a part."""
    parts = {group: part_of(group) == part for group in set(groups.tolist())}
    return np.array([parts[group] for group in groups.tolist()], np.bool_)


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
    )


def cached_codes(
    key: str, files: Sequence[Path], make: Callable[[], NDArray[np.uint8]], cache: Path | None
) -> NDArray[np.uint8]:
    """Codes made once: stored under a digest of ``key`` and the files' names, sizes and times."""
    if cache is None:
        return make()
    digest = hashlib.sha256(f"{CACHE_VERSION}/{key}".encode())
    for file in files:
        stat = file.stat()
        digest.update(f"{file.name}/{stat.st_size}/{stat.st_mtime_ns};".encode())
    path = cache / f"crops-{digest.hexdigest()[:24]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), np.uint8)
    codes = make()
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, codes, allow_pickle=False)
    part.replace(path)
    return codes
