"""Which kiosks and sites are unlike the fleet, or unlike themselves before; pure.

Three questions, one limit. Beside the fleet: a kiosk's level over four weeks against the median of
all, in what most kiosks differ by (Qn); of shares by the beta-binomial distribution. Sites: the
mean of their kiosks against that of the others. Drift: a kiosk's days, less the fleet's of the same
day, against its own first two weeks, by an EWMA (weight 0.2).

What is told is beyond the limit that one value of all that are looked at passes once in twenty
looks where nothing is wrong, and surely as large as what matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehemo.monitor.rules import CLIPPED_AT, EWMA_LIMIT, EWMA_WEIGHT, ewma_variance
from edgehemo.statistics.binomial import share_interval
from edgehemo.statistics.normal import Z_95
from edgehemo.statistics.student import normal_deviate
from edgehemo_laboratory.seeing.fleet_days import RECENT_DAYS, Array, FleetDays
from edgehemo_laboratory.seeing.quantities import (
    COMPARED,
    FEWEST_CELLS,
    SHARES,
    TYPE_CHANGE,
    TYPE_TOLD,
    Compared,
    Direction,
)
from edgehemo_laboratory.seeing.robust import (
    MAD_TO_SD,
    deviates,
    freedom_of,
    limit_of,
    share_deviates,
    spread_of,
)

# So many values in control pass their limit in one look at a whole fleet.
CHANCE = 0.05
# Fewer kiosks are no fleet; fewer days of one say nothing of its level; fewer kiosks no site.
FEWEST_KIOSKS, FEWEST_DAYS, FEWEST_OF_SITE = 5, 5, 3
# Days from which a kiosk's own level is learnt, and how many of them it needs.
BASELINE_DAYS, FEWEST_BASELINE = 14, 10
# Days that say where a kiosk is now.
LATEST_DAYS = 5
# The near end of what is known of a change is to reach so much of what matters.
KNOWN_TO = 0.5
# A kiosk's own spread counts beside the fleet's as so many days of it.
_PRIOR_DAYS = 10.0
Kind = Literal["beside", "site", "drift"]
# Places of kiosks in the arrays.
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Outlier:
    """One thing that is unlike the rest. who: a kiosk, or a site. label: what of it. words: what
    was seen, with numbers; meaning, action: what it says and what to do. deviate: how far out.
    since: when a drift began, None of others.
    """

    kind: Kind
    who: str
    site: str
    name: str
    label: str
    words: str
    meaning: str
    action: str
    deviate: float
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """A kiosk's recent level of one quantity. fleet: the median of all; low, high: between which
    most kiosks lie.
    """

    value: float
    fleet: float
    low: float
    high: float
    deviate: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A fleet as it is. looked: kiosks with enough days. limit: beyond which a deviate is told;
    looks: values that were looked at. levels: kiosk -> quantity -> its level.
    """

    kiosks: int
    looked: int
    looks: int
    limit: float
    outliers: tuple[Outlier, ...]
    levels: dict[str, dict[str, Beside]]

    def of(self, who: str) -> list[Outlier]:
        """What is unlike of a kiosk."""
        return [each for each in self.outliers if each.kind != "site" and each.who == who]


def judge(fleet: FleetDays) -> Judged:
    """Judge a fleet. Fewer than five kiosks are judged against themselves alone."""
    kiosks = len(fleet.names)
    sites = _sites(fleet)
    values = len(COMPARED) + len(SHARES) + len(fleet.types)
    looks = kiosks * (values + len(COMPARED)) + len(sites) * (len(COMPARED) + len(SHARES))
    limit = limit_of(looks, CHANCE)
    found: list[Outlier] = []
    levels: dict[str, dict[str, Beside]] = {name: {} for name in fleet.names}
    for quantity in COMPARED:
        days = fleet.means[quantity.name]
        level, error, known = _levels(days)
        if known.sum() >= FEWEST_KIOSKS:
            found += _beside(fleet, quantity, level, error, limit, levels)
            found += _unlike_sites(fleet, sites, quantity, level, limit)
        found += _drifts(fleet, quantity, days, limit)
    if kiosks >= FEWEST_KIOSKS:
        found += _shares(fleet, sites, limit)
        found += _types(fleet, limit)
    found.sort(key=lambda each: (-abs(each.deviate), each.who, each.name))
    looked = int((np.isfinite(fleet.means["exposure"]).sum(axis=1) >= FEWEST_DAYS).sum())
    return Judged(kiosks, looked, looks, limit, tuple(found), levels)


