"""Training sets by query: fields that a condition chooses, as a folder that `edgehemo train` takes.

Cells that people named, each as a picture cut from its canonical field; of samples that an analyser
measured, their fields and values. Or, for people to look at, whole fields with the boxes and names
that a bundle gives, which nobody has checked. The same archive and condition give the same files.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgehemo.cells.cell import UNCERTAIN
from edgehemo.cells.crops import crop_at
from edgehemo.errors import EdgeHemoError, UsageError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField, canonical_field
from edgehemo.files.atomic import dump_json, write_bytes_atomically, write_text_atomically
from edgehemo.files.staging import FolderBusyError, StagedFolder
from edgehemo.images.frame import Frame
from edgehemo.images.reading import picture_of
from edgehemo.measurands import MEASURAND_FACTS, MEASURANDS
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.records.exports.dataset import (
    CELLS_FOLDER,
    CELLS_TABLE,
    DATASET_FILE,
    FIELDS_FOLDER,
    IMAGES_FOLDER,
    SAMPLES_TABLE,
    DatasetFile,
    dataset_text,
)
from edgehemo.records.exports.training_export import CELL_PX
from edgehemo.report.asked_cells import INCLUSION_TYPES
from edgehemo.report.pictures import png
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.equipment import ReadingFile, kept_profile
from edgehemo_laboratory.archive.output import DatasetOutput
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.archive.queries import Queries, queries
from edgehemo_laboratory.archive.reading import unpacked
from edgehemo_laboratory.archive.tables import CATALOGUE, VALUE_COLUMNS, read_table
from edgehemo_laboratory.errors import LaboratoryError

LabelsBy = Literal["people", "model"]
PROVENANCE_TABLE = "provenance.csv"
# The COCO file of the layout of that name, as own sets have it.
_ANNOTATIONS = "annotations.json"
_MAX_LICENCE = 500
# What a condition can ask of a field, beside the columns of the catalogue.
ASKED = (
    "read_accepted, read_rbc, read_wbc, read_platelet, read_focus, read_um_per_px, read_status, "
    "sample_hgb, sample_grade, sample_outcome, other_accepted, other_rbc, other_sample_hgb, "
    "disagreement, named_cells"
)
_NOT_ASKED = frozenset({"item", "at_s", "ingest", "error", "sample_key", "position"})
_CELL_COLUMNS = ("file", "group", "class", "kind", "by", "field")
_PROVENANCE_COLUMNS = (
    "file", "group", "field", "site", "kiosk", "licence", "origin", "bundle_sha256",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """What a data set is made of. where: a condition in SQL; None takes every field. most: at most
    so many fields, those first on which two readings disagree most where two are named. labels:
    whose names the cells bear. reading, other: by whose columns the condition asks.
    """

    name: str
    where: str | None = None
    most: int | None = None
    labels: LabelsBy = "people"
    licence: str = ""
    reading: ReadingFile | None = None
    other: ReadingFile | None = None


def write_dataset(
    archive: Archive, choice: Choice, out: Path, advance: Callable[[], None] = lambda: None
) -> DatasetOutput:
    """Write a data set into a folder that is empty or not there.

    LaboratoryError for a condition that is none, UsageError where nothing is chosen, where nobody
    named a cell of what is chosen, or where the folder holds something.
    """
    if choice.labels == "model" and choice.reading is None:
        raise UsageError("labels of the model are those of a bundle; name it with --bundle")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: holds something already; choose another --out")
    chosen, named = _chosen(archive, choice)
    if not chosen:
        raise UsageError("no field is chosen; loosen --where, or look at `edgehemo archive status`")
    if choice.labels == "people" and not named and not any(map(_measured, chosen)):
        raise UsageError(
            f"of the {len(chosen)} fields that are chosen nobody named a cell, and no analyser "
            "measured their samples; --labels model gives a bundle's own names, for people to check"
        )
    try:
        staged = StagedFolder(out)
    except FolderBusyError:
        raise UsageError(f"{out}: another edgehemo is writing there; wait for its end") from None
    try:
        made = _Made(archive, choice, staged.path, advance)
        (made.of_people if choice.labels == "people" else made.of_model)(chosen, named)
        output = made.finished(chosen)
        staged.publish(())
    except BaseException:
        staged.discard()
        raise
    return output


def group_of(row: Mapping[str, Any]) -> str:
    """What a field's pictures bear in common with those they must stay together with: a pseudonym
    of the patient, else of the sample.
    """
    said = f"patient {row['patient']}" if row["patient"] else f"sample {row['sample_key']}"
    return f"G-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _measured(row: Mapping[str, Any]) -> bool:
    return any(row[name] is not None for name in VALUE_COLUMNS)


def _chosen(
    archive: Archive, choice: Choice
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """The fields that are chosen, in a fixed order, and the named cells of each."""
    with queries(archive) as asked:
        _view(asked, "read", choice.reading)
        _view(asked, "other", choice.other)
        asked.do(
            "CREATE VIEW named_now AS SELECT * FROM named QUALIFY row_number() OVER (PARTITION BY "
            "field, round(x), round(y) ORDER BY ingest DESC) = 1"
        )
        asked.do(
            "CREATE VIEW choices AS SELECT f.*, r.status AS read_status, r.accepted AS "
            "read_accepted, r.rbc AS read_rbc, r.wbc AS read_wbc, r.platelet AS read_platelet, "
            "r.focus AS read_focus, r.um_per_px AS read_um_per_px, r.plan AS read_plan, r.batch AS "
            "read_batch, s.hgb_g_per_l AS sample_hgb, s.grade AS sample_grade, s.outcome AS "
            "sample_outcome, o.accepted AS other_accepted, o.rbc AS other_rbc, t.hgb_g_per_l AS "
            "other_sample_hgb, CASE WHEN r.accepted IS NULL OR o.accepted IS NULL THEN NULL "
            "WHEN r.accepted <> o.accepted THEN 1.0 ELSE coalesce(abs(r.rbc - o.rbc) / "
            "greatest(r.rbc, o.rbc, 1.0), 0.0) END AS disagreement, "
            "coalesce(n.cells, 0) AS named_cells "
            "FROM fields f LEFT JOIN read_fields_rows r ON r.item = f.item "
            "LEFT JOIN other_fields_rows o ON o.item = f.item "
            "LEFT JOIN read_samples_now s ON s.sample_key = f.sample_key "
            "LEFT JOIN other_samples_now t ON t.sample_key = f.sample_key "
            "LEFT JOIN (SELECT field, count(*) AS cells FROM named_now GROUP BY field) n "
            "ON n.field = f.field"
        )
        asked.closed_to(archive.table_folders())
        where = f"WHERE ({choice.where})" if choice.where else ""
        most = "" if choice.most is None else f"LIMIT {choice.most:d}"
        with _condition_told(choice.where):
            found = asked.table(
                f"SELECT * FROM (SELECT * FROM choices {where} ORDER BY disagreement DESC "
                f"NULLS LAST, field {most}) ORDER BY site, kiosk, sample, position, field"
            ).to_pylist()
        fields = {row["field"] for row in found}
        named: dict[str, list[dict[str, Any]]] = {}
        for row in asked.table("SELECT * FROM named_now ORDER BY field, y, x").to_pylist():
            if row["field"] in fields and row["class"] != UNCERTAIN:
                named.setdefault(row["field"], []).append(row)
    return found, named


@contextlib.contextmanager
def _condition_told(where: str | None) -> Iterator[None]:
    """What cannot be answered is the condition's fault."""
    try:
        yield
    except LaboratoryError as error:
        columns = ", ".join(name for name in CATALOGUE.names if name not in _NOT_ASKED)
        raise UsageError(
            f"--where {where!r} is no condition: {error}. It may ask for {columns}, {ASKED}"
        ) from None


