"""Reviewed cells and paired values as a data set that trains models, without whose they are.

A folder in the layout of `edgehemo.records.exports.dataset`: every cell that a person named as a
picture of its own, cut from its canonical field as the device cuts it, in the folder of that name;
``cells.csv`` with who said it (a pseudonym) and what the model had said; of samples that an
analyser measured too, ``samples.csv`` with the values and the fields' pictures below ``fields/``,
as `edgehemo calibrate analyser` takes them.

Left out are withdrawn results, and simulated ones where there are real ones. What a camera wrote
into its files is not taken along.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edgehemo.cells.cell import NOT_A_CELL
from edgehemo.cells.crops import crop_at
from edgehemo.errors import EdgeHemoError, RecordsError, UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField, canonical_field
from edgehemo.files.atomic import write_bytes_atomically, write_text_atomically
from edgehemo.files.staging import FolderBusyError, StagedFolder
from edgehemo.measurands import MEASURANDS
from edgehemo.records.artefacts import kept_profile
from edgehemo.records.exports.dataset import (
    CELLS_FOLDER,
    CELLS_TABLE,
    DATASET_FILE,
    FIELDS_FOLDER,
    SAMPLES_TABLE,
    DatasetFile,
    dataset_text,
    read_dataset,
)
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.pairs import pairs
from edgehemo.records.results import StoredResult
from edgehemo.records.reviews import Review, reviews_of
from edgehemo.report.asked_cells import INCLUSION_TYPES
from edgehemo.report.pictures import png
from edgehemo.screening.field import FieldReading

if TYPE_CHECKING:
    from edgehemo.profile.profile import CalibrationProfile

# Side of a cell's picture: 40 um, so that every classifier finds its surroundings in it.
CELL_PX = 160
CELL_COLUMNS = (
    "file", "group", "class", "kind", "verdict", "by", "model_type", "model_score", "month",
    "result",
)  # fmt: skip
_ABOUT = {
    "licence": "Under what terms these pictures may be used. FILL THIS IN before you hand them on.",
    "pixels": "The illumination is divided out; 200 is clear background.",
    "um_per_px": "Micrometres a pixel of the cells' pictures.",
    "groups": "Pictures of one group (a sample) stay together when some are kept out to measure "
    "by: the column group of cells.csv.",
    "simulated": "Whether a simulated microscope drew them; then they say nothing of real blood.",
}
_NOTES = (
    "A data set made by `edgehemo records export --format training`: cells that people named at",
    "the kiosk, without names of samples, people and places.",
    "edgehemo train nucleated|morphology --data THIS_FOLDER (or a folder that holds it beside",
    "others) learns from it.",
)


@dataclass(frozen=True, slots=True)
class _Cut:
    """What became of the cells: rows of the table, and how many had no picture any more."""

    rows: list[dict[str, str]]
    lost: int


def write_training_export(export: Exporting, out: Path) -> None:
    """Write the data set; an earlier one there is replaced, anything else is not.

    UsageError where names are asked for, or where the folder holds something else. RecordsError
    where there is no named cell and no paired value.
    """
    if export.view.identified:
        raise UsageError(
            "a data set for training never holds names: leave --identified out; the pseudonyms are "
            "the same each time"
        )
    former = _former(out)
    results, simulated = _chosen(export.results)
    try:
        staged = StagedFolder(out)
    except FolderBusyError:
        raise UsageError(f"{out}: another edgehemo is writing there; wait for its end") from None
    try:
        _fill(export, results, simulated, staged.path)
        staged.publish(former)
    except BaseException:
        staged.discard()
        raise


def _chosen(results: Sequence[StoredResult]) -> tuple[list[StoredResult], bool]:
    """The results that can teach, and whether they are simulated: real ones where there are any."""
    valid = [result for result in results if result.latest.state != "withdrawn"]
    real = [result for result in valid if not result.simulated]
    return (real, False) if real else (valid, True)


def _fill(
    export: Exporting, results: Sequence[StoredResult], simulated: bool, folder: Path
) -> None:
    rows: list[dict[str, str]] = []
    lost = fields = 0
    references = _references(export, results)
    chosen = {result.number for result in results}
    for result in export.results:
        if result.number in chosen:
            cut = _cells_of(export, result, folder)
            rows += cut.rows
            lost += cut.lost
            if export.view.name("sample", result.sample_now) in references:
                fields += _fields_of(export, result, folder)
        export.on_result()
    if not rows and not fields:
        raise RecordsError(
            "there is nothing to learn from: no cell of these results was named by a person and "
            "has its picture still, and no sample of them has a value of an analyser"
        )
    classes = sorted({row["class"] for row in rows})
    if rows:
        _write_table(folder / CELLS_TABLE, CELL_COLUMNS, rows)
    if fields:
        _write_samples(folder, references)
    dataset = DatasetFile(
        name=_name(export, results),
        pixels="canonical",
        um_per_px=CANONICAL_UM_PER_PX,
        groups="table",
        simulated=simulated,
        # No classifier learns what lies on a cell or in it.
        classes={name: "" if name in INCLUSION_TYPES else name for name in classes},
    )
    counted = Counter(row["class"] for row in rows)
    held = ", ".join(f"{name} {counted[name]}" for name in classes) or "none"
    notes = (
        *_NOTES,
        f"Cells: {held}.",
        f"Cells whose picture is gone: {lost}.",
        f"Samples with values of an analyser: {len(references) if fields else 0}.",
    )
    write_text_atomically(folder / DATASET_FILE, dataset_text(dataset, _ABOUT, notes))


def _name(export: Exporting, results: Sequence[StoredResult]) -> str:
    """What the set is called: by the device's pseudonym, the same each time."""
    devices = sorted({str(export.view.name("device", result.device)) for result in results})
    return f"own_{devices[0].lower().replace('-', '_')}" if devices else "own"


