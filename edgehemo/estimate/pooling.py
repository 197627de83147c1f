"""The indices of a sample from those of its accepted fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

from edgehemo.errors import FieldError
from edgehemo.estimate.values import FieldIndices, SampleIndices
from edgehemo.statistics.interval import Interval
from edgehemo.statistics.student import t95

# Pooled by the area they were measured on.
_BY_AREA = (
    "cell_cover",
    "field_od_red",
    "field_od_green",
    "field_od_blue",
    "dark_share",
    "rbc_per_mm2",
)
# A density of cells belongs to the area of the cells, a cell's size to the number of cells.
_BY_CELL_AREA = ("cell_od_red", "cell_od_green", "cell_od_blue")
_BY_CELLS = ("cell_area_um2", "cell_area_cv")
# A network that could read less of a sample's area than this has nothing to say of it.
MIN_AREA_SHARE_OF_OUTPUTS = 0.5
POOLED = (*_BY_AREA, *_BY_CELL_AREA, *_BY_CELLS)


def pool(indices: Sequence[FieldIndices]) -> SampleIndices:
    """Pool the accepted fields of one sample; choosing them is the caller's duty.

    Means are weighted by area (densities of cells by the cells' area, sizes by the number of
    cells). An index one field could not give is pooled over the others, without an interval.
    Fields are the independent unit: the interval is Student's t over them. Raises FieldError
    without a field.
    """
    if not indices:
        raise FieldError("no field to pool: every field of the sample was refused")
    fields = tuple(indices)
    mean = _mean_field(fields)
    intervals: dict[str, Interval] = {}
    errors: dict[str, float] = {}
    for name in POOLED:
        values = [getattr(field, name) for field in fields]
        if len(fields) < 2 or any(value is None for value in values):
            continue
        error = _standard_error(values, [_weight(field, name) for field in fields])
        if error is None:
            continue
        centre = float(getattr(mean, name))
        reach = t95(len(fields) - 1) * error
        errors[name] = error
        intervals[name] = Interval(centre, max(0.0, centre - reach), centre + reach)
    return SampleIndices(mean=mean, intervals=intervals, standard_errors=errors, fields=fields)


def leave_one_field_out(sample: SampleIndices) -> tuple[FieldIndices, ...]:
    """The pooled means without each field in turn: what a jackknife works on.

    Empty for a sample of one field.
    """
    fields = sample.fields
    if len(fields) < 2:
        return ()
    return tuple(_mean_field(fields[:i] + fields[i + 1 :]) for i in range(len(fields)))


def _mean_field(fields: tuple[FieldIndices, ...]) -> FieldIndices:
    def mean(name: str) -> float | None:
        pairs = [
            (float(value), _weight(field, name))
            for field in fields
            if (value := getattr(field, name)) is not None
        ]
        if not pairs:
            return None
        total = sum(weight for _, weight in pairs)
        if total <= 0:
            return sum(value for value, _ in pairs) / len(pairs)
        return sum(value * weight for value, weight in pairs) / total

    def certain(name: str) -> float:
        value = mean(name)
        return 0.0 if value is None else value

    sources = {field.scale_source for field in fields}
    # The weakest source speaks for the sample.
    source = next(s for s in ("assumed", "red_cells", "given", "profile") if s in sources)
    area = sum(field.area_mm2 for field in fields)
    return FieldIndices(
        cell_cover=certain("cell_cover"),
        cell_od_red=certain("cell_od_red"),
        cell_od_green=certain("cell_od_green"),
        cell_od_blue=certain("cell_od_blue"),
        field_od_red=certain("field_od_red"),
        field_od_green=certain("field_od_green"),
        field_od_blue=certain("field_od_blue"),
        dark_share=certain("dark_share"),
        cell_area_um2=mean("cell_area_um2"),
        cell_area_cv=mean("cell_area_cv"),
        rbc_per_mm2=mean("rbc_per_mm2"),
        area_mm2=area,
        single_cells=sum(field.single_cells for field in fields),
        single_cell_areas_um2=tuple(
            chain.from_iterable(field.single_cell_areas_um2 for field in fields)
        ),
        scale_source=source,
        model=_mean_outputs(fields),
    )


def _mean_outputs(fields: tuple[FieldIndices, ...]) -> dict[str, float]:
    """Means of a network's outputs by area, over the fields it could read; a minority of the area
    does not speak for the sample.
    """
    area = sum(field.area_mm2 for field in fields)
    means: dict[str, float] = {}
    for name in sorted(set().union(*(field.model for field in fields))):
        known = [field for field in fields if name in field.model]
        covered = sum(field.area_mm2 for field in known)
        if covered > 0 and covered >= MIN_AREA_SHARE_OF_OUTPUTS * area:
            means[name] = sum(field.model[name] * field.area_mm2 for field in known) / covered
    return means


def _weight(field: FieldIndices, name: str) -> float:
    if name in _BY_CELL_AREA:
        return field.area_mm2 * field.cell_cover
    if name in _BY_CELLS:
        return float(field.single_cells)
    return field.area_mm2


def _standard_error(values: Sequence[float], weights: Sequence[float]) -> float | None:
    """Of a weighted mean, from the scatter of the values (ratio estimator: Cochran 1977, 6.4).

    None where the weights leave fewer than two values.
    """
    total = sum(weights)
    used = sum(1 for weight in weights if weight > 0)
    if total <= 0 or used < 2:
        return None
    centre = sum(v * w for v, w in zip(values, weights, strict=True)) / total
    scatter = sum((w / total * (v - centre)) ** 2 for v, w in zip(values, weights, strict=True))
    return math.sqrt(scatter * used / (used - 1))
