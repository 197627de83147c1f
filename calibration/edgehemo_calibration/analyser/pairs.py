"""Reads the pairs of a calibration: which pictures belong to which analyser result."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import CalibrationError, TableError
from edgehemo.images.reading import IMAGE_SUFFIXES, natural_key
from edgehemo.measurands import PLAUSIBLE, Measurand
from edgehemo_calibration.analyser.columns import Column, columns_of, recognised
from edgehemo_calibration.analyser.rows import impossible_indices


@dataclass(frozen=True, slots=True)
class _OtherUnit:
    """The usual other unit, the factor into ours, and what a column in it is called."""

    unit: str
    factor: float
    column: str


_OTHER_UNIT: Mapping[Measurand, _OtherUnit] = {
    "hgb_g_per_l": _OtherUnit("g/dL", 10.0, "hgb_g_per_dl"),
    "hct_l_per_l": _OtherUnit("per cent", 0.01, "hct_percent"),
}
# Between a sample's name and what tells its fields apart.
SEPARATORS = ("_", "-", ".", " ")
MAX_CSV_BYTES = 8 * 1024 * 1024
# What separates the cells: as CSV says, as spreadsheets of half of Europe write it, and tabs.
DELIMITERS = (",", ";", "\t")

# As many decimals as a spreadsheet writes of a number that is none in binary.
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,17})?", re.ASCII)
_KEPT_DECIMALS = 6
_SEPARATOR_LINE = re.compile(r"sep=[,;\t]\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample: its name, the rows of the file it stands on, its pictures, its references."""

    name: str
    rows: tuple[int, ...]
    images: tuple[Path, ...]
    reference: Mapping[Measurand, float]


@dataclass(frozen=True, slots=True)
class _Table:
    """The cells of a table; each row with its number in the file."""

    header: list[str]
    rows: list[tuple[int, list[str]]]
    decimal_comma: bool


def read_pairs(csv_path: Path, images: Path) -> tuple[Pair, ...]:
    """Read the table (UTF-8, a header) and find the pictures under the folder ``images``.

    Cells are separated by commas, semicolons or tabs; with the latter two a decimal comma is read.

    Columns: ``image`` (a path inside the folder) or ``sample`` (a folder in it, or what its files'
    names begin with before ``_ - .`` or a space), or both (pictures of one sample in several
    rows); and at least one of hgb_g_per_l, hct_l_per_l, rbc_1e12_per_l, filled in every row,
    or of the same in another unit that the column says (`edgehemo_calibration.analyser.columns`).
    Further columns are ignored unless they are near to a known one. Rows count from 1, the header.

    Raises TableError with every fault and its row, also where a row is not one person's blood, or
    CalibrationError for what is no table.
    """
    if not images.is_dir():
        raise CalibrationError(f"{images}: no such folder of images")
    table = _table(csv_path)
    columns, problems = columns_of(table.header)
    if problems:
        raise TableError(str(csv_path), problems)
    header = table.header
    found = _Found(images, by_sample="sample" in columns.places, by_image="image" in columns.places)
    for number, cells in table.rows:
        if len(cells) != len(header):
            problems.append(f"row {number}: {len(cells)} cells, the header has {len(header)}")
            continue
        reference, faults = _references(cells, columns.measured, table.decimal_comma)
        places = {name: cells[index].strip() for name, index in columns.places.items()}
        faults += found.add(number, places, reference)
        problems += [f"row {number}: {fault}" for fault in faults]
    pairs, unfound = found.pairs()
    problems += unfound
    if not table.rows:
        problems.append("no row below the header")
    if problems:
        raise TableError(str(csv_path), problems)
    return pairs


class _Found:
    """Collects rows into samples, and finds the pictures of each."""

    def __init__(self, folder: Path, *, by_sample: bool, by_image: bool) -> None:
        self._folder = folder
        self._by_sample = by_sample
        self._by_image = by_image
        self._rows: dict[str, list[int]] = {}
        self._images: dict[str, list[Path]] = {}
        self._references: dict[str, Mapping[Measurand, float]] = {}
        self._row_of_image: dict[Path, int] = {}

    def add(
        self, number: int, row: Mapping[str, str], reference: Mapping[Measurand, float]
    ) -> list[str]:
        """Take one row; what is wrong with it."""
        faults = []
        image: Path | None = None
        if self._by_image:
            image, fault = _inside(self._folder, row["image"])
            faults += [fault] if fault else []
            if image is not None:
                if image in self._row_of_image:
                    faults.append(
                        f"image {row['image']!r} is in row {self._row_of_image[image]} already"
                    )
                    return faults
                self._row_of_image[image] = number
        name = row["sample"] if self._by_sample else row["image"]
        if not name:
            if self._by_sample:
                faults.append("sample is empty")
            return faults
        if name in self._rows:
            if not self._by_image:
                return [*faults, f"sample {name!r} is in row {self._rows[name][0]} already"]
            if dict(self._references[name]) != dict(reference):
                faults.append(f"sample {name!r} has other values than in row {self._rows[name][0]}")
        self._rows.setdefault(name, []).append(number)
        self._references.setdefault(name, reference)
        if image is not None:
            self._images.setdefault(name, []).append(image)
        return faults

    def pairs(self) -> tuple[tuple[Pair, ...], list[str]]:
        """The samples in the order of the file, and those without a picture."""
        problems = []
        if not self._by_image:
            self._images = images_of_samples(self._folder, list(self._rows))
            problems = [
                f"row {rows[0]}: no picture for sample {name!r} (neither a folder "
                f"{name!r} nor files that begin with it)"
                for name, rows in self._rows.items()
                if not self._images[name]
            ]
        pairs = tuple(
            Pair(name, tuple(rows), tuple(self._images.get(name, [])), self._references[name])
            for name, rows in self._rows.items()
        )
        return pairs, problems