def _sites(fleet: FleetDays) -> dict[str, Places]:
    """Sites that are large enough, with places of their kiosks; none where there is but one."""
    names = sorted(set(fleet.sites))
    places = {name: np.flatnonzero(np.array(fleet.sites) == name) for name in names}
    large = {name: at for name, at in places.items() if len(at) >= FEWEST_OF_SITE}
    return large if len(large) > 1 else {}


def _levels(days: Array) -> tuple[Array, Array, Array]:
    """Median of each kiosk's recent days with its standard error, NaN of too few; which are
    known.
    """
    recent = days[:, -RECENT_DAYS:]
    count = np.isfinite(recent).sum(axis=1)
    known = count >= FEWEST_DAYS
    level, error = np.full(len(days), np.nan), np.full(len(days), np.nan)
    if known.any():
        level[known] = np.nanmedian(recent[known], axis=1)
        spread = MAD_TO_SD * np.nanmedian(np.abs(recent[known] - level[known, None]), axis=1)
        shared = _shrunk(spread, count[known])
        # The median knows less than the mean: its variance is pi / 2 times as large.
        error[known] = shared * np.sqrt(math.pi / 2 / count[known])
    return level, error, known


def _shrunk(spread: Array, count: Array) -> Array:
    """Spreads of kiosks, each drawn to the fleet's: one of few days is anybody's guess."""
    usual = float(np.median(spread))
    return np.sqrt((_PRIOR_DAYS * usual**2 + count * spread**2) / (_PRIOR_DAYS + count))


def _beside(
    fleet: FleetDays,
    quantity: Compared,
    level: Array,
    error: Array,
    limit: float,
    levels: dict[str, dict[str, Beside]],
) -> Iterator[Outlier]:
    known = level[np.isfinite(level)]
    middle, spread = float(np.median(known)), spread_of(known)
    unit = quantity.change * (abs(middle) if quantity.relative else 1.0)
    found = deviates(level, error)
    for place in np.flatnonzero(np.isfinite(found)):
        value, deviate = float(level[place]), float(found[place])
        levels[fleet.names[place]][quantity.name] = Beside(
            value, middle, middle - 2 * spread, middle + 2 * spread, deviate
        )
        apart = abs(value - middle)
        sure = apart - Z_95 * float(error[place]) >= KNOWN_TO * unit
        told = quantity.told(_way(value - middle))
        if abs(deviate) > limit and apart >= unit and sure and told is not None:
            words = f"{_off(quantity, value, middle)} the fleet: {quantity.written(value)}, "
            words += f"most kiosks {quantity.decimals_of(middle)}"
            yield Outlier(
                "beside", fleet.names[place], fleet.sites[place], quantity.name, quantity.label,
                words, told[0], told[1], deviate,
            )  # fmt: skip


def _unlike_sites(
    fleet: FleetDays, sites: dict[str, Places], quantity: Compared, level: Array, limit: float
) -> Iterator[Outlier]:
    known = np.isfinite(level)
    for name, value, others, deviate in _site_deviates(level, known, sites):
        unit = quantity.change * (abs(others) if quantity.relative else 1.0)
        told = quantity.told(_way(value - others))
        if abs(deviate) > limit and abs(value - others) >= unit and told is not None:
            words = f"{_off(quantity, value, others)} the other sites: {quantity.written(value)}, "
            words += f"there {quantity.decimals_of(others)}"
            yield Outlier(
                "site", name, name, quantity.name, quantity.label, words,
                f"all of its kiosks: {told[0]}", told[1], deviate,
            )  # fmt: skip


