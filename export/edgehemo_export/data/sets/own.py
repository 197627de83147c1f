"""Data sets of a laboratory's own: a folder with ``dataset.toml``, cells in a folder a class.

Such a set lies in a data root beside the public ones, or is the root itself. The kiosk's reviewed
cells are exported so (`edgehemo.records.exports.dataset`); one that a person makes has the same
layout.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo.records.exports.dataset import (
    CELLS_FOLDER,
    CELLS_TABLE,
    DATASET_FILE,
    DatasetFile,
    read_dataset,
)
from edgehemo_export.data.sets import READERS, set_folder
from edgehemo_export.data.sets.picture import Labels, SetPicture, pictures_in
from edgehemo_export.data.splits import OWN_GROUP, PARTS, Part, hashed_part

# Groups (samples) that a set alone needs: one is kept out to set thresholds, one to measure by.
MIN_GROUPS = 3
# Names of pictures that an error lists.
_NAMED = 3


@dataclass(frozen=True)
class OwnSet:
    """folder: of the set. told: what its ``dataset.toml`` says."""

    folder: Path
    told: DatasetFile

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


def own_pictures(
    own: OwnSet, wanted: Mapping[str, str], known: Collection[str]
) -> list[SetPicture]:
    """The cells of an own set that a model learns.

    wanted: what a folder's class may be called, and the model's class it stands for. known: all
    classes that any model learns. UsageError names the folder or file that is wrong and what to do.
    """
    cells = own.folder / CELLS_FOLDER
    if not cells.is_dir():
        raise UsageError(
            f"{own.folder}: has no folder {CELLS_FOLDER}; put the cells' pictures there, in a "
            "folder for each class"
        )
    chosen: list[tuple[Path, str]] = []
    for folder in sorted(path for path in cells.iterdir() if path.is_dir()):
        name = own.told.classes.get(folder.name, folder.name)
        if name and name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
            raise UsageError(
                f"{folder}: no model learns a class {name!r}; {hint} Rename the folder, or say "
                f"under [classes] in {DATASET_FILE} which class it is ('' leaves it out)"
            )
        if name in wanted:
            chosen += [(path, wanted[name]) for path in pictures_in(folder)]
    groups = _groups(own, [path for path, _ in chosen])
    called = assured_groups(own.told.name, set(groups.values()))
    return [
        SetPicture(
            path=path,
            set_name=own.told.name,
            source=own.told.name,
            kind="crop",
            group=called[groups[path]],
            original=f"{path.parent.name}/{path.stem}",
            licence=own.licence,
            labels=Labels(class_name=name),
            scale_known="none" if own.told.um_per_px is None else "published",
        )
        for path, name in chosen
    ]


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
        return {path: f"{path.parent.name}/{path.stem}" for path in pictures}
    if own.told.groups == "prefix":
        return {path: path.stem.partition("_")[0] for path in pictures}
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
