"""Whole samples of the simulated microscope, read as a screening reads them.

The camera, the canonical field with its scale from the red cells, the quality checks and the
physical indices are the device's own; what the networks see is kept, so that several can be
compared on the very same fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.errors import FieldError
from edgehemo.estimate.network import FieldNetworks
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.values import FieldIndices, SampleIndices
from edgehemo.field.tiles import tiles_of_field
from edgehemo.measurands import MEASURANDS, Measurand
from edgehemo.quality.envelope import envelope_features
from edgehemo.quality.regions import field_regions
from edgehemo.screening.field import FieldReader
from edgehemo.simulation.field import FieldTruth
from edgehemo.simulation.panels import draw_panel
from edgehemo.simulation.parameters import (
    FIELD_THICKNESS_SD,
    SAMPLE_THICKNESS_SD,
    SimulationParameters,
    randomised_parameters,
)
from edgehemo_export.data.cache import Arrays, prepared
from edgehemo_export.data.simulated.tiles import REFERENCE_THICKNESS_UM

DEADLINE_S = 5.0
# Fields of a sample are looked for among so many times as many places.
SPARE_PLACES = 1.5


@dataclass(frozen=True)
class SampleField:
    """One accepted field: tiles uint8 (n, 224, 224, 3) with the share of each that shows smear,
    its physical indices, its features for a training envelope, and what it was drawn with
    (`drawn_content`).
    """

    tiles: NDArray[np.uint8]
    shares: tuple[float, ...]
    indices: FieldIndices
    envelope: tuple[float, ...]
    drawn: dict[Measurand, float]


# Without a finder: what is compared on simulated samples is what a network adds to the plain
# indices, which must not change with each finder; and without the networks, whose outputs are added
# later (`with_outputs`), so that what is read can be kept. Without the envelope: every simulated
# microscope counts, the randomised ones too, which are meant to be unlike what was trained on.
READER = FieldReader(finder=None)


@dataclass(frozen=True)
class SimulatedSample:
    """reference: what the analyser would say of the drawn blood. refused: fields by quality."""

    reference: dict[Measurand, float]
    fields: tuple[SampleField, ...]
    refused: int

    def drawn(self, measurand: Measurand) -> float:
        """What its fields hold, mean over them: all that a perfect reader could know."""
        return float(np.mean([field.drawn[measurand] for field in self.fields]))

    def pooled(self, networks: FieldNetworks | None) -> SampleIndices | None:
        """The sample's indices with the networks' outputs; None without an accepted field."""
        if not self.fields:
            return None
        return pool([with_outputs(field, networks) for field in self.fields])


def with_outputs(field: SampleField, networks: FieldNetworks | None) -> FieldIndices:
    """A field's indices with what the networks say of it."""
    if networks is None:
        return field.indices
    tiles = [(field.tiles[i : i + 1], share) for i, share in enumerate(field.shares)]
    return replace(field.indices, model=networks.of_tiles(tiles, np.array(field.envelope)))


def simulated_sample(
    seed: int, *, fields: int, microscope: int | None, cache: Path | None = None
) -> SimulatedSample:
    """The sample with this seed on the default simulated microscope, or on the randomised one
    with this number (its stain, optics, sensor and hand stay, the blood changes).
    """
    depends_on = {
        "seed": seed,
        "fields": fields,
        "spare_places": SPARE_PLACES,
        "microscope": microscope,
        "thickness_sd": (SAMPLE_THICKNESS_SD, FIELD_THICKNESS_SD),
        "reference_thickness_um": REFERENCE_THICKNESS_UM,
    }

    def make() -> dict[str, NDArray[Any]]:
        return _packed(_photographed(seed, fields, microscope))

    if cache is None:
        return _photographed(seed, fields, microscope)
    return _unpacked(prepared(cache, "simulated-sample", depends_on, make))


