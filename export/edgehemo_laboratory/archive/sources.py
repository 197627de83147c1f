"""What fields can come from: folders, tables, a kiosk's exports, the laboratory's own pictures."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgehemo.anaemia.who_grade import Person
from edgehemo.errors import ImageError, UsageError
from edgehemo.images.reading import images_in, natural_key, passed_over
from edgehemo.measurands import MEASURANDS
from edgehemo.records.exports.folder_export import PICTURES_FOLDER, STORED_FILE
from edgehemo.report.folder import RESULT_FILE
from edgehemo_laboratory.archive.tables import PERSON_COLUMNS, VALUE_COLUMNS

_MAX_STORED_BYTES = 256_000_000
# Columns of a table of fields that are text, numbers, yes or no.
_TEXTS = ("site", "kiosk", "sample", "patient", "licence", "sex")
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_YES_OR_NO = ("smoker", "simulated")
_NUMBERS = (
    "um_per_px", "age_years", "pregnancy_trimester", "altitude_m", "cigarettes_per_day",
    *VALUE_COLUMNS,
)  # fmt: skip
FILE_COLUMN, PROFILE_COLUMN = "file", "profile"
TABLE_COLUMNS = (FILE_COLUMN, *_TEXTS, PROFILE_COLUMN, *_NUMBERS, *_YES_OR_NO)


@dataclass(frozen=True, slots=True)
class Labels:
    """Whose sample a field is of; what is None was not told.

    profile: digest of the calibration profile that it is read with. um_per_px: its scale, where it
    was told. patient: a pseudonym that several samples may bear. person: what a WHO grade depends
    on. values: what an analyser measured of the sample. licence: under what terms the picture may
    be used.
    """

    sample: str
    site: str | None = None
    kiosk: str | None = None
    patient: str | None = None
    profile: str | None = None
    um_per_px: float | None = None
    licence: str = ""
    simulated: bool = False
    person: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedCell:
    """A cell of a picture that a person named. x, y: its centre, px. by: a pseudonym."""

    x: float
    y: float
    kind: str
    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture that may come in. load: its bytes; OSError or ImageError where it has none.
    origin: what it came from, in words that name no person. path: where it lies, of a file.
    """

    load: Callable[[], bytes]
    name: str
    position: int
    labels: Labels
    origin: str
    named: tuple[NamedCell, ...] = ()
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was evidently meant and is not read, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller says of all fields. sample: None calls each folder's pictures a sample, by
    its name. profiles: digests of the profiles that were given; a source that names one of them
    gets it, one that names none the only one.
    """

    labels: Labels
    sample: str | None
    profiles: frozenset[str]

    def profile(self, named: str | None) -> str | None:
        if named is not None:
            return named if named in self.profiles else None
        return next(iter(self.profiles)) if len(self.profiles) == 1 else None


def arrivals(paths: Sequence[Path], given: Given) -> Iterator[Arrival | LeftOut]:
    """The pictures below files and folders, in the order in which `edgehemo screen` takes them.

    A folder of a kiosk's export is known by its ``stored.json``. UsageError for a path where
    nothing is.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder")
    loose = [path for path in paths if not path.is_dir()]
    if loose:
        yield from _pictures(loose, given, given.sample or _common_name(loose), "files")
    for path in paths:
        if path.is_dir():
            yield from _below(path, path, given)


def _below(top: Path, folder: Path, given: Given) -> Iterator[Arrival | LeftOut]:
    """A folder's pictures, then those of the folders in it."""
    if (folder / STORED_FILE).is_file() and (folder / RESULT_FILE).is_file():
        yield from _exported(folder, given)
        return
    try:
        yield from (LeftOut(path.name, reason) for path, reason in passed_over(folder))
        pictures = images_in([folder])
    except ImageError:
        pictures = []
    if pictures:
        called = folder.name if folder == top else folder.relative_to(top).as_posix()
        yield from _pictures(pictures, given, given.sample or called, "a folder")
    try:
        inner = [path for path in folder.iterdir() if path.is_dir() and path.name[:1] != "."]
    except OSError as error:
        yield LeftOut(folder.name, f"cannot be listed ({error.strerror})")
        return
    for path in sorted(inner, key=natural_key):
        yield from _below(top, path, given)


def _pictures(paths: Sequence[Path], given: Given, sample: str, origin: str) -> Iterator[Arrival]:
    labels = replace(given.labels, sample=sample, profile=given.profile(None))
    for position, path in enumerate(paths):
        yield Arrival(path.read_bytes, path.name, position, labels, origin, path=path)