def images_of_samples(folder: Path, samples: Sequence[str]) -> dict[str, list[Path]]:
    """The pictures of each sample: those in ``folder/sample/``, else files that begin with its
    name and a separator. A file belongs to the longest name that fits it.
    """
    files = _pictures(folder)
    found: dict[str, list[Path]] = {}
    own_folder = {name for name in samples if _is_plain(name) and (folder / name).is_dir()}
    by_length = sorted((s for s in samples if s not in own_folder), key=len, reverse=True)
    for name in samples:
        found[name] = _pictures(folder / name) if name in own_folder else []
    for file in files:
        owner = next((name for name in by_length if _belongs(file.name, name)), None)
        if owner is not None:
            found[owner].append(file)
    return found


def _belongs(file_name: str, sample: str) -> bool:
    return any(file_name.startswith(sample + separator) for separator in SEPARATORS)


def _is_plain(name: str) -> bool:
    return bool(name) and Path(name).name == name and name not in (".", "..")


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        ),
        key=natural_key,
    )


def _inside(folder: Path, name: str) -> tuple[Path | None, str]:
    if not name:
        return None, "image is empty"
    if "\0" in name:
        return None, "image is not a file name"
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return None, f"image {name!r} must lie inside the folder of images"
    if not (folder / path).is_file():
        return None, f"no image {name!r} in the folder of images"
    return folder / path, ""


def _references(
    cells: Sequence[str], columns: Sequence[Column], decimal_comma: bool
) -> tuple[dict[Measurand, float], list[str]]:
    values: dict[Measurand, float] = {}
    faults = []
    for column in columns:
        text = cells[column.index].strip()
        plain = text.replace(",", ".", 1) if decimal_comma else text
        if not text:
            faults.append(f"{column.name} is empty: fill it in or leave the row out")
        elif not _NUMBER.fullmatch(plain):
            faults.append(
                f"{column.name} {text[:20]!r} is not a plain number (digits and a decimal point)"
            )
        else:
            # A spreadsheet's 27.900000000000002 is the 27.9 it shows.
            value = round(float(plain) * column.factor, _KEPT_DECIMALS)
            values[column.measurand] = value
            faults += _implausible(column, float(plain), value)
    if not faults:
        faults += impossible_indices(values)
    return values, faults


def _implausible(column: Column, given: float, value: float) -> list[str]:
    low, high = PLAUSIBLE[column.measurand]
    if low <= value <= high:
        return []
    limits = f"{low / column.factor:.4g} to {high / column.factor:.4g}"
    message = f"{column.name} {given:g} is outside {limits}"
    other = _OTHER_UNIT.get(column.measurand)
    if other is not None and column.factor == 1.0 and low <= value * other.factor <= high:
        message += (
            f"; if it is in {other.unit}, multiply it by {other.factor:g} or name the column "
            f"{other.column}"
        )
    return [message]


def _table(path: Path) -> _Table:
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise CalibrationError(f"{path}: too large for a list of pairs")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CalibrationError(f"{path}: no such file of pairs") from None
    except UnicodeDecodeError:
        raise CalibrationError(f"{path}: no UTF-8 text; save it as CSV (UTF-8)") from None
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error.strerror or error}") from None
    if "\0" in text:
        raise CalibrationError(f"{path}: no text; save it as CSV (UTF-8)")
    first = 1
    if marked := _SEPARATOR_LINE.match(text):  # as Excel writes and reads it
        text, first = text[marked.end() :], 2
    try:
        tables = {sign: _parsed(text, sign) for sign in DELIMITERS}
    except csv.Error as error:
        raise CalibrationError(f"{path}: no valid CSV ({error})") from None
    # The sign that makes known columns of the first row; a comma where none does.
    sign = max(DELIMITERS, key=lambda each: recognised(tables[each][0]) if tables[each] else 0)
    table = tables[sign]
    if not table:
        raise CalibrationError(f"{path}: empty; the first row must name the columns")
    return _Table(
        header=[cell.strip() for cell in table[0]],
        rows=[
            (number, cells)
            for number, cells in enumerate(table[1:], start=first + 1)
            if any(map(str.strip, cells))
        ],
        decimal_comma=sign != ",",
    )


def _parsed(text: str, sign: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True))
