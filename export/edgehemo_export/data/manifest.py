"""The manifest: one table over all public sets, with duplicates found and the split written down.

`build_manifest` reads every set of a data root, hashes every picture once (kept in a cache file),
finds duplicates across sets and resolutions, joins the groups that share one, and gives each
joined group its part. Parts once written down are kept by later builds.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgehemo.cells.cell import CellKind
from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_text_atomically
from edgehemo_export.data.duplicates import DuplicateKind, DuplicatePair, duplicate_pairs, united
from edgehemo_export.data.fingerprints import Progress, fingerprints, relative_path
from edgehemo_export.data.sets import read_data_root
from edgehemo_export.data.sets.picture import Labels, PictureKind, ScaleKnown, SetPicture
from edgehemo_export.data.splits import (
    SHORT_DIGEST,
    SPLIT_NAME,
    SPLITS_SCHEMA,
    Part,
    RecordedSplits,
    hashed_part,
    joined_by_part,
    read_strictly,
    strictest,
)

MANIFEST_SCHEMA = "edgehemo.manifest/1"
# Name of the summary over every set.
ALL_SETS = "all"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ManifestRow(_Strict):
    """One picture.

    set_name: the public set; source: with the microscope where a set has several. path: relative
    to the data root, with slashes. group: what its reader says must stay on one side of a split;
    united_group: the same after groups that share a picture are joined. um_per_px: of the file as
    it is. complete: kinds of which every cell is labelled. perceptual_hash: 16 hexadecimal digits.
    duplicate_of: path of the row that counts as the original, if this is not it.
    """

    set_name: str
    source: str
    path: str
    kind: PictureKind
    original: str
    group: str
    united_group: str
    part: Part
    width_px: Annotated[int, Field(gt=0)]
    height_px: Annotated[int, Field(gt=0)]
    um_per_px: Annotated[float, Field(gt=0)] | None
    scale_known: ScaleKnown
    labels: Labels
    complete: list[CellKind]
    published_part: str | None
    licence: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    perceptual_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    duplicate_of: str | None = None


class DuplicateRow(_Strict):
    """Two rows that show one thing; see `duplicates.DuplicatePair`."""

    first: str
    second: str
    kind: DuplicateKind
    bits: int
    correlation: float


class DataManifest(_Strict):
    """Rows in the order of sets and paths; unreadable: path and what is wrong with it."""

    manifest_schema: Literal["edgehemo.manifest/1"] = Field(alias="schema")
    split: str
    rows: list[ManifestRow]
    duplicates: list[DuplicateRow]
    unreadable: dict[str, str] = Field(default_factory=dict)

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def by_path(self) -> dict[str, ManifestRow]:
        """Rows by their path."""
        return {row.path: row for row in self.rows}

    def of(self, set_name: str, part: Part | None = None) -> list[ManifestRow]:
        """The rows of a set, or of one part of it."""
        return [
            row
            for row in self.rows
            if row.set_name == set_name and (part is None or row.part == part)
        ]


@dataclass(frozen=True)
class SetSummary:
    """Numbers of one set, or of all together."""

    name: str
    pictures: int
    labels: dict[str, int]
    cells: int
    groups: int
    parts: dict[str, int]
    duplicates_within: int
    duplicates_across: int


def build_manifest(
    root: Path,
    *,
    sets: Iterable[str] | None = None,
    cache: Path | None = None,
    recorded: RecordedSplits | DataManifest | None = None,
    progress: Progress | None = None,
) -> DataManifest:
    """The manifest of every set below ``root``, or of the named ones; see `manifest_of`.

    Raises UsageError where the root holds no set.
    """
    found = list(read_data_root(root, sets))
    return manifest_of(root, found, cache=cache, recorded=recorded, progress=progress)


def manifest_of(
    root: Path,
    found: Sequence[SetPicture],
    *,
    cache: Path | None = None,
    recorded: RecordedSplits | DataManifest | None = None,
    progress: Progress | None = None,
) -> DataManifest:
    """The manifest of pictures that were found below ``root``.

    cache: file that keeps the fingerprints by path, size and time of change. recorded: parts to
    keep. progress: called with pictures hashed and their total. Pictures that cannot be read are
    listed and left out.
    """
    readable, prints, unreadable = fingerprints(root, found, cache, progress)
    pictures = [found[i] for i in readable]
    pairs = duplicate_pairs(prints.digests, prints.hashes, prints.thumbnails)
    joined = united(
        (picture.group for picture in pictures),
        ((pictures[p.first].group, pictures[p.second].group) for p in pairs),
    )
    groups = [joined[picture.group] for picture in pictures]
    parts = _parts(groups, pictures, prints.digests, recorded)
    originals = _originals(len(pictures), pairs)
    paths = [relative_path(root, picture.path) for picture in pictures]
    rows = [
        _row(
            picture,
            path=paths[i],
            united_group=groups[i],
            part=parts[groups[i]],
            size=(int(prints.sizes[i, 0]), int(prints.sizes[i, 1])),
            sha256=prints.digests[i],
            perceptual=int(prints.hashes[i]),
            duplicate_of=None if originals[i] == i else paths[originals[i]],
        )
        for i, picture in enumerate(pictures)
    ]
    return DataManifest(
        manifest_schema=MANIFEST_SCHEMA,
        split=SPLIT_NAME,
        rows=rows,
        duplicates=[
            DuplicateRow(
                first=paths[p.first],
                second=paths[p.second],
                kind=p.kind,
                bits=p.bits,
                correlation=p.correlation,
            )
            for p in pairs
        ],
        unreadable=unreadable,
    )


def read_manifest(path: Path) -> DataManifest:
    """A manifest that was written down; UsageError where it is none."""
    return read_strictly(path, DataManifest, MANIFEST_SCHEMA, "edgehemo dataset manifest")


def write_manifest(path: Path, manifest: DataManifest) -> None:
    """Write as JSON, a line a row, so that two versions can be compared line by line."""
    head = manifest.model_dump(mode="json", by_alias=True, exclude={"rows", "duplicates"})
    parts = [f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in head.items()]
    for key, items in (("rows", manifest.rows), ("duplicates", manifest.duplicates)):
        lines = ",\n".join(item.model_dump_json() for item in items)
        parts.append(f'"{key}": [\n{lines}\n]')
    write_text_atomically(path, "{\n" + ",\n".join(parts) + "\n}\n")


def recorded_splits(manifest: DataManifest) -> RecordedSplits:
    """The manifest's split in short."""
    return RecordedSplits(
        splits_schema=SPLITS_SCHEMA,
        split=manifest.split,
        by_content=joined_by_part(
            [(row.sha256[:SHORT_DIGEST], row.part) for row in manifest.rows], ""
        ),
        by_group=joined_by_part([(row.united_group, row.part) for row in manifest.rows], "\n"),
        united=dict(
            sorted(
                {
                    row.group: row.united_group
                    for row in manifest.rows
                    if row.group != row.united_group
                }.items()
            )
        ),
        duplicates=_duplicate_digests(manifest),
    )


