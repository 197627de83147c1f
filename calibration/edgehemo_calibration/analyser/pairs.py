"""Reads the pairs of a calibration: which pictures belong to which analyser result."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import CalibrationError
from edgehemo.images.reading import IMAGE_SUFFIXES, natural_key
from edgehemo.measurands import MEASURANDS, Measurand

# What a living person's blood can be, in the column's unit; beyond it the unit is wrong or the
# number is. The factor turns the usual other unit (g/dL, per cent, 10^6/uL being equal) into ours.
PLAUSIBLE: Mapping[Measurand, tuple[float, float]] = {
    "hgb_g_per_l": (20.0, 260.0),
    "hct_l_per_l": (0.05, 0.80),
    "rbc_1e12_per_l": (0.5, 9.5),
}
_OTHER_UNIT: Mapping[Measurand, tuple[str, float]] = {
    "hgb_g_per_l": ("g/dL", 10.0),
    "hct_l_per_l": ("per cent", 0.01),
}
# Between a sample's name and what tells its fields apart.
SEPARATORS = ("_", "-", ".", " ")
MAX_CSV_BYTES = 8 * 1024 * 1024
MAX_PROBLEMS_SHOWN = 20

_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pair:
    """One sample: its name, the rows of the file it stands on, its pictures, its references."""

    name: str
    rows: tuple[int, ...]
    images: tuple[Path, ...]
    reference: Mapping[Measurand, float]


def read_pairs(csv_path: Path, images: Path) -> tuple[Pair, ...]:
    """Read the CSV (UTF-8, comma, a header) and find the pictures under the folder ``images``.

    Columns: ``image`` (a path inside the folder) or ``sample`` (a folder in it, or what its files'
    names begin with before ``_ - .`` or a space), or both (pictures of one sample in several
    rows); and at least one of hgb_g_per_l, hct_l_per_l, rbc_1e12_per_l, filled in every row.
    Further columns are ignored. Rows count from 1, the header.

    Raises CalibrationError, one line that lists every problem with its row.
    """
    if not images.is_dir():
        raise CalibrationError(f"{images}: no such folder of images")
    header, rows = _table(csv_path)
    measurands = _checked_header(csv_path, header)
    problems: list[str] = []
    found = _Found(images, by_sample="sample" in header, by_image="image" in header)
    for number, cells in rows:
        if len(cells) != len(header):
            problems.append(f"row {number}: {len(cells)} cells, the header has {len(header)}")
            continue
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        reference, faults = _references(row, measurands)
        faults += found.add(number, row, reference)
        problems += [f"row {number}: {fault}" for fault in faults]
    pairs, unfound = found.pairs()
    problems += unfound
    if not rows:
        problems.append("no row below the header")
    if problems:
        shown = "; ".join(problems[:MAX_PROBLEMS_SHOWN])
        more = len(problems) - MAX_PROBLEMS_SHOWN
        raise CalibrationError(f"{csv_path}: {shown}" + (f"; and {more} more" if more > 0 else ""))
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
    row: Mapping[str, str], measurands: Sequence[Measurand]
) -> tuple[dict[Measurand, float], list[str]]:
    values: dict[Measurand, float] = {}
    faults = []
    for name in measurands:
        text = row[name]
        if not text:
            faults.append(f"{name} is empty: fill it in or leave the row out")
        elif not _NUMBER.fullmatch(text):
            faults.append(
                f"{name} {text[:20]!r} is not a plain number (digits and a decimal point)"
            )
        else:
            values[name] = float(text)
            faults += _implausible(name, values[name])
    return values, faults


def _implausible(name: Measurand, value: float) -> list[str]:
    low, high = PLAUSIBLE[name]
    if low <= value <= high:
        return []
    message = f"{name} {value:g} is outside {low:g} to {high:g}"
    unit, factor = _OTHER_UNIT.get(name, ("", 1.0))
    if unit and low <= value * factor <= high:
        message += f"; if it is in {unit}, multiply it by {factor:g}"
    return [message]


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
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
    try:
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise CalibrationError(f"{path}: no valid CSV ({error})") from None
    if not table:
        raise CalibrationError(f"{path}: empty; the first row must name the columns")
    header = [cell.strip() for cell in table[0]]
    rows = [(i, cells) for i, cells in enumerate(table[1:], start=2) if any(map(str.strip, cells))]
    return header, rows


def _checked_header(path: Path, header: Sequence[str]) -> list[Measurand]:
    problems = []
    if len(header) == 1 and ";" in header[0]:
        problems.append("columns are separated by semicolons; save it with commas")
    if "image" not in header and "sample" not in header:
        problems.append("no column `image` or `sample`")
    measurands = [name for name in MEASURANDS if name in header]
    if not measurands:
        problems.append(f"none of the columns {', '.join(MEASURANDS)}")
    used = ("image", "sample", *MEASURANDS)
    problems += [f"column {name!r} occurs twice" for name in used if header.count(name) > 1]
    if problems:
        raise CalibrationError(f"{path}: {'; '.join(problems)}")
    return measurands
