"""Data sets of a laboratory's own: a folder with ``dataset.toml``, and cells in one of its layouts.

Such a set lies in a data root beside the public ones, or is the root itself. The kiosk's reviewed
cells are exported so (`edgehemo.records.exports.dataset`); one that a person makes has the same
file. What is wrong in it is told with the file and what to do.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgehemo.cells.cell import CELL_KINDS, NOT_A_CELL, CellKind
from edgehemo.errors import UsageError
from edgehemo.records.exports.dataset import (
    CELLS_FOLDER,
    CELLS_TABLE,
    DATASET_FILE,
    IMAGES_FOLDER,
    DatasetFile,
    read_dataset,
)
from edgehemo.report.asked_cells import TYPES_OF_KIND
from edgehemo_export.data.cache import content_of
from edgehemo_export.data.sets import READERS, set_folder
from edgehemo_export.data.sets.own_layouts import LAYOUTS, Faults, FieldCells, read_fields
from edgehemo_export.data.sets.picture import (
    BoxLabels,
    CellBoxes,
    Labels,
    SetPicture,
    pictures_in,
)
from edgehemo_export.data.splits import OWN_GROUP, PARTS, Part, hashed_part

# Groups (samples) that a set alone needs: one is kept out to set thresholds, one to measure by.
MIN_GROUPS = 3
# Names of pictures that an error lists.
_NAMED = 3
# What a person can call a cell at the kiosk, which is no kind of cell to be found.
NO_KIND = (NOT_A_CELL, "other")
# Every class that a person can give a cell at the kiosk, and what is none.
KNOWN_CLASSES: frozenset[str] = frozenset(
    {*NO_KIND, *(name for each in TYPES_OF_KIND.values() for name in each)}
)


@dataclass(frozen=True)
class OwnSet:
    """folder: of the set. told: what its ``dataset.toml`` says."""

    folder: Path
    told: DatasetFile

    @property
    def in_fields(self) -> bool:
        """Whether its cells are told in whole fields, not cut out."""
        return self.told.layout in LAYOUTS

    @property
    def licence(self) -> str:
        """A line for the model card."""
        terms = self.told.licence or f"licence not stated in {DATASET_FILE}"
        drawn = ", SIMULATED" if self.told.simulated else ""
        return f"{self.told.name}: own cells{drawn}, {terms}"


def own_sets(root: Path) -> list[OwnSet]:
    """The own sets of a data root, by name. UsageError where one cannot be used, or two are called
    the same.
    """
    folders = (
        [root]
        if (root / DATASET_FILE).is_file()
        else sorted(path.parent for path in root.glob(f"*/{DATASET_FILE}"))
    )
    found: dict[str, OwnSet] = {}
    for folder in folders:
        told = read_dataset(folder)
        if told.name in READERS:
            raise UsageError(
                f"{folder / DATASET_FILE}: {told.name} is the name of a public set; choose another"
            )
        if told.name in found:
            raise UsageError(
                f"{folder / DATASET_FILE}: {found[told.name].folder} is called {told.name}, too; "
                "give each set a name of its own"
            )
        found[told.name] = OwnSet(folder, told)
    return [found[name] for name in sorted(found)]


def own_alone(root: Path) -> bool:
    """Whether a data root holds own sets and no public one."""
    return bool(own_sets(root)) and all(set_folder(root, name) is None for name in READERS)


def own_licences(root: Path) -> dict[str, str]:
    """Lines for the model card, by name of the set."""
    return {item.told.name: item.licence for item in own_sets(root)}


def own_class_list(root: Path) -> tuple[str, ...] | None:
    """The classes of one's own that a classifier of this data root answers, None for the model's.

    UsageError where sets of a root say different lists, or public sets lie beside: their labels are
    of the models' classes.
    """
    sets = own_sets(root)
    lists = {tuple(item.told.own_classes) for item in sets}
    if lists <= {()}:
        return None
    said = next(item for item in sets if item.told.own_classes)
    if len(lists) > 1:
        other = next(item for item in sets if item.told.own_classes != said.told.own_classes)
        raise UsageError(
            f"{other.folder / DATASET_FILE}: own_classes is another list than in "
            f"{said.folder / DATASET_FILE}; one classifier answers one list"
        )
    if not own_alone(root):
        raise UsageError(
            f"{said.folder / DATASET_FILE}: own_classes cannot be learnt beside public sets, whose "
            "cells bear the models' classes; give --data the folder of the set alone"
        )
    return tuple(said.told.own_classes)


def class_of(
    own: OwnSet, label: str, known: Collection[str], place: str, faults: Faults
) -> str | None:
    """The class that a folder or label of a set stands for, None where it is left out or unknown.

    known: all classes that any model learns. What is unknown is told, with the nearest that is.
    """
    name = own.told.classes.get(label, label)
    if not name:
        return None
    if name in known:
        return name
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
    what = "Rename the folder" if not own.in_fields else "Write another label"
    faults.add(
        f"{place}: no model learns a class {name!r}; {hint} {what}, or say under [classes] in "
        f"{DATASET_FILE} which class it is ('' leaves it out)"
    )
    return None


def own_pictures(
    own: OwnSet, wanted: Mapping[str, str], known: Collection[str]
) -> list[SetPicture]:
    """The cells of an own set of cut cells that a model learns.

    wanted: what a folder's class may be called, and the model's class it stands for. known: all
    classes that any model learns. UsageError names the folder or file that is wrong and what to do.
    """
    cells = own.folder / CELLS_FOLDER
    if not cells.is_dir():
        raise UsageError(
            f"{own.folder}: has no folder {CELLS_FOLDER}; put the cells' pictures there, in a "
            "folder for each class, or say another layout than folders in "
            f"{DATASET_FILE} ({', '.join(LAYOUTS)})"
        )
    chosen: list[tuple[Path, str]] = []
    faults = Faults()
    for folder in sorted(path for path in cells.iterdir() if path.is_dir()):
        name = class_of(own, folder.name, known, str(folder), faults)
        if name is not None and name in wanted:
            chosen += [(path, wanted[name]) for path in pictures_in(folder)]
    faults.tell()
    called = _called_groups(own, [path for path, _ in chosen])
    chosen = _without_copies(chosen, called)
    return [
        SetPicture(
            path=path,
            set_name=own.told.name,
            source=own.told.name,
            kind="crop",
            group=called[path],
            original=f"{path.parent.name}/{path.stem}",
            licence=own.licence,
            labels=Labels(class_name=name),
            scale_known="none" if own.told.um_per_px is None else "published",
        )
        for path, name in chosen
    ]


@dataclass(frozen=True)
class OwnField:
    """A field of an own set. cells: as its labels tell them. group, key: see `SetPicture`."""

    cells: FieldCells
    group: str
    key: str


def own_fields(own: OwnSet) -> list[OwnField]:
    """The labelled fields of an own set in one of the layouts with whole fields, none of others."""
    if not own.in_fields:
        return []
    found = read_fields(own.folder, own.told)
    called = _called_groups(own, [item.path for item in found])
    kept = {path for path, _ in _without_copies([(item.path, "") for item in found], called)}
    return [
        OwnField(item, called[item.path], f"{own.told.name}/{_below(own, item.path)}")
        for item in found
        if item.path in kept
    ]


def boxed_pictures(root: Path) -> list[SetPicture]:
    """The fields of a data root's own sets whose cells have boxes, as the finder learns them.

    UsageError for a label that is no kind of cell, and none that `class_of` knows.
    """
    found = []
    for own in own_sets(root):
        if not own.in_fields or not LAYOUTS[own.told.layout].boxed:
            continue
        faults = Faults()
        for item in own_fields(own):
            kinds = [
                _kind_of(own, label, place, faults)
                for label, place in zip(item.cells.labels, item.cells.places, strict=True)
            ]
            chosen = [index for index, kind in enumerate(kinds) if kind is not None]
            named = [kind for kind in kinds if kind is not None]
            boxes = CellBoxes(
                item.cells.boxes[chosen],
                np.array([CELL_KINDS.index(kind) for kind in named], np.intp),
            )
            counts = {kind: named.count(kind) for kind in CELL_KINDS if kind in named}
            found.append(
                SetPicture(
                    path=item.cells.path,
                    set_name=own.told.name,
                    source=own.told.name,
                    kind="field",
                    group=item.group,
                    original=_below(own, item.cells.path),
                    licence=own.licence,
                    labels=Labels(boxes=BoxLabels(file=own.folder.name, counts=counts)),
                    scale_known="none" if own.told.um_per_px is None else "published",
                    complete=tuple(own.told.complete),
                    read_boxes=partial(_boxes, boxes),
                )
            )
        faults.tell()
    return found


def _boxes(boxes: CellBoxes) -> CellBoxes:
    return boxes


def _kind_of(own: OwnSet, label: str, place: str, faults: Faults) -> CellKind | None:
    """The kind of cell that a label stands for, None where it is no cell or left out."""
    said = own.told.kinds.get(label)
    if said is not None:
        return said
    known = {*CELL_KINDS, *KNOWN_CLASSES, *own.told.own_classes, *own.told.kinds}
    name = class_of(own, label, known, place, faults)
    if name is None or name in NO_KIND:
        return None
    if name in own.told.kinds:
        return own.told.kinds[name]
    for kind in CELL_KINDS:
        if name == kind:
            return kind
    for kind in reversed(CELL_KINDS):  # a platelet is one, whatever it was first taken for
        if name in TYPES_OF_KIND[kind]:
            return kind
    faults.add(
        f"{place}: which kind of cell is {name!r}? Say under [kinds] in {DATASET_FILE}: "
        f'"{name}" = "rbc", "wbc" or "platelet"'
    )
    return None


def _below(own: OwnSet, path: Path) -> str:
    """A picture's path in its set, without the suffix."""
    return path.relative_to(own.folder).with_suffix("").as_posix()


