"""Real pairs: pictures of a smear with what an analyser measured of the same blood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoError
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.measurands import MEASURANDS, Measurand
from edgehemo.screening.field import FieldReader
from edgehemo_calibration.analyser.pairs import read_pairs
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.sets import anerbc, read_set
from edgehemo_export.studies.yang.patients import (
    STORED_UM_PER_PX,
    Patient,
    Source,
    StudyField,
)
from edgehemo_export.studies.yang.reading import packed, read_field, unpacked

TABLE = "pairs.csv"
IMAGES = "images"
ANERBC_NAME = "AneRBC"


@dataclass(frozen=True)
class Sample:
    """One sample of a set of pairs before its pictures are read. width_um: across each picture,
    None where the caller or the red cells tell the scale.
    """

    name: str
    images: tuple[Path, ...]
    values: Mapping[Measurand, float]
    width_um: float | None = None

    @property
    def group(self) -> str:
        """Samples with the very same blood count are one patient's."""
        return ", ".join(f"{name} {self.values[name]:g}" for name in sorted(self.values))


def samples_of_folder(folder: Path) -> list[Sample]:
    """The samples of a folder with ``pairs.csv`` and its pictures beside it or in ``images``.

    The table is that of `edgehemo calibrate analyser`. Raises CalibrationError or TableError, one
    line a fault.
    """
    images = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    return [
        Sample(pair.name, pair.images, pair.reference)
        for pair in read_pairs(folder / TABLE, images)
    ]


def samples_of_anerbc(root: Path) -> list[Sample]:
    """The samples of AneRBC below a data root; none where it is not there."""
    found = []
    for picture in read_set(root, anerbc.SOURCE):
        count = picture.labels.blood_count
        if count is None:
            continue
        values = {name: getattr(count, name) for name in MEASURANDS}
        known = {name: float(value) for name, value in values.items() if value is not None}
        if known:
            found.append(Sample(picture.original, (picture.path,), known, picture.width_um))
    return found


def paired_source(
    name: str,
    samples: Sequence[Sample],
    *,
    picture_um_per_px: float,
    keep_refused: bool,
    cache: Path | None,
    tell: Callable[[str], None],
) -> Source:
    """All patients of a set of pairs, their pictures read as a screening reads them.

    picture_um_per_px: of the pictures, 0 where the red cells tell
    it. Pictures that cannot be read are left out and counted.
    """
    patients, left_out = [], 0
    for index, sample in enumerate(samples):
        tell(f"{name}, sample {index + 1} of {len(samples)}")
        fields: list[StudyField] = []
        for path in sample.images:
            made = _read(path, sample, picture_um_per_px, keep_refused, cache)
            fields += made
            left_out += not made
        if fields:
            patients.append(Patient(sample.name, sample.group, sample.values, tuple(fields)))
    return Source(name, simulated=False, patients=tuple(patients), left_out=left_out)


def _read(
    path: Path,
    sample: Sample,
    picture_um_per_px: float,
    keep_refused: bool,
    cache: Path | None,
) -> list[StudyField]:
    def make() -> dict[str, NDArray[Any]]:
        try:
            frame = read_frame(path)
        except EdgeHemoError:
            return packed([], 1)
        reader = FieldReader(
            finder=None,
            um_per_px=_scale(frame, sample, picture_um_per_px),
            keep_refused=keep_refused,
        )
        made = read_field(path.name, frame, reader)
        return packed([] if made is None else [made], int(made is None))

    depends_on = {
        "picture": content_of(path),
        "name": path.name,
        "scale": (STORED_UM_PER_PX, picture_um_per_px, sample.width_um),
        "keep_refused": keep_refused,
    }
    return unpacked(prepared(cache, "study-patient", depends_on, make))[0]


def _scale(frame: Frame, sample: Sample, picture_um_per_px: float) -> float | None:
    if sample.width_um is not None:
        return sample.width_um / frame.width
    return picture_um_per_px or None
