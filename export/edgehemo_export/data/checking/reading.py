"""Reading a data root so that what is broken in one set does not hide the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.files.atomic import sha256_of_file
from edgehemo.images.header import read_header
from edgehemo.words.counted import counted
from edgehemo_export.data.checking.findings import Finding, below, finding
from edgehemo_export.data.fetching.locks import DataLock, differences
from edgehemo_export.data.sets import READERS, set_folder
from edgehemo_export.data.sets.own import (
    KNOWN_CLASSES,
    OwnField,
    OwnSet,
    class_of,
    own_fields,
    own_pictures,
    own_sets,
)
from edgehemo_export.data.sets.own_layouts import Faults
from edgehemo_export.data.sets.picture import Labels, PointLabels, SetPicture


@dataclass
class Found:
    """What a data root holds. pictures: of every set that could be read. findings: of those that
    could not.
    """

    pictures: list[SetPicture] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def root_and_sets(folder: Path) -> tuple[Path, list[str] | None]:
    """A folder to be checked as a data root and the sets of it that are meant, None for all.

    The folder of one public set stands for itself: its root is the folder above.
    """
    if any(set_folder(folder, name) is not None for name in READERS):
        return folder, None
    own = folder.resolve()
    meant = [name for name, reader in READERS.items() if own.name in reader.folders]
    if meant and not (folder / "dataset.toml").is_file():
        return own.parent, meant
    return folder, None


def read_all(root: Path, names: Collection[str] | None) -> Found:
    """The pictures of all public and own sets of a root, or of the named public ones.

    UsageError for a name that is none, and where nothing is there.
    """
    for name in names or ():
        if name not in READERS:
            raise UsageError(f"no set {name!r}; there are {', '.join(READERS)}")
    found = Found()
    for name in READERS if names is None else [name for name in READERS if name in names]:
        folder = set_folder(root, name)
        if folder is None:
            continue
        try:
            for picture in READERS[name].read(root, folder):
                found.pictures.append(picture)  # what comes before the fault is kept
        except (UsageError, ValueError) as error:
            said = f"{error}; what comes after it in the set was not checked"
            found.findings.append(finding("labels_broken", name, said, [below(root, folder)]))
    if names is None:
        _read_own(root, found)
    if not found.pictures and not found.findings:
        raise UsageError(
            f"{root} holds none of the sets {', '.join(READERS)}, each in its folder, and no set "
            "of one's own (a folder with dataset.toml)"
        )
    return found


def _read_own(root: Path, found: Found) -> None:
    try:
        sets = own_sets(root)
    except UsageError as error:
        found.findings.append(finding("own_set_broken", "own", str(error)))
        return
    for own in sets:
        known = {*KNOWN_CLASSES, *own.told.own_classes}
        try:
            if own.in_fields:
                found.pictures += _field_pictures(root, own, {*known, *CELL_KINDS, *own.told.kinds})
            else:
                found.pictures += own_pictures(own, {name: name for name in known}, known)
        except UsageError as error:
            found.findings.append(
                finding("own_set_broken", own.told.name, str(error), [below(root, own.folder)])
            )


def _field_pictures(root: Path, own: OwnSet, known: Collection[str]) -> list[SetPicture]:
    """The fields of an own set with the classes of their cells. UsageError for a class of none."""
    fields = own_fields(own)
    faults = Faults()
    pictures = [_field_picture(root, own, item, known, faults) for item in fields]
    faults.tell()
    return pictures


def _field_picture(
    root: Path, own: OwnSet, item: OwnField, known: Collection[str], faults: Faults
) -> SetPicture:
    path, scale = item.cells.path, own.told.um_per_px
    cells = zip(item.cells.labels, item.cells.places, strict=True)
    classes = Counter(class_of(own, label, known, place, faults) for label, place in cells)
    width_um = None
    if scale is not None:
        try:
            width_um = scale * read_header(path.read_bytes()).width
        except EdgeHemoError:
            width_um = None  # a broken picture, which is told where it is read
    return SetPicture(
        path=path,
        set_name=own.told.name,
        source=own.told.name,
        kind="field",
        group=item.group,
        original=item.key,
        licence=own.licence,
        labels=Labels(
            points=PointLabels(
                file=below(root, own.folder),
                counts={name: count for name, count in classes.items() if name is not None},
            )
        ),
        width_um=width_um,
        scale_known="none" if width_um is None else "published",
    )


def without_their_other_half(root: Path, pictures: Iterable[SetPicture]) -> list[Finding]:
    """Labels whose picture is not there, and pictures of labelled sets that have none."""
    files: dict[str, set[Path]] = {}
    bare: dict[str, list[str]] = {}
    for picture in pictures:
        labels = picture.labels
        told = labels.boxes or labels.points
        if told is not None and (root / told.file).is_dir():
            continue  # a set of one's own, whose layout says where labels lie, and is read strictly
        if told is not None:
            files.setdefault(picture.set_name, set()).add(root / told.file)
        elif not labels.kinds():
            bare.setdefault(picture.set_name, []).append(below(root, picture.path))
    out: list[Finding] = []
    for name, known in files.items():
        lone = sorted(
            path
            for folder in {path.parent for path in known}
            for path in folder.iterdir()
            if path not in known
            and path.suffix in {label.suffix for label in known}
            and path.name != "classes.txt"
        )
        if lone:
            says = f"{counted(len(lone), 'file')} of labels without a picture"
            paths = [below(root, path) for path in lone]
            out.append(finding("label_without_picture", name, says, paths))
        if bare.get(name):
            says = f"{counted(len(bare[name]), 'picture')} without labels, where others have some"
            out.append(finding("picture_without_label", name, says, bare[name]))
    return out


def changed_since_fetched(
    root: Path, lock: DataLock, names: Collection[str] | None
) -> list[Finding]:
    """Files of fetched sets that lack or are others than `data get` wrote down."""
    out = []
    for name, fetched in lock.sets.items():
        if names is not None and name not in names:
            continue
        folder = root / name
        wrong = differences(fetched.files, _digests(folder, fetched.files))
        if wrong.any:
            says = f"{counted(len(wrong.changed), 'file')} changed, {len(wrong.missing)} missing"
            paths = [f"{name}/{path}" for path in [*wrong.changed, *wrong.missing]]
            out.append(finding("changed_since_fetched", name, says, paths))
    return out


def _digests(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    return {name: sha256_of_file(folder / name) for name in files if (folder / name).is_file()}
