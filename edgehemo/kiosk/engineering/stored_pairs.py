"""Samples of this device that an analyser measured: what an analyser calibration is fitted on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import RecordsError
from edgehemo.measurands import MEASURANDS
from edgehemo.records.pairs import pairs
from edgehemo.records.results import StoredField, result_of
from edgehemo.records.store import Reader
from edgehemo.report.pictures import png

# The table beside the folder of pictures.
PAIRS_NAME = "pairs.csv"
# Why a sample takes no part.
Left = str
OTHER_PROFILE, NO_PICTURES, NO_VALUE = "other_profile", "no_pictures", "no_value"


@dataclass(frozen=True, slots=True)
class PairedSample:
    """A sample with an analyser's values. result: its newest one. left: why it takes no part, None
    where it does.
    """

    sample: str
    result: str
    values: Mapping[str, float]
    fields: Sequence[StoredField]
    left: Left | None


def paired_samples(
    reader: Reader, *, simulated: bool, profile_made_at: str | None
) -> list[PairedSample]:
    """Every sample that has an analyser's values, those that take part first.

    Samples are never mixed: of the simulated microscope and real ones, and of this microscope's
    profile (told by when it was made; None where there is none yet) and another's.
    """
    by_sample: dict[str, dict[str, float]] = {}
    for item in pairs(reader):
        if item.measurand in MEASURANDS:
            by_sample.setdefault(item.sample, {})[item.measurand] = item.value
    found = [
        _paired(reader, sample, values, simulated, profile_made_at)
        for sample, values in by_sample.items()
    ]
    return sorted(found, key=lambda each: (each.left is not None, each.sample))


def _paired(
    reader: Reader,
    sample: str,
    values: Mapping[str, float],
    simulated: bool,
    profile_made_at: str | None,
) -> PairedSample:
    rows = reader.rows(
        "SELECT result.id FROM latest JOIN result ON result.number = latest.result "
        "WHERE latest.sample = ? AND latest.state != 'withdrawn' "
        "ORDER BY latest.result DESC LIMIT 1",
        (sample,),
    )
    if not rows:
        return PairedSample(sample, "", values, (), NO_PICTURES)
    result = result_of(reader, rows[0][0])
    fields = [field for field in result.fields if field.sha256 is not None]
    left: Left | None = None
    if result.simulated != simulated or (
        profile_made_at is not None and result.profile_made_at not in (None, profile_made_at)
    ):
        left = OTHER_PROFILE
    elif "hgb_g_per_l" not in values:
        left = NO_VALUE
    elif not fields:
        left = NO_PICTURES
    return PairedSample(sample, result.id, values, fields, left)


def write_pairs(reader: Reader, samples: Sequence[PairedSample], folder: Path) -> Path:
    """The pictures of these samples, a folder each, and the table beside them; where the table is.

    Folders are numbered: a sample's number need not be a file's name. RecordsError where a picture
    is gone.
    """
    columns = [name for name in MEASURANDS if all(name in sample.values for sample in samples)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["sample", *columns])
    for number, sample in enumerate(samples, start=1):
        name = f"S{number:03d}"
        place = folder / name
        place.mkdir()
        for position, field in enumerate(sample.fields, start=1):
            frame = field.frame(reader)
            try:
                (place / f"{position:03d}.png").write_bytes(png(frame.pixels))
            except OSError as error:
                raise RecordsError(f"{place}: cannot be written ({error.strerror})") from None
        table.writerow([name, *(f"{sample.values[column]:g}" for column in columns)])
    path = folder.with_name(PAIRS_NAME)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path
