"""The pictures of either class: from the public sets of a data root, or from folders by class.

Roles. ``main``: what the paper's protocol runs on: fields by diagnosis (Chula) against RBC-12
fields whose labelled cells are mostly normal, or an own set. ``unconfounded``: both classes from
RBC-12, so that camera and file format tell nothing. ``second``: sickle against clear (Uganda).
``external``: pictures that no arm is trained on.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo_export.data.sets import (
    anerbc,
    chula_disease,
    chula_rbc12,
    read_set,
    set_folder,
    uganda_phone,
)
from edgehemo_export.data.sets.picture import (
    SetPicture,
    class_folders,
    pictures_in,
    trailing_number,
)
from edgehemo_export.data.smears import ANAEMIA, CONTROL
from edgehemo_export.data.splits import united_group
from edgehemo_export.studies.remya.configuration import ClassesConfig, PicturesConfig

CLASSES = ("control-like", "anaemia-like")
SHAPE = (
    "a folder with a folder for each class (such as control and anaemia; groups.csv with the "
    "columns file and group says what belongs to one patient or slide), or a root that holds "
    "chula_disease and chula_rbc12, or uganda_phone"
)
GROUPS_TABLE = "groups.csv"
FOLDERS = "folders"
NORMAL = chula_rbc12.TYPES.index("normal")
CHULA, CHULA_WITHIN = "chula", "chula_rbc12"


@dataclass(frozen=True)
class StudyPicture:
    """One picture, or a tile of it, of a class. source: its set, with the diagnosis where one is
    known. group: what stays on one side of a split. tile: row and column of ``tiles`` by ``tiles``.
    """

    path: Path
    source: str
    group: str
    label: int
    tile: tuple[int, int] = (0, 0)
    tiles: int = 1

    @property
    def key(self) -> str:
        """What it is called by in the study's own tables."""
        if self.tiles == 1:
            return str(self.path)
        return f"{self.path}#{self.tile[0]}-{self.tile[1]}"


@dataclass(frozen=True)
class Cohort:
    """name: of the set. found: pictures of each class before a larger class was thinned."""

    name: str
    says: str
    pictures: Sequence[StudyPicture]
    found: tuple[int, int]

    def counts(self) -> tuple[int, int]:
        """Pictures of either class, in the order of `CLASSES`."""
        labels = [picture.label for picture in self.pictures]
        return labels.count(CONTROL), labels.count(ANAEMIA)


def cohorts(
    root: Path, classes: ClassesConfig, pictures: PicturesConfig
) -> tuple[dict[str, Cohort], list[Path]]:
    """Cohorts by role, and every file that was read for them.

    Raises UsageError, one line, where the root has not the shape.
    """
    if not root.is_dir():
        raise UsageError(f"--data {root}: no such folder; it is {SHAPE}")
    found: dict[str, Cohort] = {}
    labels: list[Path] = []
    sets = (chula_disease.SOURCE, chula_rbc12.SOURCE, uganda_phone.SOURCE)
    if any(set_folder(root, name) is not None for name in sets):
        labels = _public(root, classes, found)
    else:
        found["main"], labels = _own(root, classes)
    done: dict[str, Cohort] = {}
    for role, cohort in found.items():
        chosen = cohort.pictures
        if role != "external":
            chosen = _thinned(chosen, pictures.most_per_class)
        done[role] = replace(cohort, pictures=_tiled(chosen, pictures.tiles_per_side))
    return done, sorted({p.path for c in done.values() for p in c.pictures} | set(labels))


def _public(root: Path, classes: ClassesConfig, found: dict[str, Cohort]) -> list[Path]:
    """Fill in the cohorts that the sets of a root give; the files of labels that were read."""
    disease = [
        _picture(picture, ANAEMIA, f"{picture.source}/{picture.labels.class_name}")
        for picture in read_set(root, chula_disease.SOURCE)
    ]
    within, labels = _by_cells(root, classes)
    control = [picture for picture in within if picture.label == CONTROL]
    uganda = [
        _picture(picture, CONTROL if picture.labels.class_name == "clear" else ANAEMIA)
        for picture in read_set(root, uganda_phone.SOURCE)
    ]
    second = _cohort(
        uganda_phone.SOURCE,
        "sickle against clear, phone pictures through an eyepiece; groups of ten numbers",
        uganda,
    )
    if disease and control:
        found["main"] = _cohort(
            CHULA,
            "fields by diagnosis (Chula) against RBC-12 fields with at least "
            f"{classes.control_normal:.0%} normal cells: two publications, two picture sizes",
            [*control, *disease],
        )
    if _both(within):
        found["unconfounded"] = _cohort(
            CHULA_WITHIN,
            f"RBC-12 fields with at most {classes.anaemia_normal:.0%} normal cells against those "
            f"with at least {classes.control_normal:.0%}: one publication, one camera",
            within,
        )
    if _both(uganda):
        found["second" if "main" in found else "main"] = second
    if "main" not in found:
        raise UsageError(
            f"--data {root}: needs both {chula_disease.SOURCE} and {chula_rbc12.SOURCE} with its "
            f"labels, or {uganda_phone.SOURCE}; get the other one, or name {SHAPE}"
        )
    small = [
        _picture(picture, ANAEMIA if picture.labels.class_name == "anaemic" else CONTROL)
        for picture in read_set(root, anerbc.SOURCE)
    ]
    if small:
        found["external"] = _cohort(
            anerbc.SOURCE, "anaemic against healthy by the analyser, low magnification", small
        )
    return labels