def summarise(manifest: DataManifest) -> list[SetSummary]:
    """Numbers by set, in the order of the manifest, then of all."""
    within, across = _duplicate_counts(manifest)
    names = list(dict.fromkeys(row.set_name for row in manifest.rows))
    made = [_summary(name, manifest.of(name), within[name], across[name]) for name in names]
    both = sum(across.values()) // 2
    return [*made, _summary(ALL_SETS, manifest.rows, sum(within.values()), both)]


def straddling(manifest: DataManifest, part: Callable[[ManifestRow], Part]) -> list[DuplicateRow]:
    """Duplicates that a way of splitting puts into two parts, such as `part_by_group_alone`.

    Of a manifest's own parts there are none.
    """
    rows = manifest.by_path()
    return [
        pair for pair in manifest.duplicates if part(rows[pair.first]) != part(rows[pair.second])
    ]


def conflicting(manifest: DataManifest) -> list[DuplicateRow]:
    """Duplicates that bear two class names: one of them is wrong, or the picture shows both."""
    rows = manifest.by_path()
    found = []
    for pair in manifest.duplicates:
        one, other = rows[pair.first].labels.class_name, rows[pair.second].labels.class_name
        if one is not None and other is not None and one != other:
            found.append(pair)
    return found


def part_by_group_alone(row: ManifestRow) -> Part:
    """The part that the group's name gives without looking for duplicates."""
    return hashed_part(row.group)


