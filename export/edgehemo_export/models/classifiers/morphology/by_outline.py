"""How far a red cell's type agrees with its outline, on sources whose cells bear no type.

Nobody has named these cells, so accuracy cannot be told; but a long cell is no normal one, and one
that is pointed at both ends is a sickle cell or nothing that is known. That holds for any
microscope, one that was left out of training above all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ConformalRule, FamiliarityRule, Metric
from edgehemo.cells.outline import Outline
from edgehemo.cells.shapes import allows
from edgehemo_export.models.classifiers.conformal import named
from edgehemo_export.models.classifiers.evaluation import share_metric
from edgehemo_export.models.classifiers.morphology.isolated_cells import (
    LONG_TYPES,
    ROUND_TYPES,
    IsolatedCells,
    is_pointed,
    is_round,
)
from edgehemo_export.models.classifiers.predictions import Predicted

# The long cells that are judged: surely one cell each, and surely long.
JUDGED_ELONGATION, JUDGED_SOLIDITY, JUDGED_UM2 = 1.6, 0.85, (15.0, 60.0)
# The types that say of a cell that it is long.
SAID_LONG = ("ovalocyte", "elliptocyte", "teardrop", "sickle_cell")
SICKLE = "sickle_cell"
# `uncategorised` is possible for any cell: a network that said nothing else would never be wrong.
_ANY_SHAPE = "uncategorised"


def is_judged_long(outline: Outline) -> bool:
    """A single cell, surely long."""
    least, most = JUDGED_UM2
    return (
        outline.elongation > JUDGED_ELONGATION
        and outline.solidity > JUDGED_SOLIDITY
        and least < outline.area_um2 < most
    )


def outline_metrics(
    cells: IsolatedCells,
    predicted: Predicted,
    rule: ConformalRule,
    familiarity: FamiliarityRule | None,
    source: str,
) -> list[Metric]:
    """What one source's isolated cells are called, by their outline; shares with Wilson's 95 %
    interval, and none for a shape that the source shows no cell of.

    `uncategorised` counts as neither. predicted: of ``cells.crops``. `named` as on the device: one
    class in the set, like what was learnt from, and allowed by the outline.
    """
    classes = predicted.crops.classes
    likeliest = predicted.probabilities.argmax(axis=1)
    names = device_names(cells.outlines, predicted, rule, familiarity)
    has_name = names < len(classes)
    rounds = np.array([is_round(outline) for outline in cells.outlines], np.bool_)
    longs = np.array([is_judged_long(outline) for outline in cells.outlines], np.bool_)
    pointed = np.array([is_pointed(outline) for outline in cells.outlines], np.bool_)
    long_types = [name for name in LONG_TYPES if name != _ANY_SHAPE]
    round_types = [name for name in ROUND_TYPES if name != _ANY_SHAPE]
    can_be_long = _one_of(likeliest, classes, long_types)
    said_long = _one_of(likeliest, classes, SAID_LONG)
    sickle = _one_of(likeliest, classes, (SICKLE,))
    out: list[Metric] = []

    def add(name: str, cells_of: NDArray[np.bool_], hits: NDArray[np.bool_]) -> None:
        if cells_of.any():
            out.append(share_metric(name, source, hits[cells_of]))

    add("long cells given a type that long cells have", longs, can_be_long)
    add(f"long cells given {', '.join(SAID_LONG[:-1])} or {SAID_LONG[-1]}", longs, said_long)
    if SICKLE in classes:
        add(f"cells pointed at both ends given {SICKLE}", pointed, sickle)
    add(
        "round cells given a type that no round cell has",
        rounds,
        ~_one_of(likeliest, classes, ROUND_TYPES),
    )
    if SICKLE in classes:
        add(f"round cells given {SICKLE}", rounds, sickle)
    add("long cells named (not uncertain)", longs, has_name)
    add(
        "named long cells with a type that long cells have",
        longs & has_name,
        _one_of(names, classes, long_types),
    )
    add("round cells named (not uncertain)", rounds, has_name)
    add(
        "named round cells with a type that round cells have",
        rounds & has_name,
        _one_of(names, classes, round_types),
    )
    return out


def device_names(
    outlines: Sequence[Outline],
    predicted: Predicted,
    rule: ConformalRule,
    familiarity: FamiliarityRule | None,
) -> NDArray[np.intp]:
    """The class each cell is named, intp (n,), the number of classes for `uncertain`: what its
    outline speaks against is not named.
    """
    classes = predicted.crops.classes
    names = named(predicted.probabilities, classes, rule, predicted.familiarity, familiarity)
    allowed = np.array(
        [
            name == len(classes) or allows(classes[name], outline)
            for name, outline in zip(names.tolist(), outlines, strict=True)
        ],
        np.bool_,
    )
    return np.where(allowed, names, len(classes)).astype(np.intp)


def _one_of(
    names: NDArray[np.intp], classes: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.bool_]:
    return np.append(np.isin(classes, list(wanted)), False)[names]
