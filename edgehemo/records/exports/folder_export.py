"""A result as a folder that a person can open: the report, its fields, the pictures.

``report.html`` and ``fields/`` as `edgehemo screen` writes them; ``result.json`` what it wrote;
``stored.json`` what is stored beside: versions, person data, digests; ``pictures/`` the pictures as
they were screened, without anything that a camera or telephone wrote into their files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgehemo.errors import RecordsError, UsageError
from edgehemo.files.atomic import (
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from edgehemo.files.staging import FolderBusyError, StagedFolder
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.output import RecordsExportOutput
from edgehemo.records.results import StoredResult
from edgehemo.records.stored_view import stored_view
from edgehemo.report.folder import (
    REPORT_FILE,
    RESULT_FILE,
    own_files,
    picture_of,
)
from edgehemo.report.html import report_html
from edgehemo.report.pictures import annotated, drawn_file, png
from edgehemo.screening.field import FieldReading

STORED_FILE = "stored.json"
PICTURES_FOLDER = "pictures"


def write_folder_export(export: Exporting, out: Path) -> None:
    """A folder; of several results one below it for each, called by its identifier."""
    for result in export.results:
        write_result_folder(export, result, out if len(export.results) == 1 else out / result.id)
        export.on_result()


def write_result_folder(export: Exporting, result: StoredResult, place: Path) -> None:
    """The folder of one result, moved into place whole.

    An earlier export of the same result there is replaced, anything else is not: UsageError.
    """
    former = _former(place, result.id)
    try:
        staged = StagedFolder(place)
    except FolderBusyError:
        raise UsageError(f"{place}: another edgehemo is writing there; wait for its end") from None
    try:
        fill(export, result, staged.path)
        staged.publish(former)
    except BaseException:
        staged.discard()
        raise


def fill(export: Exporting, result: StoredResult, folder: Path) -> None:
    """Write all of a result into a folder."""
    entry = export.entry(result)
    record: dict[str, Any] = {
        **entry["record"],
        "result_id": result.id,
        "audit": export.audit.model_dump(),
    }
    readings = result.document(export.reader).images()
    images = [dict(image) for image in record["images"]]
    for field, reading in zip(result.fields, readings, strict=True):
        if field.sha256 is None or not export.reader.contents.has(field.sha256):
            continue
        frame = field.frame(export.reader)
        name = export.view.image(field.position, field.source)
        target = f"{PICTURES_FOLDER}/{field.position + 1:03d}.png"
        write_bytes_atomically(folder / target, png(frame.pixels))
        if isinstance(reading, FieldReading):
            images[field.position]["picture"] = picture_of(field.position, name)
            drawn = annotated(frame, reading)
            write_bytes_atomically(folder / images[field.position]["picture"], drawn_file(drawn))
    record["images"] = images
    write_json_atomically(folder / RESULT_FILE, record)
    stored = RecordsExportOutput(
        identified=export.view.identified, audit=export.audit, results=[entry]
    )
    write_json_atomically(folder / STORED_FILE, stored.model_dump())
    view = stored_view(export.reader, result.id, export.words, seen=export.view, audit=export.audit)
    write_text_atomically(folder / REPORT_FILE, report_html(view))


def _former(place: Path, identifier: str) -> tuple[str, ...]:
    """The files of an earlier export of the same result, which may be replaced."""
    listed = own_files(place)
    if not listed:
        return ()
    record = json.loads((place / RESULT_FILE).read_bytes())
    if record.get("result_id") != identifier:
        raise RecordsError(
            f"{place}: holds another result, which is not replaced; choose another --out"
        )
    pictures = place / PICTURES_FOLDER
    own = [
        f"{PICTURES_FOLDER}/{item.name}"
        for item in (pictures.iterdir() if pictures.is_dir() else ())
        if item.suffix == ".png" and item.stem.isdecimal()
    ]
    return (*listed, STORED_FILE, *own)