def _by_cells(root: Path, classes: ClassesConfig) -> tuple[list[StudyPicture], list[Path]]:
    """RBC-12 fields of either class by their labelled cells, and the files of all labels."""
    out: list[StudyPicture] = []
    labels: list[Path] = []
    for picture in read_set(root, chula_rbc12.SOURCE):
        if picture.read_points is None or picture.labels.points is None:
            continue
        labels.append(root / picture.labels.points.file)
        types = picture.read_points().types
        if len(types) < classes.min_labelled:
            continue
        normal = float((types == NORMAL).mean())
        if normal >= classes.control_normal:
            out.append(_picture(picture, CONTROL))
        elif normal <= classes.anaemia_normal:
            out.append(_picture(picture, ANAEMIA))
    return out, labels


def _own(root: Path, classes: ClassesConfig) -> tuple[Cohort, list[Path]]:
    """An own set: folders by class at any depth, several of one class where they are named."""
    named = dict.fromkeys(classes.control_folders, CONTROL)
    named |= dict.fromkeys(classes.anaemia_folders, ANAEMIA)
    table = root / GROUPS_TABLE
    told = _told_groups(table) if table.is_file() else None
    out = [
        StudyPicture(
            path=path,
            source=f"{FOLDERS}/{name}",
            group=_own_group(root, path, name, told, classes.pictures_per_group),
            label=named[name],
        )
        for name, folder in class_folders(root, named)
        for path in pictures_in(folder)
    ]
    if not _both(out):
        lacking = [CLASSES[c] for c in (CONTROL, ANAEMIA) if all(p.label != c for p in out)]
        raise UsageError(
            f"--data {root}: no pictures {' or '.join(lacking)}; looked for the sets "
            f"{chula_disease.SOURCE}, {chula_rbc12.SOURCE}, {uganda_phone.SOURCE}, and at any "
            f"depth for folders named {', '.join(classes.control_folders)} (control-like) or "
            f"{', '.join(classes.anaemia_folders)} (anaemia-like); other names go under "
            "[classes] in --config FILE"
        )
    return (
        _cohort(root.resolve().name or FOLDERS, "own pictures in folders by class", out),
        [] if told is None else [table],
    )


def _told_groups(table: Path) -> Mapping[str, str]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return {row["file"]: row["group"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        raise UsageError(
            f"{table}: cannot be read, or lacks the columns file and group; write a row for each "
            "picture, or take the table away"
        ) from None


def _own_group(
    root: Path, path: Path, name: str, told: Mapping[str, str] | None, per_group: int
) -> str:
    if told is None:
        return f"{FOLDERS}-{name}-{trailing_number(path.stem) // per_group:03d}"
    own = path.relative_to(root).as_posix()
    if not told.get(own):
        raise UsageError(f"{root / GROUPS_TABLE}: no group for {own}; add a row for it")
    return told[own]


def _picture(picture: SetPicture, label: int, source: str | None = None) -> StudyPicture:
    group = united_group(picture.group)
    return StudyPicture(picture.path, source or picture.source, group, label)


def _cohort(name: str, says: str, pictures: Sequence[StudyPicture]) -> Cohort:
    cohort = Cohort(name, says, pictures, (0, 0))
    return replace(cohort, found=cohort.counts())


def _both(pictures: Sequence[StudyPicture]) -> bool:
    return len({picture.label for picture in pictures}) == len(CLASSES)


def _thinned(pictures: Sequence[StudyPicture], most: int) -> list[StudyPicture]:
    """At most so many of each class, evenly over their order."""
    out: list[StudyPicture] = []
    for label in (CONTROL, ANAEMIA):
        here = [picture for picture in pictures if picture.label == label]
        step = max(1.0, len(here) / most)
        out += [here[int(k * step)] for k in range(min(len(here), most))]
    return out


def _tiled(pictures: Sequence[StudyPicture], tiles: int) -> list[StudyPicture]:
    return [tile for picture in pictures for tile in _tiles_of(picture, tiles)]


def _tiles_of(picture: StudyPicture, tiles: int) -> Iterator[StudyPicture]:
    for row in range(tiles):
        for column in range(tiles):
            yield replace(picture, tile=(row, column), tiles=tiles)
