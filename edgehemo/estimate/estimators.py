"""The one table of estimators that calibration chooses from and the device uses.

Most stand on physics alone; some on the field estimator, a network whose outputs are contents per
area and no concentrations; some on both. Each estimator is a straight line on one or two features
of a pooled sample: analyser pairs are few, and every feature more costs more than it explains.
Each feature names the direction in which physics makes it move, so that a line fitted the wrong
way round is never chosen. The order is one of preference, the physically most plausible first:
calibration leaves it only for a choice that is clearly better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edgehemo.estimate.values import FieldIndices
from edgehemo.measurands import MEASURANDS, Measurand


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of a sample.

    of: from (pooled) indices, None where a part of it is missing. needs_scale: meaningless where
    the scale was taken from the red cells themselves. needs_finder: stands on the cell finder.
    needs_network: on the field estimator. why: the physics. The slope of every feature is expected
    to be positive.
    """

    name: str
    of: Callable[[FieldIndices], float | None]
    why: str
    needs_scale: bool = False
    needs_finder: bool = False
    needs_network: bool = False


@dataclass(frozen=True, slots=True)
class Estimator:
    """A line on one or two features, for the measurands it makes sense for."""

    name: str
    measurands: tuple[Measurand, ...]
    features: tuple[Feature, ...]

    @property
    def needs_scale(self) -> bool:
        return any(feature.needs_scale for feature in self.features)

    @property
    def needs_finder(self) -> bool:
        return any(feature.needs_finder for feature in self.features)

    @property
    def needs_network(self) -> bool:
        return any(feature.needs_network for feature in self.features)

    def values(self, indices: FieldIndices) -> tuple[float, ...] | None:
        """The features of (pooled) indices, None where one is missing."""
        found: list[float] = []
        for feature in self.features:
            value = feature.of(indices)
            if value is None:
                return None
            found.append(float(value))
        return tuple(found)


def _covered_cells(indices: FieldIndices) -> float | None:
    """Cells per mm^2 that would cover as much as is covered."""
    if indices.cell_area_um2 is None or indices.cell_area_um2 <= 0:
        return None
    return indices.cell_cover / (indices.cell_area_um2 * 1e-6)


def _counted_cover(indices: FieldIndices) -> float | None:
    if indices.rbc_per_mm2 is None or indices.cell_area_um2 is None:
        return None
    return indices.rbc_per_mm2 * indices.cell_area_um2 * 1e-6


def _counted_absorbance(indices: FieldIndices) -> float | None:
    cover = _counted_cover(indices)
    return None if cover is None else cover * indices.cell_od_green


def _half_each(one: float | None, other: float | None) -> float | None:
    """The geometric mean of two indices: what only one of them takes for content counts half."""
    if one is None or other is None:
        return None
    return math.sqrt(max(0.0, one) * max(0.0, other))


def _joined(
    output: str, physical: Callable[[FieldIndices], float | None]
) -> Callable[[FieldIndices], float | None]:
    """A network's output and a physical index, half each."""
    return lambda indices: _half_each(indices.model.get(output), physical(indices))


ABSORBANCE_GREEN = Feature(
    "field_od_green",
    lambda indices: indices.field_od_green,
    "absorbing mass per area (Beer-Lambert); haemoglobin and the eosin bound to it absorb in green",
)
ABSORBANCE_BLUE = Feature(
    "field_od_blue",
    lambda indices: indices.field_od_blue,
    "absorbing mass per area (Beer-Lambert); the Soret band of haemoglobin lies in blue",
)
DARK_SHARE = Feature(
    "dark_share",
    lambda indices: indices.dark_share,
    "share of the smear with appreciable absorbance: cover without the thin parts of pale cells",
)
ABSORBANCE_AND_DARK_SHARE = Feature(
    "field_od_green_and_dark_share",
    lambda indices: _half_each(indices.field_od_green, indices.dark_share),
    "haemoglobin per area twice: by the light absorbed, which the stain's depth moves, and by the "
    "share of dark smear, which it hardly moves; half each",
)
COVER = Feature(
    "cell_cover",
    lambda indices: indices.cell_cover,
    "packed area: grows with the volume fraction of cells at a like thickness of the smear",
)
CELL_DENSITY = Feature(
    "cell_od_green",
    lambda indices: indices.cell_od_green,
    "haemoglobin per area of cell: falls in hypochromia",
)
COUNT = Feature(
    "rbc_per_mm2",
    lambda indices: indices.rbc_per_mm2,
    "red cells per area of smear",
    needs_scale=True,
    needs_finder=True,
)
COVERED_CELLS = Feature(
    "cover_per_cell_area",
    _covered_cells,
    "cover over the area of one cell: red cells per area, clumps included",
    needs_scale=True,
)
COUNTED_COVER = Feature(
    "count_times_cell_area",
    _counted_cover,
    "red cells per area times the area of one: cover with overlaps counted twice, as volume is",
    needs_finder=True,
)
COUNTED_ABSORBANCE = Feature(
    "count_times_cell_absorbance",
    _counted_absorbance,
    "red cells per area times the haemoglobin of one, as HGB = RBC x MCH",
    needs_finder=True,
)