def _common_name(paths: Sequence[Path]) -> str:
    """What files that were given one by one are called together: by their folder."""
    return Path(os.path.commonpath([path.absolute().parent for path in paths])).name or "sample"


def _exported(folder: Path, given: Given) -> Iterator[Arrival | LeftOut]:
    """A result as `edgehemo records export --format folder` writes it."""
    entry = _stored(folder / STORED_FILE)
    result = str(entry["id"])
    if entry["state"] == "withdrawn":
        yield LeftOut(folder.name, "was withdrawn: its pictures are not taken")
        return
    profile = given.profile(entry["profile_sha256"]) if entry["profile_sha256"] else None
    if entry["profile_sha256"] and profile is None:
        yield LeftOut(
            folder.name,
            f"was measured with the profile {entry['profile_sha256'][:12]}, which is not given: "
            "its fields are read without one; add --profile FILE",
        )
    person = {key: entry["person"].get(key) for key in PERSON_COLUMNS} if entry["person"] else {}
    labels = replace(
        given.labels,
        sample=given.sample or str(entry["sample"]),
        site=given.labels.site or entry["site"],
        kiosk=given.labels.kiosk or entry["device"],
        profile=profile,
        um_per_px=given.labels.um_per_px or entry["circumstances"].get("um_per_px"),
        simulated=bool(entry["simulated"]),
        person=given.labels.person or person,
    )
    named = _named_cells(entry)
    for position, image in enumerate(entry["images"]):
        picture = folder / PICTURES_FOLDER / f"{position + 1:03d}.png"
        if image["sha256"] is None or not picture.is_file():
            yield LeftOut(f"{folder.name}/{image['image']}", "its picture is not in the export")
            continue
        yield Arrival(
            picture.read_bytes,
            str(image["image"]),
            position,
            labels,
            f"records export, result {result}",
            tuple(named.get(position, ())),
        )


def _stored(path: Path) -> dict[str, Any]:
    """The one result of a ``stored.json``."""
    try:
        if path.stat().st_size > _MAX_STORED_BYTES:
            raise ValueError("too large")
        (entry,) = json.loads(path.read_bytes())["results"]
        for key in ("id", "state", "sample", "site", "device", "images", "record"):
            entry[key]
        return dict(entry)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: is no result that edgehemo exported ({error!r:.80})") from None


def _named_cells(entry: Mapping[str, Any]) -> dict[int, list[NamedCell]]:
    """The cells of a result whose names people changed, by the place of their field: the newest
    version's word.
    """
    last = entry["versions"][-1] if entry.get("versions") else {}
    amended = (last.get("amendments") or {}).get("cells") or []
    found: dict[int, list[NamedCell]] = {}
    for each in amended:
        images = entry["record"]["images"]
        cells = images[each["field"]].get("cells") or []
        if each["cell"] >= len(cells):
            continue
        cell = cells[each["cell"]]
        found.setdefault(each["field"], []).append(
            NamedCell(
                x=(cell["x0"] + cell["x1"]) / 2,
                y=(cell["y0"] + cell["y1"]) / 2,
                kind=str(cell["kind"]),
                name=str(each["type"]),
                by=str(last.get("by") or ""),
            )
        )
    return found