def _called_groups(own: OwnSet, pictures: list[Path]) -> dict[Path, str]:
    """What the group of each picture is called in the split."""
    groups = _groups(own, pictures)
    called = assured_groups(own.told.name, set(groups.values()))
    return {path: called[group] for path, group in groups.items()}


def _without_copies(
    chosen: list[tuple[Path, str]], groups: Mapping[Path, str]
) -> list[tuple[Path, str]]:
    """Each picture once. UsageError where the same picture bears two classes, or lies in two groups
    (samples): it would be learnt from and measured by.
    """
    first: dict[str, tuple[Path, str]] = {}
    kept = []
    faults = Faults()
    for path, name in chosen:
        digest = content_of(path)
        if digest not in first:
            first[digest] = (path, name)
            kept.append((path, name))
            continue
        other, others = first[digest]
        if name != others:
            faults.add(f"{path}: the same picture as {other}, of another class; keep the right one")
        elif groups[path] != groups[other]:
            faults.add(
                f"{path}: the same picture as {other}, of another sample (group); keep one of them"
            )
    faults.tell()
    return kept


def assured_groups(name: str, groups: Iterable[str]) -> dict[str, str]:
    """What each group is called in the split, so that each part has one where there are three.

    A group belongs to the part that the hash of its name gives. Of few groups a part may have none:
    then the groups whose hashes come first bear a number that moves them there. The same groups
    always give the same names.
    """
    called = {group: f"{OWN_GROUP}{name}/{group}" for group in groups}
    if len(called) < MIN_GROUPS:
        return called
    order = sorted(called, key=lambda group: hashlib.sha256(called[group].encode()).digest())
    # What trains is needed first, then what is measured by.
    for part in PARTS:
        parts = {group: hashed_part(called[group]) for group in order}
        if part in parts.values():
            continue
        crowded = [g for g in order if list(parts.values()).count(parts[g]) > 1]
        called[crowded[0]] = _moved(called[crowded[0]], part)
    return called