NETWORK_HGB = Feature(
    "network_hgb",
    lambda indices: indices.model.get("hgb"),
    "haemoglobin per area as the field estimator reads it, by light absorbed and by shape",
    needs_network=True,
)
NETWORK_HCT = Feature(
    "network_hct",
    lambda indices: indices.model.get("hct"),
    "volume of red cells per area as the field estimator reads it",
    needs_network=True,
)
NETWORK_RBC = Feature(
    "network_rbc",
    lambda indices: indices.model.get("rbc"),
    "red cells per area as the field estimator reads it, overlapping ones apart",
    needs_network=True,
)
NETWORK_HGB_AND_DARK_SHARE = Feature(
    "network_hgb_and_dark_share",
    _joined("hgb", lambda indices: indices.dark_share),
    "haemoglobin per area by the field estimator and by the share of dark smear, half each",
    needs_network=True,
)
NETWORK_HGB_AND_ABSORBANCE = Feature(
    "network_hgb_and_field_od_green",
    _joined("hgb", lambda indices: indices.field_od_green),
    "haemoglobin per area by the field estimator and by the light absorbed, half each",
    needs_network=True,
)
NETWORK_HCT_AND_COVER = Feature(
    "network_hct_and_cover",
    _joined("hct", lambda indices: indices.cell_cover),
    "packed volume by the field estimator and by the cover, half each",
    needs_network=True,
)


ESTIMATORS: tuple[Estimator, ...] = (
    Estimator("absorbance-and-dark-share", ("hgb_g_per_l",), (ABSORBANCE_AND_DARK_SHARE,)),
    # Not for RBC: a pale cell counts as much as a deep one.
    Estimator("dark-share", ("hgb_g_per_l", "hct_l_per_l"), (DARK_SHARE,)),
    Estimator("cover", MEASURANDS, (COVER,)),
    Estimator("absorbance", MEASURANDS, (ABSORBANCE_GREEN,)),
    Estimator("blue-absorbance", ("hgb_g_per_l",), (ABSORBANCE_BLUE,)),
    Estimator("cell-absorbance", ("hgb_g_per_l",), (CELL_DENSITY,)),
    Estimator("cover-and-cell-absorbance", ("hgb_g_per_l",), (COVER, CELL_DENSITY)),
    Estimator("counted-absorbance", ("hgb_g_per_l",), (COUNTED_ABSORBANCE,)),
    Estimator("counted-cover", ("hct_l_per_l",), (COUNTED_COVER,)),
    Estimator("count", ("rbc_1e12_per_l", "hct_l_per_l"), (COUNT,)),
    Estimator("cover-per-cell-area", ("rbc_1e12_per_l",), (COVERED_CELLS,)),
    Estimator("network-hgb", ("hgb_g_per_l",), (NETWORK_HGB,)),
    Estimator("network-hct", ("hct_l_per_l",), (NETWORK_HCT,)),
    Estimator("network-rbc", ("rbc_1e12_per_l",), (NETWORK_RBC,)),
    Estimator("network-and-dark-share", ("hgb_g_per_l",), (NETWORK_HGB_AND_DARK_SHARE,)),
    Estimator("network-and-absorbance", ("hgb_g_per_l",), (NETWORK_HGB_AND_ABSORBANCE,)),
    Estimator("network-and-cover", ("hct_l_per_l",), (NETWORK_HCT_AND_COVER,)),
)
# What is preferred for each measurand before any pair is measured: what errs least over simulated
# microscopes whose stain scatters between smears by 2 to 25 % (`benchmarks/few_pairs.py`).
PREFERRED: Mapping[Measurand, tuple[str, ...]] = {
    "hgb_g_per_l": ("absorbance-and-dark-share",),
    "hct_l_per_l": ("cover",),
    "rbc_1e12_per_l": ("cover-per-cell-area", "cover"),
}
BY_NAME: Mapping[str, Estimator] = {estimator.name: estimator for estimator in ESTIMATORS}


def need_network(names: Iterable[str]) -> bool:
    """Whether one of the estimators of these names stands on the field estimator."""
    return any(BY_NAME[name].needs_network for name in names if name in BY_NAME)


def estimators_of(measurand: Measurand) -> tuple[Estimator, ...]:
    """The candidates for one measurand, the preferred first."""
    first = tuple(BY_NAME[name] for name in PREFERRED[measurand])
    others = (estimator for estimator in ESTIMATORS if measurand in estimator.measurands)
    return (*first, *(estimator for estimator in others if estimator not in first))
