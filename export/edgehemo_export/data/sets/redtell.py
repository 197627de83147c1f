"""RedTell DSE (Sadafi et al. 2023, CC BY 4.0 as quoted): unstained red cells in brightfield."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgehemo_export.data.sets.picture import (
    FIELDS_PER_BLOCK,
    Labels,
    SetPicture,
    first_folder,
    picture_named,
    pictures_in,
    trailing_number,
)

SOURCE = "redtell"
FOLDERS = ("redtell", "dse_data")
LICENCE = "CC BY 4.0 as quoted (RedTell, Sadafi et al. 2023)"


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """Takes the published ``images/ annotations/``, with or without ``dse_data`` above.

    A mask numbers the cells of its frame; background is 0. The shapes of the cells, which only the
    names of a third folder tell, are not read: no model of this project learns them. The cells are
    not stained, so nothing that is told by colour may be learnt or measured here. Patients are not
    published; groups are blocks of ten frames.
    """
    inner = folder / "dse_data" if (folder / "dse_data").is_dir() else folder
    images = first_folder(inner, ("images",))
    if images is None:
        return
    for path in pictures_in(images):
        mask = picture_named(inner / "annotations", path.stem)
        yield SetPicture(
            path=path,
            set_name=SOURCE,
            source=SOURCE,
            kind="field",
            group=f"{SOURCE}-{trailing_number(path.stem) // FIELDS_PER_BLOCK:03d}",
            original=path.stem,
            licence=LICENCE,
            labels=Labels(mask=None if mask is None else mask.relative_to(root).as_posix()),
        )
