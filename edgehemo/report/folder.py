"""The folder a screening leaves behind: result.json, report.html, the annotated fields.

It is made beside its place and moved there whole, so that no two samples ever mix in it and a
screening that fails leaves what stood there. Only what an earlier result there lists is replaced.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgehemo.errors import UsageError
from edgehemo.files.atomic import (
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from edgehemo.files.staging import FolderBusyError, StagedFolder
from edgehemo.report.asked_cells import asked_cells
from edgehemo.report.building import report_view
from edgehemo.report.evidence import Pictures
from edgehemo.report.histogram import histogram
from edgehemo.report.html import report_html
from edgehemo.report.pictures import (
    DRAWN_SUFFIX,
    Picture,
    annotated,
    cell_picture,
    drawn_file,
    jpeg,
    read_drawn,
    shrunk,
)
from edgehemo.report.result import SCREEN_SCHEMA, ScreeningResult, name_of
from edgehemo.screening.field import FieldReading
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.recorded import RecordedAs
from edgehemo.screening.sample import SampleReading
from edgehemo.words.language import Words

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame


log = logging.getLogger(__name__)

RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
FIELDS_FOLDER = "fields"
# Pictures shown in the report, of accepted and of refused fields each: what a reader will look
# at, and a page that stays below a few MB. All are in the folder beside it.
SHOWN_OF_EACH = 12
ENGLISH = Words()
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# The drawn fields; earlier versions wrote them as PNG.
_OURS = re.compile(r"\d{3,}_[A-Za-z0-9._-]*\.(?:jpg|png)")


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Takes each field's picture as it comes and the two files at the end.

    All that it must know lies in the folder in the making, so that an interrupted sample goes on in
    it (`output_folder` with ``resume``). path: as the caller named it. words: of the page.
    _for_page: the pictures that the page will likely show, by their name; what is
    missing is read from the folder.
    """

    path: Path
    staged: StagedFolder
    words: Words = ENGLISH
    _for_page: dict[str, Picture] = field(default_factory=dict, repr=False)
    _added: dict[bool, int] = field(default_factory=dict, repr=False)

    def add(self, index: int, reading: FieldReading, frame: Frame) -> None:
        """Write the drawn picture of the field at ``index`` of the sample's images."""
        name = picture_of(index, reading.image)
        drawn = annotated(frame, reading)
        write_bytes_atomically(self.staged.path / name, drawn_file(drawn))
        if self._added.get(reading.accepted, 0) < SHOWN_OF_EACH:
            self._added[reading.accepted] = self._added.get(reading.accepted, 0) + 1
            self._for_page[name] = jpeg(shrunk(drawn))

    def finish(
        self,
        reading: SampleReading,
        provenance: Provenance,
        labels: SampleLabels | None = None,
        recorded: RecordedAs | None = None,
    ) -> ScreeningResult:
        """Write result.json and report.html and move all to its place; the earlier result goes.

        Where no input could be read at all, an earlier result stays, and the result names no
        report. recorded: under what the result is stored, which its report says. Raises OSError,
        and leaves what stood there, where it cannot be written.
        """
        earlier = own_files(self.path)
        if earlier and not reading.fields:
            log.warning(
                "nothing could be read: the earlier result in the output folder stays as it was"
            )
            self.discard()
            return ScreeningResult(reading, provenance, labels=labels or SampleLabels())
        made = self.staged.path
        pictures = {
            index: name
            for index, image in enumerate(reading.images)
            if isinstance(image, FieldReading)
            and (made / (name := picture_of(index, image.image))).is_file()
        }
        self._remove_others(set(pictures.values()))
        result = ScreeningResult(
            reading,
            provenance,
            pictures,
            self.path / REPORT_FILE,
            labels or SampleLabels(),
            recorded,
        )
        write_json_atomically(made / RESULT_FILE, result.record)
        record = result.record
        view = report_view(
            record,
            self.words,
            pictures=Pictures(self._shown(reading, pictures), self._found(record, pictures)),
            sizes=histogram(reading.accepted),
        )
        write_text_atomically(made / REPORT_FILE, report_html(view))
        self.staged.publish(earlier)
        log.debug("report written with %d pictures", len(pictures))
        return result

    def discard(self) -> None:
        """Remove what was made so far; an earlier result stays."""
        self.staged.discard()

    def _shown(self, reading: SampleReading, pictures: Mapping[int, str]) -> dict[int, Picture]:
        """The pictures that the page shows: the first of each verdict."""
        shown: dict[int, Picture] = {}
        count = {True: 0, False: 0}
        for index, name in pictures.items():
            image = reading.images[index]
            assert isinstance(image, FieldReading), "only a field has a picture"
            if count[image.accepted] < SHOWN_OF_EACH:
                count[image.accepted] += 1
                kept = self._for_page.get(name)
                shown[index] = kept or jpeg(shrunk(read_drawn(self.staged.path / name)))
        return shown

    def _found(
        self, record: Mapping[str, Any], pictures: Mapping[int, str]
    ) -> dict[tuple[int, int], Picture]:
        """The cells of findings, cut from the drawn fields. Those without a name are many, and wait
        for a person at the kiosk.
        """
        found = [cell for cell in asked_cells(record) if cell.codes]
        cut: dict[tuple[int, int], Picture] = {}
        for index in sorted({cell.field for cell in found} & set(pictures)):
            # One field at a time: a sample may have hundreds.
            picture = read_drawn(self.staged.path / pictures[index])
            for cell in found:
                if cell.field == index:
                    cut[index, cell.cell] = jpeg(cell_picture(picture, cell.box))
        return cut

    def _remove_others(self, written: set[str]) -> None:
        """Pictures in the making that are of no image of the sample: an interrupted process may
        have drawn one that it did not note.
        """
        folder = self.staged.path / FIELDS_FOLDER
        for path in folder.iterdir() if folder.is_dir() else ():
            if f"{FIELDS_FOLDER}/{path.name}" not in written:
                path.unlink()


