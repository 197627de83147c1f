"""What a network is held against: the mean, one physical index, several, and frozen features.

Each is fitted on the training patients of a fold, by patient, and asked of the others' fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.estimate.values import FieldIndices
from edgehemo.measurands import MEASURANDS, Measurand
from edgehemo_export.studies.yang.patients import Row

Array = NDArray[np.float64]
# Penalties of the ridge, over the mean square of a standardised feature; the least error of groups
# left out within the training patients chooses.
PENALTIES = tuple(float(value) for value in np.logspace(-3, 4, 15))
INNER_FOLDS = 5

MEAN = "always the mean"
ONE_INDEX = "one physical index, line"
INDICES = "physical indices, ridge"
SHIPPED_OUTPUT = "shipped field estimator, line"
SHIPPED_FEATURES = "shipped field estimator's features, ridge"
DRAWN = "what was drawn, line"
# How each is explained on the page.
SAYS: Mapping[str, str] = {
    MEAN: "the mean of the training patients, whatever the picture",
    ONE_INDEX: "HGB by the mean green optical density of a field, HCT by the share that cells "
    "cover, RBC by that share over the area of a single cell; a straight line",
    INDICES: "cover, optical densities of field and cells, dark share, area of a cell; ridge",
    SHIPPED_OUTPUT: "the shipped field estimator's own output and a straight line, as a device "
    "reads after calibration",
    SHIPPED_FEATURES: "the 512 pooled features of the shipped field estimator, frozen, and a "
    "linear head (ridge)",
    DRAWN: "the content that the fields were drawn with, which no reader can know better: the "
    "floor that the simulation sets by how many cells a field holds and how thick it is",
}


@dataclass(frozen=True)
class Comparator:
    """features: of a field for a measurand, None where it lacks them. penalties: of the ridge,
    empty for least squares.
    """

    name: str
    features: Callable[[Row, Measurand], Sequence[float] | None]
    penalties: Sequence[float] = ()


def _single(indices: FieldIndices, measurand: Measurand) -> tuple[float, ...] | None:
    if measurand == "hgb_g_per_l":
        return (indices.field_od_green,)
    if measurand == "hct_l_per_l":
        return (indices.cell_cover,)
    if indices.cell_area_um2 is None:
        return None
    return (indices.cell_cover / indices.cell_area_um2,)


def _several(indices: FieldIndices) -> tuple[float, ...] | None:
    if indices.cell_area_um2 is None:
        return None
    return (
        indices.cell_cover,
        indices.dark_share,
        indices.field_od_red,
        indices.field_od_green,
        indices.field_od_blue,
        indices.cell_od_red,
        indices.cell_od_green,
        indices.cell_od_blue,
        indices.cell_area_um2,
        indices.cell_cover / indices.cell_area_um2,
    )


def _shipped(row: Row, measurand: Measurand, *, output: bool) -> Sequence[float] | None:
    values = row.field.shipped
    if not len(values):
        return None
    if output:
        return (float(values[len(values) - len(MEASURANDS) + MEASURANDS.index(measurand)]),)
    return [float(value) for value in values[: -len(MEASURANDS)]]


def _drawn(row: Row, measurand: Measurand) -> Sequence[float] | None:
    return None if row.field.drawn is None else (row.field.drawn[measurand],)


COMPARATORS: tuple[Comparator, ...] = (
    Comparator(MEAN, lambda row, measurand: ()),
    Comparator(ONE_INDEX, lambda row, measurand: _single(row.field.indices, measurand)),
    Comparator(INDICES, lambda row, measurand: _several(row.field.indices), PENALTIES),
    Comparator(SHIPPED_OUTPUT, lambda row, measurand: _shipped(row, measurand, output=True)),
    Comparator(
        SHIPPED_FEATURES,
        lambda row, measurand: _shipped(row, measurand, output=False),
        PENALTIES,
    ),
    Comparator(DRAWN, _drawn),
)


@dataclass(frozen=True)
class LinearHead:
    """A line over standardised features. centre, spread: (k,); coefficients: (1 + k,)."""

    centre: Array
    spread: Array
    coefficients: Array

    def at(self, features: Array) -> Array:
        """float64 (n, k) -> (n,)."""
        scaled = (features - self.centre) / self.spread
        return np.asarray(self.coefficients[0] + scaled @ self.coefficients[1:])


def fitted_head(
    features: Array, values: Array, groups: Sequence[str], penalties: Sequence[float] = ()
) -> LinearHead:
    """Least squares of values (n,) on features (n, k), or ridge, whose penalty is chosen by the
    error of groups left out (`INNER_FOLDS`). Every group counts the same.
    """
    _, owner, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weight = 1.0 / counts[owner]
    if not penalties or not features.shape[1]:
        return _Solved(features, values, weight).head(0.0)
    inner = owner % INNER_FOLDS
    errors = np.zeros(len(penalties))
    for fold in range(INNER_FOLDS):
        out = inner == fold
        if not out.any() or out.all():
            continue
        solved = _Solved(features[~out], values[~out], weight[~out])
        for index, penalty in enumerate(penalties):
            missed = values[out] - solved.head(penalty).at(features[out])
            errors[index] += float((weight[out] * missed**2).sum())
    return _Solved(features, values, weight).head(penalties[int(np.argmin(errors))])


class _Solved:
    """The weighted normal equations of standardised features, taken apart once for all penalties:
    features (n, k), values and weight (n,).
    """

    def __init__(self, features: Array, values: Array, weight: Array) -> None:
        share = weight / weight.sum()
        self._centre = share @ features
        spread = np.sqrt(share @ (features - self._centre) ** 2)
        self._spread = np.where(spread > 0, spread, 1.0)
        scaled = (features - self._centre) / self._spread
        self._middle = float(share @ values)
        self._count = len(values)
        self._eigen, self._axes = np.linalg.eigh((scaled * share[:, None]).T @ scaled)
        self._along = self._axes.T @ (scaled.T @ (share * (values - self._middle)))

    def head(self, penalty: float) -> LinearHead:
        # A trace of a penalty keeps equal features from an endless answer.
        slopes = self._axes @ (self._along / (self._eigen + penalty / self._count + 1e-9))
        return LinearHead(self._centre, self._spread, np.concatenate([[self._middle], slopes]))


def compared(
    training: Sequence[Row], others: Sequence[Row], measurands: Sequence[Measurand]
) -> dict[str, Array]:
    """What each comparator says of the other fields, by its name, float64 (n, k); NaN where a
    field lacks its features. Comparators that no training field has the features of are left out.

    Fitted on the means of the training patients' usual fields, as a calibration is: what single
    fields scatter by would flatten a line.
    """
    found: dict[str, Array] = {}
    for comparator in COMPARATORS:
        answers = np.full((len(others), len(measurands)), np.nan)
        for column, measurand in enumerate(measurands):
            known = _pooled(training, comparator, measurand)
            asked = _table(others, comparator, measurand)
            if known.groups and asked.rows:
                head = fitted_head(known.features, known.values, known.groups, comparator.penalties)
                answers[asked.rows, column] = head.at(asked.features)
        if np.isfinite(answers).any():
            found[comparator.name] = answers
    return found


@dataclass(frozen=True)
class _Pooled:
    """features: float64 (n, k), values: (n,), groups: of each sample."""

    features: Array
    values: Array
    groups: list[str]


def _pooled(rows: Sequence[Row], comparator: Comparator, measurand: Measurand) -> _Pooled:
    usual = [row for row in rows if row.field.place == "usual"]
    table = _table(usual, comparator, measurand)
    having = [usual[i] for i in table.rows]
    names = sorted({row.patient for row in having})
    of = {name: [i for i, row in enumerate(having) if row.patient == name] for name in names}
    first = [having[of[name][0]] for name in names]
    width = table.features.shape[1]
    return _Pooled(
        np.array([table.features[of[name]].mean(axis=0) for name in names]).reshape(-1, width)
        if width
        else np.zeros((len(names), 0)),
        np.array([row.values[measurand] for row in first]),
        [row.group for row in first],
    )


@dataclass(frozen=True)
class _Table:
    """features: float64 (n, k) of the rows that have them."""

    rows: list[int]
    features: Array


def _table(rows: Sequence[Row], comparator: Comparator, measurand: Measurand) -> _Table:
    found = [(i, comparator.features(row, measurand)) for i, row in enumerate(rows)]
    having = [(i, values) for i, values in found if values is not None]
    return _Table(
        [i for i, _ in having],
        np.array([list(values) for _, values in having], np.float64).reshape(
            len(having), -1 if having else 0
        ),
    )
