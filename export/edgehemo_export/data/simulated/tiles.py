"""Fields of the simulated microscope with what every pixel holds, for the ResNet18 models.

Per area of smear the truth is exact: haemoglobin, volume and number of red cells, drawn and
counted, so that a tile cut anywhere knows its own content whatever the smear's thickness. It is
given as nominal concentrations: the content of a film of `REFERENCE_THICKNESS_UM`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.simulated import NEUTRAL_GAINS, default_parameters
from edgehemo.commands.progress import tracked
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField, canonical_field
from edgehemo.simulation.field import FieldTruth, Specimen, draw_specimen, photograph
from edgehemo.simulation.panels import CBCPanel, draw_panel
from edgehemo.simulation.parameters import (
    SimulationParameters,
    SmearParameters,
    lognormal_with_mean_one,
    randomised_parameters,
)
from edgehemo_export.data.cache import prepared

# The film whose content is called nominal: the simulation's default.
REFERENCE_THICKNESS_UM = SmearParameters().film_thickness_um
# Stored pictures: four tiles of 224 px and a little room to shift them.
STORED_SIDE_PX = 464
BLOCK_PX = 8
# Share of the fields that are the simulated microscope's own (its stain, lamp, smear), widened in
# thickness and focus only; the others are drawn from the wide ranges.
REFERENCE_SHARE = 0.35
# Share of the fields whose scale comes from the red cells, as on a device without a scale.
ESTIMATED_SCALE_SHARE = 0.4
# Half of the panels have a haemoglobin from the whole range, so that the extremes are learnt too.
UNIFORM_HGB_SHARE = 0.5
UNIFORM_HGB_G_PER_L = (31.0, 204.0)
UM_PER_PX_RANGE = (0.17, 0.40)
REFERENCE_UM_PER_PX_RANGE = (0.17, 0.30)
FIELDS_PER_SHARD = 50


@dataclass(frozen=True)
class SimulatedFields:
    """A number of fields. n of them, s = STORED_SIDE_PX, b = s / BLOCK_PX.

    codes: uint8 (n, s, s, 3). content: float32 (n, b, b, 3): nominal HGB g/L, HCT L/L and RBC
    10^12/L of each block. stain: float32 (n, 3), encoded optical density RGB per pg/um^2 of
    haemoglobin. panel: float32 (n, 3), the blood's own HGB, HCT, RBC. reference: bool (n,).
    """

    codes: NDArray[np.uint8]
    content: NDArray[np.float32]
    stain: NDArray[np.float32]
    panel: NDArray[np.float32]
    reference: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.codes)


def simulated_fields(
    count: int, *, seed: int, cache: Path | None = None, progress: bool = False
) -> SimulatedFields:
    """``count`` fields (rounded up to whole shards); field i depends on (seed, i) alone."""
    shards = -(-count // FIELDS_PER_SHARD)
    return joined(
        [
            simulated_shard(shard, seed=seed, cache=cache)
            for shard in tracked(range(shards), "simulated fields", shards, shown=progress)
        ]
    )


def simulated_shard(shard: int, *, seed: int, cache: Path | None = None) -> SimulatedFields:
    """Fields shard x FIELDS_PER_SHARD and on, from the cache where it holds them."""

    def make() -> dict[str, NDArray[Any]]:
        first = shard * FIELDS_PER_SHARD
        made = joined([simulated_one(first + i, seed=seed) for i in range(FIELDS_PER_SHARD)])
        return {name: getattr(made, name) for name in _NAMES}

    depends_on = {
        "shard": shard,
        "seed": seed,
        "fields": FIELDS_PER_SHARD,
        "side_px": STORED_SIDE_PX,
        "block_px": BLOCK_PX,
        "reference": (REFERENCE_SHARE, REFERENCE_UM_PER_PX_RANGE, REFERENCE_THICKNESS_UM),
        "um_per_px": UM_PER_PX_RANGE,
        "estimated_scale_share": ESTIMATED_SCALE_SHARE,
        "hgb": (UNIFORM_HGB_SHARE, UNIFORM_HGB_G_PER_L),
    }
    return SimulatedFields(**prepared(cache, "simulated-tiles", depends_on, make))


_NAMES = ("codes", "content", "stain", "panel", "reference")


def joined(parts: list[SimulatedFields]) -> SimulatedFields:
    """Several lots as one."""
    return SimulatedFields(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _NAMES}
    )


def simulated_one(index: int, *, seed: int, reference: bool | None = None) -> SimulatedFields:
    """One field of its own blood and, unless it is a reference field, its own microscope.

    reference: which of the two; None draws it.
    """
    rng = np.random.default_rng([seed, index])
    drawn = bool(rng.random() < REFERENCE_SHARE)
    reference = drawn if reference is None else reference
    parameters = _reference_parameters(rng) if reference else randomised_parameters(rng)
    panel = _panel(rng)
    scale_range = REFERENCE_UM_PER_PX_RANGE if reference else UM_PER_PX_RANGE
    um_per_px = float(np.exp(rng.uniform(*np.log(scale_range))))
    estimated = bool(rng.random() < ESTIMATED_SCALE_SHARE)
    side = round((STORED_SIDE_PX + 2 * BLOCK_PX) * CANONICAL_UM_PER_PX / um_per_px)
    specimen = draw_specimen(
        panel,
        rng=rng,
        width_px=side,
        height_px=side,
        um_per_px=um_per_px,
        parameters=parameters,
    )
    taken = photograph(specimen, parameters=parameters, rng=rng)
    field = canonical_field(taken.frame, um_per_px=None if estimated else um_per_px)
    if field.width < STORED_SIDE_PX or field.scale_source == "assumed":
        field = canonical_field(taken.frame, um_per_px=um_per_px)
    content = nominal_content(specimen, taken.truth, field)
    side = STORED_SIDE_PX
    stain = np.array(parameters.stain.red_cell_od_rgb_per_pg_um2) / parameters.sensor.gamma
    return SimulatedFields(
        codes=field.to_uint8()[None, :side, :side],
        content=content[None],
        stain=stain.astype(np.float32)[None],
        panel=np.array([[panel.hgb_g_per_l, panel.hct_l_per_l, panel.rbc_1e12_per_l]], np.float32),
        reference=np.array([reference]),
    )


def nominal_content(
    specimen: Specimen, truth: FieldTruth, field: CanonicalField
) -> NDArray[np.float32]:
    """Content of the stored part in blocks, float32 (b, b, 3); see `SimulatedFields`.

    Haemoglobin and volume per area do not depend on the scale that the field was made with;
    the number of cells is per canonical area, which is what a picture can show.
    """
    pad = specimen.margin_px
    inner = (
        slice(pad, pad + specimen.height_px),
        slice(pad, pad + specimen.width_px),
    )
    thickness_um = specimen.thickness_um[inner]
    maps: NDArray[np.float32]
    # um of haemoglobin solution times its concentration is haemoglobin per area.
    hgb = thickness_um * np.float32(specimen.panel.mchc_g_per_l / REFERENCE_THICKNESS_UM)
    hct = thickness_um / np.float32(REFERENCE_THICKNESS_UM)
    across, down = field.frame_px_per_canonical_px
    per_px = _cells_per_px(truth) * (across * down)
    rbc = per_px / np.float32(CANONICAL_UM_PER_PX**2 * REFERENCE_THICKNESS_UM / 1000.0)
    maps = np.dstack([hgb, hct, rbc]).astype(np.float32)
    size = (field.width, field.height)
    shrinking = field.width < specimen.width_px
    way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    maps = np.asarray(cv2.resize(maps, size, interpolation=way), np.float32)
    maps = maps[:STORED_SIDE_PX, :STORED_SIDE_PX]
    blocks = STORED_SIDE_PX // BLOCK_PX
    grouped = maps.reshape(blocks, BLOCK_PX, blocks, BLOCK_PX, 3)
    return np.asarray(grouped.mean(axis=(1, 3)), np.float32)


def _cells_per_px(truth: FieldTruth) -> NDArray[np.float32]:
    """Red cells per pixel of the frame, each spread over its box, float32 (height, width)."""
    height, width = truth.coverage.shape
    density = np.zeros((height, width), np.float32)
    for cell in truth.of_kind("rbc"):
        x0, x1, y0, y1 = round(cell.x0), round(cell.x1), round(cell.y0), round(cell.y1)
        share = np.float32(1.0 / max(1, (x1 - x0) * (y1 - y0)))
        density[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] += share
    return density


def _panel(rng: np.random.Generator) -> CBCPanel:
    if rng.random() < UNIFORM_HGB_SHARE:
        return draw_panel(rng, hgb_g_per_l=float(rng.uniform(*UNIFORM_HGB_G_PER_L)))
    return draw_panel(rng)


def _reference_parameters(rng: np.random.Generator) -> SimulationParameters:
    """The simulated microscope as it stands, at any thickness a field of it may have."""
    base = default_parameters()
    thickness = REFERENCE_THICKNESS_UM * lognormal_with_mean_one(rng, 0.15)
    return SimulationParameters(
        smear=replace(base.smear, film_thickness_um=thickness, field_thickness_sd=0.25),
        stain=base.stain,
        optics=replace(base.optics, defocus_um=float(rng.normal(0.0, 0.1))),
        sensor=replace(base.sensor, white_balance=NEUTRAL_GAINS),
    )