def picture_of(index: int, image: str) -> str:
    """Where the drawn picture of an image lies, relative to the folder."""
    stem = _UNSAFE.sub("_", Path(name_of(image)).stem)[:80]
    return f"{FIELDS_FOLDER}/{index + 1:03d}_{stem}{DRAWN_SUFFIX}"


def output_folder(path: Path, *, resume: bool = False, words: Words = ENGLISH) -> OutputFolder:
    """The folder, to be written; resume: go on with the pictures of an interrupted sample. words:
    of the page.

    Raises UsageError where another screening is writing into it or where it holds files of these
    names that are not an earlier result's, OSError where it cannot be made.
    """
    own_files(path)
    try:
        staged = StagedFolder(path, resume=resume)
    except FolderBusyError:
        raise UsageError(
            f"{path}: another screening is writing there; wait for its end or choose another folder"
        ) from None
    try:
        own_files(path)  # after an interrupted move was finished
        (staged.path / FIELDS_FOLDER).mkdir(exist_ok=True)
    except BaseException:
        staged.discard()
        raise
    return OutputFolder(path, staged, words)


def own_files(path: Path) -> tuple[str, ...]:
    """What an earlier screening put into a folder, as its result.json lists it, in paths below the
    folder; empty where there was none.

    Raises UsageError where something else has a name that a screening writes to.
    """
    pictures = _listed_pictures(path / RESULT_FILE)
    own = () if pictures is None else (RESULT_FILE, REPORT_FILE, *pictures)
    folder = path / FIELDS_FOLDER
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder}: is not a folder of its own; choose another --out")
    drawn = (
        f"{FIELDS_FOLDER}/{item.name}"
        for item in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if _OURS.fullmatch(item.name)
    )
    for name in (RESULT_FILE, REPORT_FILE, *drawn):
        if name not in own and os.path.lexists(path / name):
            raise UsageError(
                f"{path}: holds {name}, which no result there lists: it is not replaced; "
                "choose another --out"
            )
    return own


def _listed_pictures(file: Path) -> tuple[str, ...] | None:
    """The pictures that a result lists; None where the file is no result, or a link to one."""
    if file.is_symlink() or not file.is_file():
        return None
    try:
        record = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("schema") != SCREEN_SCHEMA:
        return None
    images = record.get("images")
    names = [
        image.get("picture")
        for image in (images if isinstance(images, list) else ())
        if isinstance(image, dict)
    ]
    prefix = f"{FIELDS_FOLDER}/"
    return tuple(
        name
        for name in names
        if isinstance(name, str)
        and name.startswith(prefix)
        and _OURS.fullmatch(name.removeprefix(prefix))
    )


def refuse_sources_in(path: Path, sources: Sequence[Path]) -> None:
    """UsageError where a folder to be written is, holds or lies in what is to be read."""
    place = _real(path)
    for source in sources:
        for found in {_real(source), _real(source.parent) / source.name}:
            if found == place or found.is_relative_to(place):
                what = "is a source" if found == place else f"holds the source {source}"
            elif place.is_relative_to(found):
                what = f"lies in the source {source}"
            else:
                continue
            raise UsageError(f"{path}: {what}; choose a folder elsewhere for --out")


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path.absolute()