def table_arrivals(table: Path, given: Given, profile_of: Callable[[Path], str]) -> list[Arrival]:
    """The pictures that a table names: CSV with a column ``file``, relative to the table, and as
    many of `TABLE_COLUMNS` as are known; what a row leaves empty is as the caller says.

    profile_of: keeps a profile's file and says its digest. UsageError names the rows that are
    wrong.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table}: cannot be read as a table ({error})") from None
    strange = [name for name in columns if name not in TABLE_COLUMNS]
    if FILE_COLUMN not in columns or strange:
        what = f"no column is called {strange[0]}" if strange else f"lacks the column {FILE_COLUMN}"
        raise UsageError(f"{table}: {what}; known are {', '.join(TABLE_COLUMNS)}")
    found, faults = [], []
    places: dict[tuple[str | None, str | None, str], int] = {}
    for number, row in enumerate(rows, start=2):
        try:
            labels = _row_labels(row, given, table, profile_of)
            path = table.parent / (row[FILE_COLUMN] or "")
            if not row[FILE_COLUMN] or not path.is_file():
                raise UsageError(f"there is no picture {row[FILE_COLUMN]!r}")
        except UsageError as error:
            faults.append(f"line {number}: {error}")
            continue
        whose = (labels.site, labels.kiosk, labels.sample)
        places[whose] = places.get(whose, -1) + 1
        found.append(
            Arrival(path.read_bytes, path.name, places[whose], labels, "a table", path=path)
        )
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise UsageError(f"{table}: {'; '.join(faults[:5])}{more}")
    return found


def _row_labels(
    row: Mapping[str, str | None], given: Given, table: Path, profile_of: Callable[[Path], str]
) -> Labels:
    said = {key: (value or "").strip() for key, value in row.items() if key is not None}
    numbers = {name: _number(said[name], name) for name in _NUMBERS if said.get(name)}
    yes = {name: _yes(said[name], name) for name in _YES_OR_NO if said.get(name)}
    base = given.labels
    sample = given.sample or said.get("sample")
    if not sample:
        raise UsageError("no sample is named; fill in the column sample, or say --sample")
    person: dict[str, Any] = {name: numbers[name] for name in PERSON_COLUMNS if name in numbers}
    if "pregnancy_trimester" in person:
        person["pregnancy_trimester"] = int(person["pregnancy_trimester"])
    if said.get("sex"):
        person["sex"] = said["sex"]
    if "smoker" in yes:
        person["smoker"] = yes["smoker"]
    labels = Labels(
        sample=sample,
        site=said.get("site") or base.site,
        kiosk=said.get("kiosk") or base.kiosk,
        patient=said.get("patient") or base.patient,
        profile=profile_of(table.parent / said[PROFILE_COLUMN])
        if said.get(PROFILE_COLUMN)
        else given.profile(None),
        um_per_px=numbers.get("um_per_px", base.um_per_px),
        licence=said.get("licence") or base.licence,
        simulated=yes.get("simulated", base.simulated),
        person=person or base.person,
        values={name: numbers[name] for name in MEASURANDS if name in numbers},
    )
    if labels.um_per_px is not None and labels.um_per_px <= 0:
        raise UsageError("um_per_px must be greater than 0")
    if (who := person_of(labels.person)) is not None and (problems := who.problems()):
        raise UsageError("; ".join(problems))
    return labels


def person_of(values: Mapping[str, Any]) -> Person | None:
    """What a WHO grade depends on, from the columns of a row; None where no age is known."""
    if values.get("age_years") is None:
        return None
    known = {key: values[key] for key in PERSON_COLUMNS if values.get(key) is not None}
    return Person(**known)


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name} {text!r} is no number")
    return value


def _yes(text: str, name: str) -> bool:
    if text.lower() not in _YES:
        raise UsageError(f"{name} {text!r} is neither yes nor no")
    return _YES[text.lower()]


def named_table(path: Path) -> dict[Path, list[NamedCell]]:
    """The cells that a table names: CSV with ``file`` (relative to the table), ``x``, ``y`` (px of
    the picture) and ``class``, and ``kind`` and ``by`` where they are known; by picture.

    UsageError names the line that is wrong.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as a table ({error})") from None
    found: dict[Path, list[NamedCell]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            cell = NamedCell(
                x=_number(row["x"], "x"), y=_number(row["y"], "y"), name=row["class"].strip(),
                kind=(row.get("kind") or "").strip(), by=(row.get("by") or "").strip(),
            )  # fmt: skip
            picture = (path.parent / row["file"]).resolve()
        except (KeyError, TypeError, ValueError, AttributeError, UsageError):
            raise UsageError(
                f"{path}: line {number}: needs file, the numbers x and y, and class"
            ) from None
        if not cell.name:
            raise UsageError(f"{path}: line {number}: names no class")
        found.setdefault(picture, []).append(cell)
    return found


def with_named(
    items: Iterable[Arrival | LeftOut], named: Mapping[Path, Sequence[NamedCell]]
) -> Iterator[Arrival | LeftOut]:
    """The same, each picture with the cells that `named_table` has of it. UsageError, at the end,
    for a table that names pictures which did not come.
    """
    left = set(named)
    for item in items:
        if isinstance(item, Arrival) and item.path is not None:
            path = item.path.resolve()
            left.discard(path)
            yield replace(item, named=(*item.named, *named.get(path, ())))
        else:
            yield item
    if left:
        raise UsageError(
            f"{min(left)}: cells of it are named, and it is not among the pictures that come in"
        )
