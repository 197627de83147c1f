"""How kiosks' haemoglobin agrees with that of analysers (Bland and Altman, Lancet 327 (1986) 307).

A pair is a result to be used and the newest value that an analyser gave of its sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from edgehemo.monitor.tables import MIN_PAIRS, Agreement
from edgehemo.statistics.normal import Z_95
from edgehemo.statistics.student import t95
from edgehemo_laboratory.seeing.filters import Chosen
from edgehemo_laboratory.storage.interface import Statements

# Pairs that a chart shows; more of them are one cloud.
MOST_SHOWN = 1500


@dataclass(frozen=True, slots=True)
class Pair:
    """A result and an analyser's value, g/L."""

    kiosk: str
    site: str
    device: float
    analyser: float

    @property
    def difference(self) -> float:
        return self.device - self.analyser


@dataclass(frozen=True, slots=True)
class Agreed:
    """Of some pairs; found: None of fewer than two. limit_half: half the width of the 95 % interval
    of each limit.
    """

    name: str
    pairs: int
    found: Agreement | None
    limit_half: float

    @property
    def enough(self) -> bool:
        """Whether so many pairs say anything of a bias."""
        return self.pairs >= MIN_PAIRS

    @property
    def biased(self) -> bool:
        """Whether the bias is surely none of chance."""
        return self.enough and self.found is not None and self.found.low * self.found.high > 0


async def pairs_of(statements: Statements, chosen: Chosen) -> list[Pair]:
    """All pairs of what is chosen."""
    where, values = chosen.where()
    rows = await statements.rows(
        "SELECT k.name, k.site, r.hgb_g_per_l, p.value FROM paired p "
        "JOIN result r ON r.store = p.store AND r.sample = p.sample "
        "JOIN records s ON s.store = r.store JOIN kiosk k ON k.number = s.kiosk "
        "WHERE p.measurand = 'hgb_g_per_l' AND r.standing = 'given' "
        "AND r.hgb_g_per_l IS NOT NULL AND p.number = (SELECT max(n.number) FROM paired n "
        "WHERE n.store = p.store AND n.sample = p.sample AND n.measurand = p.measurand) "
        f"AND {where} ORDER BY k.site, k.name, p.number",
        *values,
    )
    return [Pair(kiosk, site, float(device), float(value)) for kiosk, site, device, value in rows]


def agreed(name: str, pairs: Sequence[Pair]) -> Agreed:
    """What pairs come to: bias and limits with their intervals (Student's t)."""
    count = len(pairs)
    if count < 2:
        return Agreed(name, count, None, 0.0)
    differences = [each.difference for each in pairs]
    mean, sd = fmean(differences), stdev(differences)
    half = t95(count - 1) * sd / math.sqrt(count)
    found = Agreement(count, mean, mean - half, mean + half, sd, mean - Z_95 * sd, mean + Z_95 * sd)
    # Bland and Altman, Statistical Methods in Medical Research 8 (1999) 135.
    of_limit = t95(count - 1) * sd * math.sqrt(1 / count + Z_95**2 / (2 * (count - 1)))
    return Agreed(name, count, found, of_limit)


def by(pairs: Sequence[Pair], part: str) -> list[Agreed]:
    """The same of each kiosk or site."""
    groups: dict[str, list[Pair]] = {}
    for each in pairs:
        groups.setdefault(getattr(each, part), []).append(each)
    return [agreed(name, them) for name, them in sorted(groups.items())]
