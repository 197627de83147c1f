"""Pictures that are there twice, and what that makes of parts and classes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from edgehemo.words.counted import counted
from edgehemo_export.data.checking.findings import Finding, finding
from edgehemo_export.data.duplicates import DuplicateKind
from edgehemo_export.data.manifest import DataManifest, DuplicateRow, ManifestRow, conflicting
from edgehemo_export.data.splits import part_of

_WORDS: Mapping[DuplicateKind, str] = {
    "exact": "byte for byte",
    "copy": "saved anew",
    "same_view": "another exposure",
}


def copy_findings(manifest: DataManifest) -> list[Finding]:
    """What the duplicates of a manifest mean: for the classes, for the parts that training makes,
    for the parts that were published, and for calling a set held out.
    """
    rows = manifest.by_path()
    out: list[Finding] = []
    for name, pairs in _by_sets(rows, conflicting(manifest)):
        says = f"{counted(len(pairs), 'picture')} under two classes"
        out.append(finding("two_classes", name, says, pairs))
    # The parts as training makes them: by the shipped record and the group's name, without looking
    # for copies in this very folder.
    apart = [
        pair
        for pair in manifest.duplicates
        if part_of(rows[pair.first].group) != part_of(rows[pair.second].group)
    ]
    for name, pairs in _by_sets(rows, apart):
        says = f"{counted(len(pairs), 'pair')} of copies in two parts of the split"
        out.append(finding("parts_share_a_picture", name, says, pairs))
    published = [
        pair
        for pair in manifest.duplicates
        if _published_apart(rows[pair.first], rows[pair.second])
    ]
    for name, pairs in _by_sets(rows, published):
        says = f"{counted(len(pairs), 'pair')} of copies in two published parts"
        out.append(finding("published_parts_share_a_picture", name, says, pairs))
    for name, pairs in _by_sets(rows, manifest.duplicates):
        out.append(finding("same_picture", name, _said(name, manifest.duplicates, rows), pairs))
    return out


def group_findings(manifest: DataManifest) -> list[Finding]:
    """Groups (slides, patients, blocks of numbers) that lie in several published parts."""
    parts: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in manifest.rows:
        if row.published_part is not None:
            parts[row.set_name, row.group][row.published_part].append(row.path)
    torn: dict[str, list[list[str]]] = defaultdict(list)
    for (set_name, _), by_part in parts.items():
        if len(by_part) > 1:
            torn[set_name].append([paths[0] for paths in by_part.values()][:2])
    return [
        finding(
            "published_parts_share_a_group",
            name,
            f"{counted(len(pairs), 'group')} of pictures in several published parts",
            pairs,
        )
        for name, pairs in torn.items()
    ]


def _published_apart(one: ManifestRow, other: ManifestRow) -> bool:
    return (
        one.set_name == other.set_name
        and one.published_part is not None
        and other.published_part is not None
        and one.published_part != other.published_part
    )


def _by_sets(
    rows: Mapping[str, ManifestRow], pairs: list[DuplicateRow]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Pairs by the set or sets they are of, in the order they were found."""
    found: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        found.setdefault(_sets_of(rows, pair), []).append((pair.first, pair.second))
    return list(found.items())


def _sets_of(rows: Mapping[str, ManifestRow], pair: DuplicateRow) -> str:
    names = (rows[pair.first].set_name, rows[pair.second].set_name)
    return " + ".join(dict.fromkeys(names))


def _said(name: str, pairs: list[DuplicateRow], rows: Mapping[str, ManifestRow]) -> str:
    kinds = Counter(pair.kind for pair in pairs if _sets_of(rows, pair) == name)
    told = ", ".join(f"{kinds[kind]} {word}" for kind, word in _WORDS.items() if kinds[kind])
    return f"{counted(kinds.total(), 'pair')} of copies ({told})"