def _site_deviates(
    level: Array, known: Array, sites: dict[str, Places]
) -> Iterator[tuple[str, float, float, float]]:
    """Each site's median, that of the other sites, and how far apart they are."""
    own = {name: [place for place in at if known[place]] for name, at in sites.items()}
    own = {name: at for name, at in own.items() if len(at) >= FEWEST_OF_SITE}
    if len(own) < 2:
        return
    inside = np.concatenate([level[at] - np.median(level[at]) for at in own.values()])
    spread = spread_of(inside)
    if spread == 0:
        return
    total = len(inside)
    for name, at in own.items():
        others = np.concatenate([level[them] for there, them in own.items() if there != name])
        value, rest = float(np.median(level[at])), float(np.median(others))
        error = spread * math.sqrt(math.pi / 2 * (1 / len(at) + 1 / len(others)))
        # The spread is an estimate too.
        yield (
            name,
            value,
            rest,
            normal_deviate((value - rest) / error, freedom_of(total - len(own))),
        )


def drift_scores(days: Array) -> tuple[Array, Array, Array, Array]:
    """EWMA of each kiosk's days, less the fleet's, against its own first weeks.

    days: (K, D), NaN of days without. Returns the EWMA's deviates (K, D), NaN before there is one;
    each kiosk's level of before and its spread (K,), NaN where too few days say it; and the days
    less the fleet's (K, D).
    """
    kiosks, count = days.shape
    shared = np.isfinite(days).sum(axis=0)
    less = days.copy()
    with np.errstate(all="ignore"):
        fleet = np.full(count, np.nan)
        many = shared >= FEWEST_KIOSKS
        if many.any():
            fleet[many] = np.nanmedian(days[:, many], axis=0)
        usual = float(np.nanmedian(fleet)) if many.any() else 0.0
        less = days - np.where(many, fleet - usual, 0.0)
    known = np.isfinite(less)
    order = np.cumsum(known, axis=1)
    learnt = known & (order <= BASELINE_DAYS)
    enough = learnt.sum(axis=1) >= FEWEST_BASELINE
    before, spread = np.full(kiosks, np.nan), np.full(kiosks, np.nan)
    scores = np.full(days.shape, np.nan)
    if not enough.any():
        return scores, before, spread, less
    first = np.where(learnt, less, np.nan)[enough]
    before[enough] = np.nanmean(first, axis=1)
    own = np.nanstd(first, axis=1, ddof=1)
    spread[enough] = np.maximum(_shrunk(own, learnt[enough].sum(axis=1)), 1e-9)
    doubt = 1 / np.maximum(1, learnt.sum(axis=1))
    ewma, steps = np.zeros(kiosks), np.zeros(kiosks, int)
    variances = np.array([ewma_variance(number) for number in range(count + 1)])
    for day in range(count):
        now = known[:, day] & ~learnt[:, day] & enough
        if not now.any():
            continue
        raw = (less[now, day] - before[now]) / spread[now]
        ewma[now] += EWMA_WEIGHT * np.clip(raw - ewma[now], -CLIPPED_AT, CLIPPED_AT)
        steps[now] += 1
        variance = variances[steps[now]]
        scores[now, day] = ewma[now] / np.sqrt(variance + doubt[now])
    return scores, before, spread, less


