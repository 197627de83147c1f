"""The public sets, one small file a set, each in both layouts the set is met in.

A reader gives pictures with their labels and names; pixels are read by who hashes or trains. Every
other module selects from what is read here, and none walks a set's folder itself. Which part a
picture belongs to is told by `edgehemo_export.data.splits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo_export.data.sets import (
    anerbc,
    bccd,
    chula_disease,
    chula_rbc12,
    lmu,
    pbc,
    redtell,
    three_class,
    txl_pbc,
    uganda_phone,
)
from edgehemo_export.data.sets.picture import SetPicture, first_folder


@dataclass(frozen=True)
class SetReader:
    """name: of the set. folders: the names it is looked for under, below the data root."""

    name: str
    folders: tuple[str, ...]
    read: Callable[[Path, Path], Iterator[SetPicture]]


# The order matters: of duplicates, the one of the earlier set counts as the original.
READERS: Mapping[str, SetReader] = {
    module.SOURCE: SetReader(module.SOURCE, module.FOLDERS, module.read)
    for module in (
        bccd,
        chula_rbc12,
        chula_disease,
        pbc,
        lmu,
        txl_pbc,
        three_class,
        anerbc,
        uganda_phone,
        redtell,
    )
}


def set_folder(root: Path, name: str) -> Path | None:
    """The folder of a set below a data root; None where the root lacks the set."""
    return first_folder(root, READERS[name].folders)


def read_set(root: Path, name: str) -> list[SetPicture]:
    """The pictures of one set of a data root; none where the root lacks the set."""
    folder = set_folder(root, name)
    return [] if folder is None else list(READERS[name].read(root, folder))


def read_data_root(root: Path, names: Iterable[str] | None = None) -> Iterator[SetPicture]:
    """Every picture of the sets that a data root holds, or of the named ones, set by set.

    Raises UsageError for a name that is not a set, and where the root holds none of them.
    """
    wanted = None if names is None else list(names)
    known = ", ".join(READERS)
    for name in wanted or ():
        if name not in READERS:
            raise UsageError(f"no set {name!r}; there are {known}")
    found = False
    for name in READERS:
        if wanted is not None and name not in wanted:
            continue
        for picture in read_set(root, name):
            found = True
            yield picture
    if not found:
        raise UsageError(f"{root} holds none of the sets {known}, each in its folder")