def _view(asked: Queries, name: str, file: ReadingFile | None) -> None:
    """The views of a reading; empty ones where none is named."""
    asked.look_at("none" if file is None else file.reading, f"{name}_")


class _Made:
    """A data set in the making."""

    def __init__(
        self, archive: Archive, choice: Choice, folder: Path, advance: Callable[[], None]
    ) -> None:
        self._archive, self._choice, self._folder = archive, choice, folder
        self._advance = advance
        self._profiles: dict[str, CalibrationProfile] = {}
        self._provenance: list[dict[str, Any]] = []
        self._classes: Counter[str] = Counter()
        self._groups: set[str] = set()
        self._measured: dict[str, dict[str, float]] = {}
        self._written = self._lost = 0

    def of_people(
        self, chosen: Sequence[dict[str, Any]], named: Mapping[str, Sequence[dict[str, Any]]]
    ) -> None:
        """Cells that people named, and the fields of measured samples."""
        rows: list[dict[str, Any]] = []
        for row in chosen:
            self._advance()
            cells = named.get(row["field"], [])
            if not cells and not _measured(row):
                continue
            frame = self._frame(row)
            if frame is None:
                self._lost += max(1, len(cells))
                continue
            if cells:
                rows += self._cut(row, frame, cells)
            if _measured(row):
                self._field_of_sample(row, frame)
        if rows:
            _write_table(self._folder / CELLS_TABLE, _CELL_COLUMNS, rows)
        if self._measured:
            self._write_samples()

    def of_model(
        self, chosen: Sequence[dict[str, Any]], _: Mapping[str, Sequence[dict[str, Any]]]
    ) -> None:
        """Whole fields with what the bundle found in them, as COCO has it."""
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        categories: dict[str, int] = {}
        for row, blob in self._readings(chosen):
            self._advance()
            frame = self._frame(row)
            cells = None if blob is None else unpacked(blob).cells
            if frame is None or cells is None:
                self._lost += 1
                continue
            file = self._put(row, IMAGES_FOLDER, png(frame.pixels))
            number = len(images) + 1
            images.append(
                {
                    "id": number, "file_name": file.partition("/")[2], "width": frame.width,
                    "height": frame.height,
                }
            )  # fmt: skip
            for cell in (each.rounded() for each in cells.cells):
                name = cell.kind if cell.type == UNCERTAIN else cell.type
                self._classes[name] += 1
                boxes.append(
                    {
                        "id": len(boxes) + 1, "image_id": number,
                        "category_id": categories.setdefault(name, len(categories) + 1),
                        "bbox": [
                            cell.x0, cell.y0, round(cell.x1 - cell.x0, 2),
                            round(cell.y1 - cell.y0, 2),
                        ],
                        "score": cell.score,
                    }
                )  # fmt: skip
        document = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        }
        write_text_atomically(self._folder / _ANNOTATIONS, dump_json(document))

    def finished(self, chosen: Sequence[dict[str, Any]]) -> DatasetOutput:
        """Write what the set is; UsageError where nothing of it could be made."""
        if not self._provenance:
            raise UsageError(
                "nothing of what is chosen can be made into a set: its pictures are gone, or none "
                "was accepted"
            )
        choice = self._choice
        by_model = choice.labels == "model"
        told = sorted({row["licence"] for row in chosen if row["licence"]})
        licence = (choice.licence or "; ".join(told))[:_MAX_LICENCE]
        simulated = all(bool(row["simulated"]) for row in chosen)
        _write_table(self._folder / PROVENANCE_TABLE, _PROVENANCE_COLUMNS, self._provenance)
        dataset = DatasetFile(
            name=choice.name,
            licence=licence,
            layout="coco" if by_model else "folders",
            pixels="photograph" if by_model else "canonical",
            um_per_px=None if by_model else CANONICAL_UM_PER_PX,
            groups="folder" if by_model else "table",
            simulated=simulated,
            classes={
                name: "" if name in INCLUSION_TYPES else name for name in sorted(self._classes)
            },
        )
        held = ", ".join(f"{name} {self._classes[name]}" for name in sorted(self._classes))
        notes = [
            "A data set made by `edgehemo archive dataset`: "
            + (
                "the boxes and names are a bundle's, and nobody has checked them."
                if by_model
                else "cells that people named, without names of samples, people and places."
            ),
            f"Chosen by: {' '.join((choice.where or 'every field').split())}",
            f"Fields: {len(chosen)}. Groups: {len(self._groups)}. Cells: {held or 'none'}.",
            f"{PROVENANCE_TABLE} says where each picture comes from.",
        ]
        if choice.reading is not None:
            notes.append(f"Read by the bundle {choice.reading.bundle_sha256}.")
        write_text_atomically(
            self._folder / DATASET_FILE, dataset_text(dataset, _ABOUT, tuple(notes))
        )
        return DatasetOutput(
            archive=self._archive.about,
            name=choice.name,
            labels=choice.labels,
            fields=len(chosen),
            cells=sum(self._classes.values()),
            classes=dict(sorted(self._classes.items())),
            groups=len(self._groups),
            samples_measured=len(self._measured),
            lost=self._lost,
            licence=licence,
            simulated=simulated,
        )

    def _frame(self, row: Mapping[str, Any]) -> Frame | None:
        """A field's frame; None where its bytes are gone or cannot be decoded."""
        data = self._archive.picture(row["sha256"])
        if data is None:
            return None
        try:
            return picture_of(data, row["field"]).frame(row["page"])
        except EdgeHemoError:
            return None

    def _cut(
        self, row: Mapping[str, Any], frame: Frame, cells: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        canonical = self._canonical(row, frame)
        if canonical is None:
            self._lost += len(cells)
            return []
        codes, (across, down) = canonical.to_uint8(), canonical.frame_px_per_canonical_px
        found = []
        for number, cell in enumerate(cells, start=1):
            crop = crop_at(codes, (cell["x"] / across, cell["y"] / down), CELL_PX)
            name = cell["class"]
            file = self._put(row, f"{CELLS_FOLDER}/{name}", png(crop), number)
            self._classes[name] += 1
            found.append(
                {
                    "file": file, "group": group_of(row), "class": name, "kind": cell["kind"],
                    "by": cell["by"], "field": row["field"],
                }
            )  # fmt: skip
        return found

    def _canonical(self, row: Mapping[str, Any], frame: Frame) -> CanonicalField | None:
        """The field as cells are cut from it: at the scale that a reading agreed on."""
        scale = row["read_um_per_px"] or row["um_per_px"]
        try:
            return canonical_field(frame, um_per_px=scale, profile=self._profile(row["profile"]))
        except EdgeHemoError:
            return None

    def _profile(self, digest: str | None) -> CalibrationProfile | None:
        if digest is None:
            return None
        if digest not in self._profiles:
            self._profiles[digest] = kept_profile(self._archive, digest)
        return self._profiles[digest]

    def _field_of_sample(self, row: Mapping[str, Any], frame: Frame) -> None:
        values: dict[str, float] = {name: row[name] for name in MEASURANDS if row[name] is not None}
        self._measured.setdefault(_sample_name(row), values)
        self._put(row, f"{FIELDS_FOLDER}/{_sample_name(row)}", png(frame.pixels), flat=True)

    def _put(
        self,
        row: Mapping[str, Any],
        folder: str,
        data: bytes,
        number: int | None = None,
        *,
        flat: bool = False,
    ) -> str:
        """Write a picture; its name in the set."""
        group = group_of(row)
        stem = row["field"].replace(".", "-")[:24] + row["field"][64:].replace(".", "-")
        if number is not None:
            name = f"{folder}/{group}_{stem}_{number:04d}.png"
        else:
            name = f"{folder}/{stem}.png" if flat else f"{folder}/{group}/{stem}.png"
        write_bytes_atomically(self._folder / name, data)
        self._groups.add(group)
        self._written += 1
        reading = self._choice.reading
        self._provenance.append(
            {
                "file": name,
                "group": group,
                "field": row["field"],
                "site": row["site"] or "",
                "kiosk": row["kiosk"] or "",
                "licence": row["licence"] or "",
                "origin": row["origin"] or "",
                "bundle_sha256": "" if reading is None else reading.bundle_sha256,
            }
        )
        return name

    def _readings(
        self, chosen: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], bytes | None]]:
        """Each field that was read with what was read of it; one part is open at a time."""
        reading = self._choice.reading
        assert reading is not None, "asked for before"
        wanted: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for row in chosen:
            if row["read_status"] == "read":
                wanted.setdefault((row["read_plan"], row["read_batch"]), []).append(row)
            else:
                self._lost += 1
        for (plan, batch), rows in sorted(wanted.items()):
            key = layout.part_key(reading.reading, "fields", plan, batch)
            data = self._archive.store.get(key)
            if data is None:
                raise LaboratoryError(f"{self._archive.about}: {key} is gone")
            blobs = {
                each["item"]: each["reading"]
                for each in read_table(data, ["item", "reading"]).to_pylist()
            }
            yield from ((row, blobs.get(row["item"])) for row in rows)

    def _write_samples(self) -> None:
        """The table of `edgehemo calibrate analyser`: every column filled in every row."""
        known = Counter(name for values in self._measured.values() for name in values)
        most = max(known.values())
        columns = [name for name in MEASURANDS if known[name] == most]
        rows = [
            {
                "sample": sample,
                **{name: MEASURAND_FACTS[name].stored(values[name]) for name in columns},
            }
            for sample, values in sorted(self._measured.items())
            if all(name in values for name in columns)
        ]
        _write_table(self._folder / SAMPLES_TABLE, ("sample", *columns), rows)


_ABOUT = {
    "licence": "Under what terms these pictures may be used. FILL THIS IN where it is empty.",
    "pixels": "canonical: the illumination is divided out; photograph: as it was taken.",
    "groups": "Pictures of one group (a patient, else a sample) stay together.",
    "simulated": "Whether a simulated microscope drew them all.",
}


def _sample_name(row: Mapping[str, Any]) -> str:
    """A pseudonym of a sample, by which its fields and values are found."""
    return f"S-{row['sample_key'][:12]}"


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(path, table.getvalue())
