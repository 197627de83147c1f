"""How the study's figures are found again and told, on the page and beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from edgehemo_export.studies.lateef.data import Way
from edgehemo_export.studies.study import Measure, worded

HELD_OUT = "held out"
# The two further sets that hold one kind of cell, one of each scanner.
SAME_CELL = ("LMU neutrophil", "PBC neutrophil")
# The class that the second scanner alone saw.
OF_ONE_SCANNER = "myeloblast"


def shown(place: str, way: Way) -> str:
    """A part of the data shown in a way; as they are goes without saying."""
    return place if way == "as they are" else f"{place}, {way}"


def measure_of(measures: Sequence[Measure], of: str, on: str, name: str) -> Measure | None:
    """The measure of a method on a part of the data, None where there is none."""
    return next((m for m in measures if m.of == of and m.on == on and m.name == name), None)


def told(measure: Measure | None) -> str:
    """A measure in words: with its interval, and the range over seeds."""
    if measure is None:
        return "not measured"
    if measure.sd is None:
        return str(measure)
    low, high = min(measure.seeds.values()), max(measure.seeds.values())
    return f"{measure}; {len(measure.seeds)} seeds {worded(low)} to {worded(high)}"


def brief(measure: Measure | None) -> str:
    """The value alone, for tables of many."""
    return "" if measure is None else worded(measure.value)
