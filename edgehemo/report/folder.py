"""The folder a screening leaves behind: result.json, report.html, the annotated fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.files.atomic import (
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from edgehemo.report.histogram import histogram
from edgehemo.report.page import render
from edgehemo.report.pictures import annotated, data_uri, png
from edgehemo.report.result import ScreeningResult, name_of
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import (
    UnreadableImage,
)

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame


RESULT_FILE = "result.json"

REPORT_FILE = "report.html"

FIELDS_FOLDER = "fields"

# Pictures shown in the report, of accepted and of refused fields each: what a reader will look
# at, and a page that stays below a few MB. All are in the folder beside it.
SHOWN_OF_EACH = 12

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

_OURS = re.compile(r"\d{3,}_[A-Za-z0-9._-]*\.png")


@dataclass(slots=True)
class OutputFolder:
    """Writes the pictures as they come and the two files at the end."""

    path: Path
    pictures: dict[int, str] = field(default_factory=dict)
    _shown: dict[int, str] = field(default_factory=dict)
    _shown_of_each: dict[bool, int] = field(default_factory=dict)
    _seen: int = 0

    def __post_init__(self) -> None:
        (self.path / FIELDS_FOLDER).mkdir(parents=True, exist_ok=True)

    def add(self, result: FieldReading | UnreadableImage, frame: Frame | None) -> None:
        index = self._seen
        self._seen += 1
        if frame is None or isinstance(result, UnreadableImage):
            return
        picture = annotated(frame, result)
        stem = _UNSAFE.sub("_", Path(name_of(result.image)).stem)[:80]
        name = f"{index + 1:03d}_{stem}.png"
        write_bytes_atomically(self.path / FIELDS_FOLDER / name, png(picture))
        self.pictures[index] = f"{FIELDS_FOLDER}/{name}"
        shown = self._shown_of_each.get(result.accepted, 0)
        if shown < SHOWN_OF_EACH:
            self._shown[index] = data_uri(picture)
            self._shown_of_each[result.accepted] = shown + 1

    def finish(self, result: ScreeningResult) -> None:
        self._remove_pictures_of_earlier_runs()
        write_json_atomically(self.path / RESULT_FILE, result.record)
        page = render(result.record, self._shown, histogram(result.reading.accepted))
        write_text_atomically(self.path / REPORT_FILE, page)

    def _remove_pictures_of_earlier_runs(self) -> None:
        """A field of another sample must not lie beside this one's."""
        written = {Path(picture).name for picture in self.pictures.values()}
        for path in (self.path / FIELDS_FOLDER).iterdir():
            if _OURS.fullmatch(path.name) and path.name not in written:
                path.unlink()
