"""The folder a screening leaves behind: result.json, report.html, the annotated fields."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.files.atomic import (
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from edgehemo.report.histogram import histogram
from edgehemo.report.page import render
from edgehemo.report.pictures import annotated, data_uri, png, read_png
from edgehemo.report.result import ScreeningResult, name_of
from edgehemo.screening.field import FieldReading
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.sample import SampleReading

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame


log = logging.getLogger(__name__)

RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
FIELDS_FOLDER = "fields"
# Pictures shown in the report, of accepted and of refused fields each: what a reader will look
# at, and a page that stays below a few MB. All are in the folder beside it.
SHOWN_OF_EACH = 12
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_OURS = re.compile(r"\d{3,}_[A-Za-z0-9._-]*\.png")


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Writes each field's picture as it comes and the two files at the end.

    All that it knows lies in the folder, so that an interrupted sample goes on in it.
    """

    path: Path

    def add(self, index: int, reading: FieldReading, frame: Frame) -> None:
        """Write the drawn picture of the field at ``index`` of the sample's images."""
        target = self.path / picture_of(index, reading.image)
        write_bytes_atomically(target, png(annotated(frame, reading)))

    def finish(self, reading: SampleReading, provenance: Provenance) -> ScreeningResult:
        """Write result.json and report.html; what an earlier sample left here goes."""
        pictures = {
            index: name
            for index, image in enumerate(reading.images)
            if isinstance(image, FieldReading)
            and (self.path / (name := picture_of(index, image.image))).is_file()
        }
        self._remove_pictures_of_earlier_runs(set(pictures.values()))
        result = ScreeningResult(reading, provenance, pictures, self.path / REPORT_FILE)
        write_json_atomically(self.path / RESULT_FILE, result.record)
        page = render(result.record, self._shown(reading, pictures), histogram(reading.accepted))
        write_text_atomically(self.path / REPORT_FILE, page)
        log.debug("report written with %d pictures", len(pictures))
        return result

    def _shown(self, reading: SampleReading, pictures: Mapping[int, str]) -> dict[int, str]:
        """The pictures that the page shows, as data URIs: the first of each verdict."""
        shown: dict[int, str] = {}
        count = {True: 0, False: 0}
        for index, name in pictures.items():
            image = reading.images[index]
            assert isinstance(image, FieldReading), "only a field has a picture"
            if count[image.accepted] < SHOWN_OF_EACH:
                count[image.accepted] += 1
                shown[index] = data_uri(read_png(self.path / name))
        return shown

    def _remove_pictures_of_earlier_runs(self, written: Collection[str]) -> None:
        """A field of another sample must not lie beside this one's."""
        folder = self.path / FIELDS_FOLDER
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and f"{FIELDS_FOLDER}/{path.name}" not in written:
                path.unlink()


def picture_of(index: int, image: str) -> str:
    """Where the drawn picture of an image lies, relative to the folder."""
    stem = _UNSAFE.sub("_", Path(name_of(image)).stem)[:80]
    return f"{FIELDS_FOLDER}/{index + 1:03d}_{stem}.png"


def output_folder(path: Path) -> OutputFolder:
    """The folder, made where it is missing; OSError where it cannot be."""
    (path / FIELDS_FOLDER).mkdir(parents=True, exist_ok=True)
    return OutputFolder(path)