def _moved(group: str, part: Part) -> str:
    number = 1
    while hashed_part(moved := f"{group}#{number}") != part:
        number += 1
    return moved


def _groups(own: OwnSet, pictures: list[Path]) -> dict[Path, str]:
    """The group of each picture, as ``dataset.toml`` says."""
    if own.told.groups == "picture":
        return {path: _below(own, path).partition("/")[2] for path in pictures}
    if own.told.groups == "prefix":
        return {path: path.stem.partition("_")[0] for path in pictures}
    if own.told.groups == "folder":
        return _folders(own, pictures)
    table = own.folder / CELLS_TABLE
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = {row["file"]: row["group"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        raise UsageError(
            f"{table}: cannot be read, or lacks the columns file and group; {DATASET_FILE} says "
            'groups = "table". Write the table, or say groups = "prefix" or "picture"'
        ) from None
    called = {path: path.relative_to(own.folder).as_posix() for path in pictures}
    lacking = [name for name in called.values() if not rows.get(name)]
    if lacking:
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        raise UsageError(
            f"{table}: no group for {', '.join(lacking[:_NAMED])}{more}; add a row for each picture"
        )
    return {path: rows[name] for path, name in called.items()}


def _folders(own: OwnSet, pictures: list[Path]) -> dict[Path, str]:
    """The folder below images/ that each picture lies in."""
    images = own.folder / IMAGES_FOLDER
    loose = [path for path in pictures if path.parent == images]
    if loose:
        raise UsageError(
            f"{loose[0]}: lies in no folder of its sample; {DATASET_FILE} says groups = "
            f'"folder": put it into {IMAGES_FOLDER}/SAMPLE/, or say groups = "prefix" or "picture"'
        )
    return {path: path.relative_to(images).parts[0] for path in pictures}