def _cells_of(export: Exporting, result: StoredResult, folder: Path) -> _Cut:
    """Write the pictures of a result's named cells."""
    newest = {(item.field, item.cell): item for item in reviews_of(export.reader, result.number)}
    named = [item for item in newest.values() if _class_of(item) is not None]
    by_field: dict[int, list[Review]] = {}
    for item in named:
        by_field.setdefault(item.field, []).append(item)
    if not by_field:
        return _Cut([], 0)
    readings = result.document(export.reader).images()
    rows: list[dict[str, str]] = []
    lost = 0
    with TemporaryDirectory(prefix="edgehemo-profile-") as scratch:
        profile = _profile_of(export, result, Path(scratch))
        for position, reviews in sorted(by_field.items()):
            reading = readings[position]
            field = _field_again(export, result, position, reading, profile)
            if field is None or not isinstance(reading, FieldReading) or reading.cells is None:
                lost += len(reviews)
                continue
            codes, (across, down) = field.to_uint8(), field.frame_px_per_canonical_px
            for item in sorted(reviews, key=lambda item: item.cell):
                x, y = reading.cells.cells[item.cell].centre
                crop = crop_at(codes, (x / across, y / down), CELL_PX)
                row = _row(export, result, item)
                write_bytes_atomically(folder / row["file"], png(crop))
                rows.append(row)
    return _Cut(rows, lost)


def _class_of(item: Review) -> str | None:
    """The folder of a cell; None where nobody could tell."""
    if item.verdict == "not a cell":
        return NOT_A_CELL
    return item.type if item.verdict in ("confirmed", "renamed") else None


def _row(export: Exporting, result: StoredResult, item: Review) -> dict[str, str]:
    view, name = export.view, _class_of(item)
    group = str(view.name("sample", result.sample_now))
    file = f"{group}_{result.id[:9]}_{item.field + 1:03d}_{item.cell + 1:04d}.png"
    return {
        "file": f"{CELLS_FOLDER}/{name}/{file}",
        "group": group,
        "class": str(name),
        "kind": item.kind,
        "verdict": item.verdict,
        "by": str(view.name("operator", item.by)),
        "model_type": item.model_type or "",
        "model_score": "" if item.model_score is None else f"{item.model_score:.4f}",
        "month": view.moment(item.at)[:7],
        "result": result.id,
    }


