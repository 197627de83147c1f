"""Whole fields of a laboratory's own sets, and of which samples an analyser measured what.

``samples.csv`` is the table that `edgehemo calibrate analyser` takes: a row a sample with its
values, whose pictures lie below ``fields/``, or below ``images/`` where there is no such folder. A
unit that is mistaken, a sample named twice or without pictures, and values that are no blood are
told with the row (`edgehemo_calibration.analyser.pairs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgehemo.measurands import Measurand
from edgehemo.records.exports.dataset import FIELDS_FOLDER, IMAGES_FOLDER, SAMPLES_TABLE
from edgehemo_calibration.analyser.pairs import read_pairs
from edgehemo_export.data.sets.own import OwnSet, assured_groups, own_fields


@dataclass(frozen=True)
class SampleField:
    """A field of an own set. sample: its sample where a table has it. group, key: see `SetPicture`.
    values: of the analyser, empty where it measured none.
    """

    path: Path
    sample: str
    group: str
    key: str
    values: Mapping[Measurand, float]


def sample_fields(own: OwnSet) -> list[SampleField]:
    """Every field of an own set, those of measured samples first.

    TableError, which is a user's, names every row that is wrong.
    """
    found = _measured(own)
    there = {item.path for item in found}
    found += [
        SampleField(item.cells.path, "", item.group, item.key, {})
        for item in own_fields(own)
        if item.cells.path not in there
    ]
    return found


def _measured(own: OwnSet) -> list[SampleField]:
    table = own.folder / SAMPLES_TABLE
    if not table.is_file():
        return []
    folder = own.folder / FIELDS_FOLDER
    pairs = read_pairs(table, folder if folder.is_dir() else own.folder / IMAGES_FOLDER)
    called = assured_groups(own.told.name, [pair.name for pair in pairs])
    return [
        SampleField(
            path,
            pair.name,
            called[pair.name],
            f"{own.told.name}/{path.relative_to(own.folder).with_suffix('').as_posix()}",
            pair.reference,
        )
        for pair in pairs
        for path in pair.images
    ]
