"""Duplicates found by hash: what is left out, and which groups are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgehemo_export.data.duplicates import DuplicatePair, duplicate_pairs, united
from edgehemo_export.studies.remya.cohorts import StudyPicture
from edgehemo_export.studies.remya.pictures import Decoded


@dataclass(frozen=True)
class Screened:
    """pictures: what is left, their groups joined where they share a view. copies: left out, the
    same exposure as another one. contradicted: left out, one view in both classes. pairs: how many
    of each kind, and of these how many would have come apart in groups as they were.
    """

    pictures: list[StudyPicture]
    copies: list[StudyPicture]
    contradicted: list[StudyPicture]
    pairs: dict[str, int]
    joined_groups: int


def screened(pictures: Sequence[StudyPicture], arrays: Decoded) -> Screened:
    """Screen the pictures of a cohort, each file once, tiles with their picture.

    Copies (the same bytes, or the same exposure saved otherwise) go but for the first; views that
    were photographed twice stay and share a group; a view that stands in both classes goes.
    """
    files = list(dict.fromkeys(picture.path for picture in pictures))
    first = {picture.path: picture for picture in reversed(pictures)}
    places = arrays.places([first[path] for path in files])
    pairs = duplicate_pairs(
        [str(arrays.digests[place]) for place in places],
        arrays.hashes[places],
        arrays.thumbnails[places],
    )
    both = _contradicted(pairs, [first[path].label for path in files])
    copies = {
        pair.second
        for pair in pairs
        if pair.kind != "same_view" and pair.first not in both and pair.second not in both
    }
    groups = united(
        {picture.group for picture in pictures},
        ((first[files[p.first]].group, first[files[p.second]].group) for p in pairs),
    )
    index = {path: place for place, path in enumerate(files)}
    gone = copies | both
    kept = [
        replace(picture, group=groups[picture.group])
        for picture in pictures
        if index[picture.path] not in gone
    ]
    kinds = {kind: sum(pair.kind == kind for pair in pairs) for kind in _KINDS}
    kinds["across_groups"] = sum(
        first[files[p.first]].group != first[files[p.second]].group for p in pairs
    )
    return Screened(
        pictures=kept,
        copies=[p for p in pictures if index[p.path] in copies],
        contradicted=[p for p in pictures if index[p.path] in both],
        pairs=kinds,
        joined_groups=len(groups) - len(set(groups.values())),
    )


_KINDS = ("exact", "copy", "same_view")


def _contradicted(pairs: Sequence[DuplicatePair], labels: Sequence[int]) -> set[int]:
    """Files of views that stand in both classes."""
    return {
        place
        for pair in pairs
        if labels[pair.first] != labels[pair.second]
        for place in (pair.first, pair.second)
    }
