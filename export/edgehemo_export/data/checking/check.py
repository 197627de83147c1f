"""`edgehemo data check`: everything that is wrong with a data root, in one report.

It stands on the manifest (`edgehemo dataset manifest` writes the same one down): the same readers,
fingerprints, duplicates and parts, so that the two never say different things.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo_export.data.checking.copies import copy_findings, group_findings
from edgehemo_export.data.checking.findings import Finding, below, finding, in_order
from edgehemo_export.data.checking.labels import (
    balance_findings,
    box_counts,
    class_counts,
    outside_findings,
)
from edgehemo_export.data.checking.reading import (
    changed_since_fetched,
    read_all,
    root_and_sets,
    without_their_other_half,
)
from edgehemo_export.data.checking.scales import MeasuredScale, measured_scales
from edgehemo_export.data.fetching.locks import read_lock
from edgehemo_export.data.manifest import DataManifest, manifest_of
from edgehemo_export.data.splits import read_recorded_splits

# Called with a word for the step, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CheckedSet:
    """Numbers of one set. classes: pictures of each class, or typed cells where cells bear the
    types. boxes: of each kind of cell. groups: of the split. scales: one a source with fields.
    """

    name: str
    pictures: int
    groups: int
    classes: dict[str, int]
    boxes: dict[str, int]
    scales: list[MeasuredScale]


@dataclass(frozen=True)
class Report:
    """root: the data root that paths are relative to. findings: the worst first."""

    root: Path
    sets: list[CheckedSet]
    findings: list[Finding]

    @property
    def broken(self) -> bool:
        """Whether something could not be read."""
        return any(item.code in _BROKEN for item in self.findings)

    @property
    def faults(self) -> int:
        """How many findings must be put right."""
        return sum(item.severity == "fault" for item in self.findings)


_BROKEN = ("picture_broken", "labels_broken", "own_set_broken")


def check(
    folder: Path,
    *,
    names: Sequence[str] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a data root, the folder of one set, or the named public sets of a root.

    cache: file that keeps the fingerprints of pictures. Raises UsageError where there is no set,
    and DataSetError where the record of what was fetched is damaged.
    """
    root, meant = root_and_sets(folder)
    chosen: Collection[str] | None = list(names) or meant
    found = read_all(root, chosen)
    manifest = manifest_of(
        root,
        found.pictures,
        cache=cache,
        recorded=read_recorded_splits(),
        progress=None
        if progress is None
        else (lambda done, total: progress("reading", done, total)),
    )
    findings = list(found.findings)
    findings += _broken_pictures(manifest)
    findings += changed_since_fetched(root, read_lock(root), chosen)
    findings += without_their_other_half(root, found.pictures)
    paths_by_key = {picture.key: below(root, picture.path) for picture in found.pictures}
    findings += outside_findings(found.pictures, manifest.by_path(), paths_by_key)
    findings += copy_findings(manifest)
    findings += group_findings(manifest)
    findings += balance_findings(manifest)
    scales, scale_findings = measured_scales(
        root,
        manifest,
        None if progress is None else (lambda done, total: progress("measuring", done, total)),
    )
    findings += scale_findings
    return Report(root, _sets(manifest, scales), in_order(findings))


def _broken_pictures(manifest: DataManifest) -> list[Finding]:
    """Each picture that cannot be read, with what is wrong with it."""
    return [
        finding("picture_broken", path.partition("/")[0], error, [path])
        for path, error in manifest.unreadable.items()
    ]


def _sets(manifest: DataManifest, scales: Sequence[MeasuredScale]) -> list[CheckedSet]:
    out = []
    for name in dict.fromkeys(row.set_name for row in manifest.rows):
        rows = manifest.of(name)
        out.append(
            CheckedSet(
                name=name,
                pictures=len(rows),
                groups=len({row.united_group for row in rows}),
                classes=class_counts(rows),
                boxes=box_counts(rows),
                scales=[scale for scale in scales if scale.set_name == name],
            )
        )
    return out