def _photographed(seed: int, fields: int, microscope: int | None) -> SimulatedSample:
    options = SimulatedOptions(seed=seed, fields=round(fields * SPARE_PLACES))
    parameters, panel = None, None
    if microscope is not None:
        parameters = microscope_parameters(microscope)
        # A stream of its own: the slide's first number is the panel's.
        panel = draw_panel(np.random.default_rng([seed, 77]))
    read: list[SampleField] = []
    refused = 0
    with SimulatedMicroscope(options, parameters=parameters, panel=panel) as camera:
        blood = camera.panel
        for index in range(options.fields):
            if len(read) == fields:
                break
            camera.move_to_field(index)
            made = _field(camera)
            if made is None:
                refused += 1
            else:
                read.append(made)
    reference: dict[Measurand, float] = {name: float(getattr(blood, name)) for name in MEASURANDS}
    return SimulatedSample(reference, tuple(read), refused)


def microscope_parameters(number: int) -> SimulationParameters:
    """A randomised microscope whose fields vary as fields of one smear do."""
    drawn = randomised_parameters(np.random.default_rng([20261122, 901, number]))
    return replace(drawn, smear=replace(drawn.smear, field_thickness_sd=FIELD_THICKNESS_SD))


def _field(camera: SimulatedMicroscope) -> SampleField | None:
    frame = camera.frame(DEADLINE_S)
    try:
        reading, field = READER.read_canonical(frame)
    except FieldError:
        return None
    if reading.indices is None:
        return None
    tiles = list(tiles_of_field(field))
    features = envelope_features(field_regions(field), field.illumination)
    assert camera.truth is not None, "a frame was taken"
    return SampleField(
        np.concatenate([tile.codes for tile in tiles]),
        tuple(tile.share for tile in tiles),
        reading.indices,
        tuple(features.tolist()),
        drawn_content(camera.truth),
    )


def drawn_content(truth: FieldTruth) -> dict[Measurand, float]:
    """Haemoglobin, volume and number of the red cells drawn in a field, per its area, as nominal
    concentrations (the content of a film of `REFERENCE_THICKNESS_UM`).

    A cell that the frame cuts counts by the share of its box within.
    """
    height, width = truth.coverage.shape
    held = dict.fromkeys(MEASURANDS, 0.0)
    for cell in truth.of_kind("rbc"):
        across = min(cell.x1, width) - max(cell.x0, 0.0)
        down = min(cell.y1, height) - max(cell.y0, 0.0)
        share = max(0.0, across) * max(0.0, down) / ((cell.x1 - cell.x0) * (cell.y1 - cell.y0))
        held["hgb_g_per_l"] += share * cell.haemoglobin_pg
        held["hct_l_per_l"] += share * cell.volume_fl
        held["rbc_1e12_per_l"] += share
    volume_um3 = truth.area_mm2 * 1e6 * REFERENCE_THICKNESS_UM
    # pg/um^3 is 1000 g/L, fl/um^3 is L/L, and one cell per um^3 is 1000e12 per L.
    unit = {"hgb_g_per_l": 1000.0, "hct_l_per_l": 1.0, "rbc_1e12_per_l": 1000.0}
    return {name: unit[name] * held[name] / volume_um3 for name in MEASURANDS}


def samples(
    seeds: Sequence[int], *, fields: int, microscope: int | None, cache: Path | None
) -> Iterator[SimulatedSample]:
    """`simulated_sample` for each seed."""
    for seed in seeds:
        yield simulated_sample(seed, fields=fields, microscope=microscope, cache=cache)


def _packed(sample: SimulatedSample) -> dict[str, NDArray[Any]]:
    about: dict[str, Any] = {
        "reference": sample.reference,
        "refused": sample.refused,
        "fields": [
            {
                "shares": field.shares,
                "envelope": field.envelope,
                "indices": asdict(field.indices),
                "drawn": field.drawn,
            }
            for field in sample.fields
        ],
    }
    tiles = {f"tiles{i}": field.tiles for i, field in enumerate(sample.fields)}
    return {"about": np.array(json.dumps(about)), **tiles}


def _unpacked(stored: Arrays) -> SimulatedSample:
    about = json.loads(str(stored["about"]))
    fields = []
    for i, item in enumerate(about["fields"]):
        values = dict(item["indices"])
        values["single_cell_areas_um2"] = tuple(values["single_cell_areas_um2"])
        fields.append(
            SampleField(
                stored[f"tiles{i}"],
                tuple(item["shares"]),
                FieldIndices(**values),
                tuple(item["envelope"]),
                item["drawn"],
            )
        )
    return SimulatedSample(about["reference"], tuple(fields), about["refused"])