def _row(
    picture: SetPicture,
    *,
    path: str,
    united_group: str,
    part: Part,
    size: tuple[int, int],
    sha256: str,
    perceptual: int,
    duplicate_of: str | None,
) -> ManifestRow:
    scale = None if picture.width_um is None else round(picture.width_um / size[0], 5)
    return ManifestRow(
        set_name=picture.set_name,
        source=picture.source,
        path=path,
        kind=picture.kind,
        original=picture.original,
        group=picture.group,
        united_group=united_group,
        part=part,
        width_px=size[0],
        height_px=size[1],
        um_per_px=scale,
        scale_known=picture.scale_known,
        labels=picture.labels,
        complete=list(picture.complete),
        published_part=picture.published_part,
        licence=picture.licence,
        sha256=sha256,
        perceptual_hash=f"{perceptual:016x}",
        duplicate_of=duplicate_of,
    )


def _parts(
    groups: Sequence[str],
    pictures: Sequence[SetPicture],
    digests: Sequence[str],
    recorded: RecordedSplits | DataManifest | None,
) -> dict[str, Part]:
    """Part of each united group: as recorded by content, else by a group's name, else hashed."""
    if isinstance(recorded, DataManifest):
        recorded = recorded_splits(recorded)
    parts = {group: hashed_part(group) for group in groups}
    if recorded is None:
        return parts
    if recorded.split != SPLIT_NAME:
        raise UsageError(
            f"the recorded split is {recorded.split!r} and this version splits by {SPLIT_NAME!r}; "
            "build without it or with the version that made it"
        )
    by_content, by_group = recorded.part_of_content(), recorded.part_of_group()
    contents: dict[str, set[Part]] = defaultdict(set)
    names: dict[str, set[Part]] = defaultdict(set)
    for group, picture, digest in zip(groups, pictures, digests, strict=True):
        known = by_content.get(digest[:SHORT_DIGEST])
        if known is not None:
            contents[group].add(known)
        named = by_group.get(recorded.united.get(picture.group, picture.group))
        if named is not None:
            names[group].add(named)
    for group in parts:
        said = contents[group] or names[group]
        if said:
            parts[group] = strictest(said)
    return parts


def _originals(count: int, pairs: Iterable[DuplicatePair]) -> list[int]:
    """Index of the first picture that shows the same thing, for every picture."""
    names = [f"{i:08d}" for i in range(count)]
    joined = united(names, ((names[p.first], names[p.second]) for p in pairs))
    return [int(joined[name]) for name in names]


def _duplicate_digests(manifest: DataManifest) -> list[list[str]]:
    members: dict[str, set[str]] = defaultdict(set)
    for row in manifest.rows:
        members[row.duplicate_of or row.path].add(row.sha256[:SHORT_DIGEST])
    return sorted(sorted(found) for found in members.values() if len(found) > 1)


def _duplicate_counts(manifest: DataManifest) -> tuple[Counter[str], Counter[str]]:
    """Pairs by set: within it, and of it with another (each such pair counts for both sets)."""
    names = {row.path: row.set_name for row in manifest.rows}
    within: Counter[str] = Counter()
    across: Counter[str] = Counter()
    for pair in manifest.duplicates:
        one, other = names[pair.first], names[pair.second]
        if one == other:
            within[one] += 1
        else:
            across.update((one, other))
    return within, across


def _summary(name: str, rows: Sequence[ManifestRow], within: int, across: int) -> SetSummary:
    labels = Counter(kind for row in rows for kind in row.labels.kinds())
    cells = 0
    for row in rows:
        boxes, points = row.labels.boxes, row.labels.points
        cells += sum(boxes.counts.values()) if boxes else 0
        cells += sum(points.counts.values()) if points else 0
    parts = Counter(row.part for row in rows)
    return SetSummary(
        name=name,
        pictures=len(rows),
        labels=dict(sorted(labels.items())),
        cells=cells,
        groups=len({row.united_group for row in rows}),
        parts={part: parts[part] for part in ("train", "tune", "test")},
        duplicates_within=within,
        duplicates_across=across,
    )
