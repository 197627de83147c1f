"""The simulated laboratories: real blood counts, each with fields that the simulated microscope
draws of it. Nothing measured on them may be quoted as accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.errors import UsageError
from edgehemo.measurands import MEASURANDS, Measurand
from edgehemo.screening.field import FieldReader
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import SmearParameters
from edgehemo_export.data.cache import prepared
from edgehemo_export.data.simulated.samples import drawn_content, microscope_parameters
from edgehemo_export.studies.yang.configuration import SimulatedLaboratory
from edgehemo_export.studies.yang.patients import (
    STORED_UM_PER_PX,
    Patient,
    Place,
    Source,
    StudyField,
)
from edgehemo_export.studies.yang.reading import packed, read_field, unpacked

INTERNAL = "simulated laboratory A"
EXTERNAL_NAMES = "BCDEFGHIJKLMNOPQRSTUVWXYZ"
DEADLINE_S = 5.0
# A usual field that quality refuses is looked for at so many further places.
SPARE_PLACES = 4
_USUAL_FILM_UM = SmearParameters().film_thickness_um


def patients_by_laboratory(
    panels: Sequence[CBCPanel], options: SimulatedLaboratory
) -> list[list[CBCPanel]]:
    """Blood counts of each laboratory, the internal one first; none is in two.

    Raises UsageError where there are too few.
    """
    counts = [options.patients, *[options.external_patients] * len(options.external_microscopes)]
    if len(panels) < sum(counts):
        raise UsageError(
            f"{len(panels)} complete blood counts are too few for {sum(counts)} simulated "
            "patients: lower simulated.patients or simulated.external_patients with --config"
        )
    order = np.random.default_rng([options.seed, 1]).permutation(len(panels))
    ends = np.cumsum(counts)
    return [
        [panels[int(i)] for i in order[end - count : end]]
        for end, count in zip(ends, counts, strict=True)
    ]


def laboratory(
    number: int,
    panels: Sequence[CBCPanel],
    options: SimulatedLaboratory,
    cache: Path | None,
    tell: Callable[[str], None],
) -> Source:
    """All patients of a simulated laboratory, read as a screening reads them.

    number: 0 for the internal one, whose patients have thin and thick fields too; then the external
    ones.
    """
    name = INTERNAL if number == 0 else f"simulated laboratory {EXTERNAL_NAMES[number - 1]}"
    patients, left_out = [], 0
    for index, panel in enumerate(panels):
        tell(f"{name}, patient {index + 1} of {len(panels)}")
        patient, refused = _patient(number, index, panel, options, cache)
        left_out += refused
        if patient.fields:
            patients.append(patient)
    return Source(name, simulated=True, patients=tuple(patients), left_out=left_out)


def _patient(
    number: int,
    index: int,
    panel: CBCPanel,
    options: SimulatedLaboratory,
    cache: Path | None,
) -> tuple[Patient, int]:
    microscope = None if number == 0 else options.external_microscopes[number - 1]
    name = f"{'A' if number == 0 else EXTERNAL_NAMES[number - 1]}{index + 1:03d}"

    def make() -> dict[str, NDArray[Any]]:
        return packed(*_photographed(name, number, index, panel, options))

    depends_on = {
        "name": name,
        "place": (number, index, microscope),
        "panel": asdict(panel),
        "drawn": (options.seed, options.side_px, options.um_per_px, options.usual_fields),
        "thin_and_thick": (options.thin, options.thick),
        "um_per_px": STORED_UM_PER_PX,
    }
    fields, refused = unpacked(prepared(cache, "study-patient", depends_on, make))
    values: dict[Measurand, float] = {m: float(getattr(panel, m)) for m in MEASURANDS}
    return Patient(name, name, values, tuple(fields)), refused


def _photographed(
    name: str,
    number: int,
    index: int,
    panel: CBCPanel,
    options: SimulatedLaboratory,
) -> tuple[list[StudyField], int]:
    """A patient's fields, and how many quality refused on the way."""
    # The laboratory knows its scale; without a finder, as `data.simulated.samples` reads.
    reader = FieldReader(finder=None, um_per_px=options.um_per_px)
    base = SimulatedOptions(
        seed=int(np.random.default_rng([options.seed, number, index]).integers(2**31)),
        fields=options.usual_fields + SPARE_PLACES,
        width_px=options.side_px,
        height_px=options.side_px,
        um_per_px=options.um_per_px,
    )
    parameters = None
    if number > 0:
        parameters = microscope_parameters(options.external_microscopes[number - 1])
    rng = np.random.default_rng([options.seed, number, index, 2])
    places: list[tuple[Place, SimulatedOptions, int]] = [("usual", base, options.usual_fields)]
    if number == 0:
        ranges: tuple[tuple[Place, tuple[float, float]], ...] = (
            ("thin", options.thin),
            ("thick", options.thick),
        )
        for place, (low, high) in ranges:
            film_um = _USUAL_FILM_UM * float(np.exp(rng.uniform(np.log(low), np.log(high))))
            # The same smear at another place: the sample's own thickness stays a factor of it.
            places.append((place, replace(base, film_um=film_um), 1))
    found: list[StudyField] = []
    refused = 0
    for place, own, wanted in places:
        # Each place of the smear has fields of its own.
        first = 0 if place == "usual" else options.usual_fields + SPARE_PLACES
        own = replace(own, fields=first + wanted + SPARE_PLACES)
        with SimulatedMicroscope(own, panel=panel, parameters=parameters) as camera:
            here = 0
            for at in range(first, own.fields):
                if here == wanted:
                    break
                camera.move_to_field(at)
                made = _field(f"{name}-{place}-{at - first + 1}", camera, reader, place)
                if made is None:
                    refused += 1
                else:
                    found.append(made)
                    here += 1
    return found, refused


def _field(
    name: str, camera: SimulatedMicroscope, reader: FieldReader, place: Place
) -> StudyField | None:
    """The field under the objective; None where quality refuses it."""
    made = read_field(name, camera.frame(DEADLINE_S), reader)
    if made is None:
        return None
    assert camera.truth is not None, "a frame was taken"
    return replace(made, place=place, drawn=drawn_content(camera.truth))
