"""What a check of data can find: one table of kinds, each with how bad it is and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgehemo.files.strict import Record

# "fault": training or a figure would be wrong; the check fails. "warning": look at it before a
# figure is believed. "note": good to know.
Severity = Literal["fault", "warning", "note"]
Code = Literal[
    "picture_broken",
    "labels_broken",
    "own_set_broken",
    "changed_since_fetched",
    "cells_outside",
    "two_classes",
    "parts_share_a_picture",
    "scale_contradicted",
    "published_parts_share_a_picture",
    "published_parts_share_a_group",
    "scale_differs",
    "few_of_a_class",
    "unbalanced",
    "label_without_picture",
    "picture_without_label",
    "same_picture",
    "scale_not_measured",
]


@dataclass(frozen=True)
class Kind:
    """severity, and action: what whoever reads of it shall do."""

    severity: Severity
    action: str


# The order is that in which findings are told.
KINDS: Mapping[Code, Kind] = {
    "picture_broken": Kind(
        "fault", "Copy or fetch the file again, or remove it together with its label."
    ),
    "labels_broken": Kind("fault", "Correct the file, or fetch the set again."),
    "own_set_broken": Kind("fault", "Do what the message says; this set was not checked."),
    "changed_since_fetched": Kind(
        "fault", "`edgehemo data get NAME --again` puts the published files back."
    ),
    "cells_outside": Kind(
        "fault",
        "The label belongs to another picture, or to one of another size: put the right picture "
        "beside it, or correct it.",
    ),
    "two_classes": Kind(
        "fault", "It is one picture: keep it under the right class, and remove the other."
    ),
    "parts_share_a_picture": Kind(
        "fault",
        "A model would be measured by what it learnt: remove one of the two, or give both one "
        "group.",
    ),
    "scale_contradicted": Kind(
        "fault", "Measure the scale with a stage micrometer, and correct the one that is stated."
    ),
    "published_parts_share_a_picture": Kind(
        "warning",
        "Do not measure by the parts as they are published: the split of `edgehemo train` keeps "
        "copies on one side.",
    ),
    "published_parts_share_a_group": Kind(
        "warning",
        "Do not measure by the parts as they are published: pictures of one slide or patient are "
        "on both sides.",
    ),
    "scale_differs": Kind(
        "warning",
        "The stated scale is an estimate. Look at some pictures: cells may be swollen or shrunken, "
        "or the pictures reduced.",
    ),
    "few_of_a_class": Kind(
        "warning", "Add pictures, or leave the class out: a figure of so few means little."
    ),
    "unbalanced": Kind(
        "note", "Read the figures of each class, and the mean over classes, not the accuracy alone."
    ),
    "label_without_picture": Kind("warning", "Add the picture, or remove the label."),
    "picture_without_label": Kind(
        "note", "Nothing is learnt from them; take them for pictures without cells nowhere."
    ),
    "same_picture": Kind(
        "note",
        "The split keeps them on one side. Call no set held out that shares pictures with one that "
        "was learnt from.",
    ),
    "scale_not_measured": Kind(
        "note", "Look at some pictures: too few whole red cells were seen to measure by."
    ),
}
assert set(KINDS) == set(get_args(Code))


class Finding(Record, frozen=True, kw_only=True):
    """One thing that was found. set_name: of the set, two with ``+`` where it is between them.
    says: what. action: what to do. files: relative to the data root, each entry one file, or the
    two that are meant together.
    """

    code: Code
    severity: Severity
    set_name: str
    says: str
    action: str
    files: list[list[str]]


def finding(
    code: Code, set_name: str, says: str, files: Sequence[str | Sequence[str]] = ()
) -> Finding:
    """A finding of a kind, with that kind's severity and action."""
    kind = KINDS[code]
    places = [[item] if isinstance(item, str) else list(item) for item in files]
    return Finding(
        code=code,
        severity=kind.severity,
        set_name=set_name,
        says=says,
        action=kind.action,
        files=places,
    )


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Findings as they are told: the worst first, of one kind in the order they were found."""
    order = {code: number for number, code in enumerate(KINDS)}
    rank = {"fault": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda item: (rank[item.severity], order[item.code]))


def below(root: Path, path: Path) -> str:
    """A path as findings name it: relative to the data root where it lies in it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