def _profile_of(export: Exporting, result: StoredResult, folder: Path) -> CalibrationProfile | None:
    """The profile that the result was measured with, None where it had none."""
    if result.profile_sha256 is None:
        return None
    return kept_profile(export.reader, result.profile_sha256, folder, "profile.json")


def _field_again(
    export: Exporting,
    result: StoredResult,
    position: int,
    reading: object,
    profile: CalibrationProfile | None,
) -> CanonicalField | None:
    """The canonical field that the cells were found in; None where its picture is gone."""
    field = result.fields[position]
    kept = field.sha256 is not None and export.reader.contents.has(field.sha256)
    if not kept or not isinstance(reading, FieldReading):
        return None
    try:
        frame = field.frame(export.reader)
        return canonical_field(frame, um_per_px=reading.um_per_px, profile=profile)
    except EdgeHemoError:
        return None


def _references(
    export: Exporting, results: Sequence[StoredResult]
) -> Mapping[str, Mapping[str, float]]:
    """Analyser values by the pseudonym of the sample, those of the results alone."""
    wanted = {result.sample_now for result in results}
    found: dict[str, dict[str, float]] = {}
    for item in pairs(export.reader):
        if item.sample in wanted:
            name = str(export.view.name("sample", item.sample))
            found.setdefault(name, {})[item.measurand] = item.value
    return found


def _fields_of(export: Exporting, result: StoredResult, folder: Path) -> int:
    """Write a sample's pictures anew, each of its pixels alone; returns how many."""
    sample = str(export.view.name("sample", result.sample_now))
    written = 0
    for field in result.fields:
        if field.sha256 is None or not export.reader.contents.has(field.sha256):
            continue
        try:
            frame = field.frame(export.reader)
        except EdgeHemoError:
            continue
        name = f"{result.id[:9]}_{field.position + 1:03d}.png"
        write_bytes_atomically(folder / FIELDS_FOLDER / sample / name, png(frame.pixels))
        written += 1
    return written


def _write_samples(folder: Path, references: Mapping[str, Mapping[str, float]]) -> None:
    """The table of `edgehemo calibrate analyser`: every column filled in every row.

    A measurand that some samples lack is left out where another is known of all, else those samples
    are.
    """
    pictured = {
        name: values
        for name, values in references.items()
        if (folder / FIELDS_FOLDER / name).is_dir()
    }
    known = Counter(name for values in pictured.values() for name in values)
    most = max(known.values())
    columns = [name for name in MEASURANDS if known[name] == most]
    rows = [
        {"sample": sample, **{name: f"{values[name]:g}" for name in columns}}
        for sample, values in sorted(pictured.items())
        if all(name in values for name in columns)
    ]
    _write_table(folder / SAMPLES_TABLE, ("sample", *columns), rows)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(path, table.getvalue())


def _former(out: Path) -> tuple[str, ...]:
    """The files of an earlier data set there, which may be replaced."""
    if not out.is_dir() or not any(out.iterdir()):
        return ()
    if not (out / DATASET_FILE).is_file() or read_dataset(out).pixels != "canonical":
        raise UsageError(
            f"{out}: holds something else, which is not replaced; choose another --out"
        )
    return tuple(path.relative_to(out).as_posix() for path in _own(out))


def _own(out: Path) -> Iterator[Path]:
    for name in (DATASET_FILE, CELLS_TABLE, SAMPLES_TABLE):
        if (out / name).is_file():
            yield out / name
    for name in (CELLS_FOLDER, FIELDS_FOLDER):
        for path in (out / name).rglob("*.png"):
            if path.is_file():
                yield path
