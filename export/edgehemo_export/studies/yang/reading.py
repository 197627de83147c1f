"""A field as the study reads it, and how read fields are kept on the disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import FieldError
from edgehemo.estimate.values import FieldIndices
from edgehemo.images.frame import Frame
from edgehemo.screening.field import FieldReader
from edgehemo_export.data.cache import Arrays
from edgehemo_export.studies.yang.patients import (
    STORED_UM_PER_PX,
    StudyField,
    clear_codes,
    shrunk,
)
from edgehemo_export.studies.yang.shipped import shipped_features


def read_field(name: str, frame: Frame, reader: FieldReader) -> StudyField | None:
    """A frame read as a screening reads it, at `STORED_UM_PER_PX`; None where no field can be made
    of it, or where quality refuses it and the reader does not keep such.
    """
    try:
        reading, canonical = reader.read_canonical(frame)
    except FieldError:
        return None
    if reading.indices is None:
        return None
    return StudyField(
        name=name,
        codes=shrunk(clear_codes(canonical), canonical.um_per_px / STORED_UM_PER_PX),
        indices=replace(reading.indices, single_cell_areas_um2=(), taken=None),
        shipped=shipped_features(canonical),
        accepted=reading.accepted,
    )


def packed(fields: Sequence[StudyField], left_out: int) -> dict[str, NDArray[Any]]:
    """Fields as arrays, with how many were left out on the way."""
    about = {
        "left_out": left_out,
        "fields": [
            {
                "name": field.name,
                "place": field.place,
                "accepted": field.accepted,
                "indices": asdict(field.indices),
                "drawn": field.drawn,
            }
            for field in fields
        ],
    }
    arrays: dict[str, NDArray[Any]] = {f"codes{i}": field.codes for i, field in enumerate(fields)}
    arrays |= {f"shipped{i}": field.shipped for i, field in enumerate(fields)}
    return {"about": np.array(json.dumps(about)), **arrays}


def unpacked(stored: Arrays) -> tuple[list[StudyField], int]:
    """What `packed` was given."""
    about = json.loads(str(stored["about"]))
    fields = [
        StudyField(
            name=item["name"],
            codes=stored[f"codes{i}"],
            indices=FieldIndices(**{**item["indices"], "single_cell_areas_um2": ()}),
            shipped=stored[f"shipped{i}"],
            accepted=item["accepted"],
            place=item["place"],
            drawn=item["drawn"],
        )
        for i, item in enumerate(about["fields"])
    ]
    return fields, int(about["left_out"])
