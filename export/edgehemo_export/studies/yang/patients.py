"""Patients with their blood counts and fields: what the study learns from, wherever it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.estimate.values import FieldIndices
from edgehemo.field.canonical import CLEAR_FIELD_CODE, CanonicalField
from edgehemo.measurands import MEASURANDS, Measurand

# Scale at which read fields are kept, um a pixel: twice the canonical one, a red cell is 15 px
# wide. The network may see them coarser.
STORED_UM_PER_PX = 0.5

# A field's place on the smear: as an operator chooses it, or far thinner or thicker on purpose.
Place = Literal["thin", "usual", "thick"]


@dataclass(frozen=True)
class StudyField:
    """One field. name: of its picture. codes: uint8 (h, w, 3), codes of the canonical field at
    `STORED_UM_PER_PX`, or what `at_scale` made of it. indices: what physics measures of it.
    shipped: float32 (FEATURES + 3,), pooled features of the shipped field estimator and its three
    outputs. accepted: by the quality checks. drawn: of a simulated field, what it was drawn with,
    as nominal concentrations.
    """

    name: str
    codes: NDArray[np.uint8]
    indices: FieldIndices
    shipped: NDArray[np.float32]
    accepted: bool = True
    place: Place = "usual"
    drawn: Mapping[Measurand, float] | None = None


@dataclass(frozen=True)
class Patient:
    """name: of the sample. group: whatever shares one blood count is one patient. values: what the
    analyser measured.
    """

    name: str
    group: str
    values: Mapping[Measurand, float]
    fields: tuple[StudyField, ...]


@dataclass(frozen=True)
class Source:
    """All patients of one microscope. simulated: nothing of it may be quoted as accuracy.
    left_out: fields that could not be used, and samples without any other.
    """

    name: str
    simulated: bool
    patients: tuple[Patient, ...]
    left_out: int = 0

    @property
    def label(self) -> str:
        """Its name with what must be said beside every figure."""
        return f"{self.name} (SIMULATED)" if self.simulated else self.name

    @property
    def measurands(self) -> tuple[Measurand, ...]:
        """Those that every patient has."""
        return tuple(m for m in MEASURANDS if all(m in p.values for p in self.patients))


@dataclass(frozen=True)
class Row:
    """A field with its patient, which tables are made of."""

    source: str
    patient: str
    group: str
    values: Mapping[Measurand, float]
    field: StudyField


def rows_of(source: Source) -> list[Row]:
    """Every field of a source, patient by patient."""
    return [
        Row(source.name, patient.name, patient.group, patient.values, field)
        for patient in source.patients
        for field in patient.fields
    ]


def truth_of(rows: Sequence[Row], measurands: Sequence[Measurand]) -> NDArray[np.float64]:
    """What the analyser says of each field's patient, float64 (n, k)."""
    return np.array([[row.values[m] for m in measurands] for row in rows], np.float64).reshape(
        len(rows), len(measurands)
    )


def clear_codes(field: CanonicalField) -> NDArray[np.uint8]:
    """Codes of a canonical field, uint8 (h, w, 3), clear beyond the field stop."""
    codes = field.to_uint8()
    if not field.valid.all():
        codes[~field.valid] = CLEAR_FIELD_CODE
    return codes


def shrunk(codes: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """A picture ``factor`` (up to 1) times as large, means over areas."""
    if factor >= 1.0:
        return codes
    height, width = (max(1, round(side * factor)) for side in codes.shape[:2])
    return np.asarray(cv2.resize(codes, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def at_scale(source: Source, um_per_px: float) -> Source:
    """A source's fields from `STORED_UM_PER_PX` to what the network sees."""
    factor = STORED_UM_PER_PX / um_per_px
    return replace(
        source,
        patients=tuple(
            replace(
                patient,
                fields=tuple(
                    replace(each, codes=shrunk(each.codes, factor)) for each in patient.fields
                ),
            )
            for patient in source.patients
        ),
    )
