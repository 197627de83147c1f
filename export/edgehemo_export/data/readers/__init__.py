"""Readers of the public sets, one small file a set, in both layouts a set is met in.

Each reads labels and names only; pixels are read by who hashes or trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo_export.data.readers import (
    anerbc,
    bccd,
    chula_disease,
    chula_rbc12,
    lmu,
    pbc,
    three_class,
    txl_pbc,
    uganda_phone,
)
from edgehemo_export.data.readers.records import FoundPicture, first_folder


@dataclass(frozen=True)
class SetReader:
    """name: of the set. folders: the names it is looked for under, below the data root."""

    name: str
    folders: tuple[str, ...]
    read: Callable[[Path, Path], Iterator[FoundPicture]]


# The order matters: of duplicates, the one of the earlier set counts as the original.
SETS: tuple[SetReader, ...] = tuple(
    SetReader(module.SOURCE, module.FOLDERS, module.read)
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
    )
)


def read_sets(
    root: Path, names: Iterable[str] | None = None
) -> Iterator[tuple[SetReader, FoundPicture]]:
    """Every picture of the sets that a data root holds, or of the named ones.

    Raises UsageError for a name that is no set, and where the root holds none.
    """
    wanted = None if names is None else list(names)
    known = ", ".join(reader.name for reader in SETS)
    for name in wanted or ():
        if all(reader.name != name for reader in SETS):
            raise UsageError(f"no set {name!r}; there are {known}")
    found = False
    for reader in SETS:
        folder = first_folder(root, reader.folders)
        if folder is None or (wanted is not None and reader.name not in wanted):
            continue
        for picture in reader.read(root, folder):
            found = True
            yield reader, picture
    if not found:
        raise UsageError(f"{root} holds none of the sets {known}, each in its folder")
