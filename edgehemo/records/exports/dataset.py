"""A data set of a laboratory's own cells and samples: ``dataset.toml`` and what lies beside it.

The kiosk's reviewed cells are exported so, and whoever trains reads it; a person can make one by
hand. Cells lie in a folder a class below ``cells/``, one cell a picture, in the middle of it; or
whole fields lie below ``images/`` with boxes or points beside them. Samples that an analyser
measured have their fields below ``fields/`` and their values in ``samples.csv``.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgehemo.cells.cell import CellKind
from edgehemo.errors import UsageError
from edgehemo.files.strict import Positive, Record, RecordError, Text, keys_of

DATASET_SCHEMA: Literal["edgehemo.dataset/1"] = "edgehemo.dataset/1"
DATASET_FILE = "dataset.toml"
CELLS_FOLDER, CELLS_TABLE = "cells", "cells.csv"
FIELDS_FOLDER, SAMPLES_TABLE = "fields", "samples.csv"
MAX_DATASET_BYTES = 1024 * 1024

IMAGES_FOLDER = "images"

# Where the cells are told. folders: a folder a class below cells/, one cell a picture. The others
# have fields below images/ and beside them: yolo: labels/*.txt; voc: annotations/*.xml; coco:
# annotations.json; points: points.csv with the columns image, x, y, class.
Layout = Literal["folders", "yolo", "coco", "voc", "points"]
# table: the column ``group`` of cells.csv. prefix: what stands before the first _ of a picture's
# name. folder: the folder it lies in, below images/. picture: each picture is its own.
Groups = Literal["table", "prefix", "folder", "picture"]
# canonical: the illumination is divided out, 200 is clear background. photograph: as it was taken.
Pixels = Literal["canonical", "photograph"]
# A class of one's own: small letters, digits and _, as the models' own are called.
ClassName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,40}\Z")]


class DatasetFile(Record, frozen=True, kw_only=True):
    """What ``dataset.toml`` says. name: what the set is called in cards and figures. licence: under
    what terms its pictures may be used; empty where nobody said so yet. um_per_px: scale of all
    pictures; None measures each on its cells. groups: by what pictures must stay together
    when some are kept out for measuring: those of one sample or patient. simulated: drawn, not
    photographed. classes: folder or label -> class; an empty class leaves the cells out, what is
    not named is called by its class. labels: of yolo, the names of its numbers, from 0 on; else
    ``classes.txt`` has them. own_classes: a list of classes of one's own, which a classifier
    answers instead of its own. kinds: class -> which kind of cell the finder is to call it, where
    that does not follow from the class. complete: the kinds of which every cell has a box; of the
    others the finder takes what has no box for unknown, not for background.
    """

    schema: Literal["edgehemo.dataset/1"] = DATASET_SCHEMA
    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,60}\Z")]
    licence: Annotated[str, Meta(max_length=500)] = ""
    layout: Layout = "folders"
    pixels: Pixels = "photograph"
    um_per_px: Positive | None = None
    groups: Groups = "prefix"
    simulated: bool = False
    complete: list[CellKind] = msgspec.field(default_factory=list)
    labels: list[Text] = msgspec.field(default_factory=list)
    own_classes: list[ClassName] = msgspec.field(default_factory=list)
    classes: dict[str, str] = msgspec.field(default_factory=dict)
    kinds: dict[str, CellKind] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.own_classes)) != len(self.own_classes):
            raise ValueError("own_classes: names a class twice")
        if len(self.own_classes) == 1:
            raise ValueError("own_classes: at least two classes are needed to tell cells apart")
        if self.layout == "folders" and self.groups == "folder":
            raise ValueError(
                "groups: folder is for fields below images/; cells lie in a folder a class. Say "
                "prefix, table or picture"
            )


def read_dataset(folder: Path) -> DatasetFile:
    """The ``dataset.toml`` of a folder. UsageError names the file, every fault and what to do."""
    path = folder / DATASET_FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror or error}); a data set of one's own says in "
            "it what it holds, see the page on own data"
        ) from None
    if len(raw) > MAX_DATASET_BYTES:
        raise UsageError(f"{path}: too large for a {DATASET_FILE}")
    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: no readable TOML ({error})") from None
    values.setdefault("schema", DATASET_SCHEMA)
    try:
        return DatasetFile.model_validate(values)
    except RecordError as error:
        said = []
        for problem in error.problems:
            key = problem.place.rpartition(".")[2]
            close = difflib.get_close_matches(key, keys_of(DatasetFile), n=1)
            hint = f", did you mean {close[0]}?" if problem.unknown and close else ""
            said.append(f"{problem.place or 'the file'}: {problem.message}{hint}")
        raise UsageError(f"{path}: {'; '.join(said)}") from None


# Tables of the file, with what is said above each.
_TABLES: Mapping[str, str] = {
    "classes": "Folder or label = class; an empty class leaves the cells out.",
    "kinds": "Class = kind of cell.",
}


def dataset_text(dataset: DatasetFile, about: Mapping[str, str], notes: tuple[str, ...]) -> str:
    """The file's text: each key with what it means, and notes above. about: key -> a phrase."""
    lines = [f"# {note}" for note in notes]
    values = dataset.model_dump(exclude_none=True)
    tables: dict[str, dict[str, str]] = {name: values.pop(name) for name in _TABLES}
    for key, value in values.items():
        if value == []:
            continue
        if key in about:
            lines.append(f"# {about[key]}")
        lines.append(f"{key} = {_toml(value)}")
    for name, says in _TABLES.items():
        if tables[name]:
            lines += ["", f"# {says}", f"[{name}]"]
            lines += [f"{_toml(key)} = {_toml(value)}" for key, value in tables[name].items()]
    return "\n".join(lines) + "\n"


def _toml(value: str | float | bool | list[str]) -> str:
    """A value as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in escaped) + '"'
    return repr(value)