def _drifts(fleet: FleetDays, quantity: Compared, days: Array, limit: float) -> Iterator[Outlier]:
    scores, before, spread, less = drift_scores(days)
    reach = max(limit, EWMA_LIMIT)
    for place in np.flatnonzero(np.isfinite(before)):
        at = np.flatnonzero(np.isfinite(scores[place]))
        if not len(at) or abs(scores[place, at[-1]]) <= reach:
            continue
        way = math.copysign(1.0, float(scores[place, at[-1]]))
        unit = quantity.change * (abs(float(before[place])) if quantity.relative else 1.0)
        # Days from before the change say nothing of how far it went.
        began = int(at[_began((less[place, at] - before[place]) * way, unit)])
        latest = less[place, at[at >= began][-LATEST_DAYS:]]
        moved = float(latest.mean() - before[place])
        moved = moved if moved * way > 0 else 0.0
        error = float(spread[place]) * math.sqrt(1 / len(latest) + 1 / BASELINE_DAYS)
        told = quantity.told(_way(moved))
        if told is None or abs(moved) < unit or abs(moved) - Z_95 * error < KNOWN_TO * unit:
            continue
        since = fleet.days[began]
        share = abs(moved) / abs(float(before[place]))
        size = f"{100 * share:.0f} %" if quantity.relative else quantity.written(abs(moved))
        verb = "fell" if moved < 0 else "rose"
        words = f"{verb} by {size} since about {since}: from {quantity.decimals_of(before[place])} "
        words += f"to {quantity.written(float(latest.mean()))}, beside the fleet"
        yield Outlier(
            "drift", fleet.names[place], fleet.sites[place], quantity.name, quantity.label, words,
            told[0], told[1], float(scores[place, at[-1]]), since,
        )  # fmt: skip


def _began(moved: Array, unit: float) -> int:
    """The place from which on a change is likeliest to have been there (Page's sum, backwards, of
    what lies beyond half of what matters). moved: how far each day lies in its direction.
    """
    return int(np.argmax(np.cumsum((moved - unit / 2)[::-1])[::-1]))


def _shares(fleet: FleetDays, sites: dict[str, Places], limit: float) -> Iterator[Outlier]:
    for share in SHARES:
        counts, of = {
            "withheld": (fleet.withheld, fleet.results),
            "refused": (fleet.refused, fleet.fields),
        }[share.name]
        x, n = (part[:, -RECENT_DAYS:].sum(axis=1) for part in (counts, of))
        middle, found = share_deviates(x, n, share.fewest)
        own = np.divide(x, n, out=np.full(x.shape, np.nan), where=n >= share.fewest)
        for place in np.flatnonzero(np.isfinite(found)):
            apart = float(own[place]) - middle
            low, _ = share_interval(round(x[place]), round(n[place]))
            sure = low - middle >= KNOWN_TO * share.change
            if found[place] > limit and apart >= share.change and sure:
                words = f"{_percent(own[place])} ({round(x[place])} of {round(n[place])}), "
                words += f"most kiosks {_percent(middle)}"
                yield Outlier(
                    "beside", fleet.names[place], fleet.sites[place], share.name, share.label,
                    words, share.meaning, share.action, float(found[place]),
                )  # fmt: skip
        for name, value, others, deviate in _site_deviates(own, np.isfinite(own), sites):
            if deviate > limit and value - others >= share.change:
                words = f"{_percent(value)} at its kiosks, {_percent(others)} at the other sites"
                yield Outlier(
                    "site", name, name, share.name, share.label, words, share.site_meaning,
                    share.action, deviate,
                )  # fmt: skip


def _types(fleet: FleetDays, limit: float) -> Iterator[Outlier]:
    for name, counts in sorted(fleet.types.items()):
        middle, found = share_deviates(counts, fleet.cells, FEWEST_CELLS)
        for place in np.flatnonzero(np.isfinite(found)):
            share = float(counts[place] / fleet.cells[place])
            if abs(found[place]) > limit and abs(share - middle) >= TYPE_CHANGE:
                label = f"red cells called {name.replace('_', ' ')}"
                words = f"{_percent(share)}, most kiosks {_percent(middle)}"
                yield Outlier(
                    "beside", fleet.names[place], fleet.sites[place], f"type {name}", label, words,
                    TYPE_TOLD[0], TYPE_TOLD[1], float(found[place]),
                )  # fmt: skip


def _way(moved: float) -> Direction:
    return "low" if moved < 0 else "high"


def _off(quantity: Compared, value: float, beside: float) -> str:
    apart = abs(value - beside)
    size = f"{100 * apart / abs(beside):.0f} %" if quantity.relative else quantity.written(apart)
    return f"{size} {'below' if value < beside else 'above'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def names_of(outliers: Sequence[Outlier]) -> set[tuple[str, str, str]]:
    """What is told, to be counted: kind, who and what of it."""
    return {(each.kind, each.who, each.name) for each in outliers}
