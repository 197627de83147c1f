"""Counts of cells, and cells, as files hold them."""

from __future__ import annotations

from collections.abc import Mapping

from edgehemo.cells.cell import COUNT_DECIMALS, CellKind, CountInterval
from edgehemo.files.strict import Count, Record


class KindCounts(Record, frozen=True, kw_only=True):
    """How many cells of each kind were found."""

    rbc: Count
    wbc: Count
    platelet: Count

    @classmethod
    def of(cls, counts: Mapping[CellKind, int]) -> KindCounts:
        return cls(rbc=counts["rbc"], wbc=counts["wbc"], platelet=counts["platelet"])


class KindIntervals(Record, frozen=True, kw_only=True):
    """Expected counts of each kind with their 95 % intervals."""

    rbc: CountInterval
    wbc: CountInterval
    platelet: CountInterval

    @classmethod
    def of(cls, counts: Mapping[CellKind, CountInterval]) -> KindIntervals:
        return cls(
            rbc=counts["rbc"].rounded(COUNT_DECIMALS),
            wbc=counts["wbc"].rounded(COUNT_DECIMALS),
            platelet=counts["platelet"].rounded(COUNT_DECIMALS),
        )
