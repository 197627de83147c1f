"""What is measured of a field and of a sample: indices, concentrations, intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Measurand = Literal["hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l"]
MEASURANDS: tuple[Measurand, ...] = get_args(Measurand)


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % interval, in the measurand's unit."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FieldIndices:
    """Physical indices of one canonical field; no unit of concentration, and none is implied.

    cell_cover: share of the valid area that red cells cover (0-1).
    cell_od_red, cell_od_green, cell_od_blue: mean optical density over the cells' pixels.
    field_od_red, field_od_green, field_od_blue: mean optical density over the whole valid area,
        i.e. cover times density: proportional to absorbing mass per area (Beer-Lambert).
    dark_share: share of valid pixels with green optical density over 0.06.
    cell_area_um2, cell_area_cv: median area of single cells and the relative spread.
    rbc_per_mm2: interior red cells per area, None without a cell finder.
    area_mm2: valid area the indices stand on.
    """

    cell_cover: float
    cell_od_red: float
    cell_od_green: float
    cell_od_blue: float
    field_od_red: float
    field_od_green: float
    field_od_blue: float
    dark_share: float
    cell_area_um2: float
    cell_area_cv: float
    rbc_per_mm2: float | None
    area_mm2: float

    @property
    def hgb_index(self) -> float:
        """Haemoglobin per area: mean green optical density of the field (Beer-Lambert)."""
        return self.field_od_green

    @property
    def hct_index(self) -> float:
        """Packed area: share of the field that cells cover."""
        return self.cell_cover

    @property
    def rbc_index(self) -> float | None:
        """Red cells per mm^2 of smear."""
        return self.rbc_per_mm2

    def as_json(self) -> dict[str, Any]:
        record = asdict(self)
        record["hgb_index"] = self.hgb_index
        record["hct_index"] = self.hct_index
        record["rbc_index"] = self.rbc_index
        return record
