"""BCCD (Shenggan/BCCD_Dataset, MIT): fields with VOC boxes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edgehemo.cells.cell import CellKind
from edgehemo.errors import UsageError
from edgehemo_export.data.readers.records import (
    FIELDS_PER_BLOCK,
    BoxLabels,
    FoundPicture,
    Labels,
    first_folder,
    pictures_in,
    trailing_number,
)

SOURCE = "bccd"
FOLDERS = ("bccd", "BCCD_Dataset", "BCCD_Dataset-master", "BCCD")
LICENCE = "MIT (Shenggan/BCCD_Dataset)"
WIDTH_UM = 51.2
_KINDS: dict[str, CellKind] = {"rbc": "rbc", "wbc": "wbc", "platelets": "platelet"}


def read(root: Path, folder: Path) -> Iterator[FoundPicture]:
    """Takes ``images/ boxes/`` as well as the published ``BCCD/JPEGImages Annotations ImageSets``.

    Red cells in clumps and at borders have no box, so red cells are not complete. Neighbouring
    numbers may come from one slide: groups are blocks of ten.
    """
    inner = folder / "BCCD" if (folder / "BCCD").is_dir() else folder
    images = first_folder(inner, ("images", "JPEGImages"))
    boxes = first_folder(inner, ("boxes", "Annotations"))
    if images is None:
        return
    parts = _published_parts(inner / "ImageSets" / "Main")
    for path in pictures_in(images):
        label = None if boxes is None else boxes / f"{path.stem}.xml"
        labels = Labels()
        if label is not None and label.is_file():
            counts = box_counts(label)
            labels = Labels(boxes=BoxLabels(file=str(label.relative_to(root)), counts=counts))
        yield FoundPicture(
            path=path,
            source=SOURCE,
            kind="field",
            group=f"{SOURCE}-{trailing_number(path.stem) // FIELDS_PER_BLOCK:03d}",
            original=path.stem,
            licence=LICENCE,
            labels=labels,
            width_um=WIDTH_UM,
            scale_known="estimated",
            complete=("wbc", "platelet") if labels.boxes else (),
            published_part=parts.get(path.stem),
        )


def box_counts(path: Path) -> dict[CellKind, int]:
    """How many boxes of each kind a VOC file holds; UsageError where it is no XML."""
    try:
        tree = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UsageError(f"{path}: not a readable VOC label ({error})") from None
    names = Counter((item.findtext("name") or "").strip().lower() for item in tree.iter("object"))
    return {kind: names[name] for name, kind in _KINDS.items() if names[name]}


def _published_parts(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in ("train", "val", "test"):
        file = folder / f"{part}.txt"
        if file.is_file():
            found.update(dict.fromkeys(file.read_text(encoding="utf-8").split(), part))
    return found
