"""What halts a publication: one table of limits, and the figures that are held against it. Pure.

Each figure is a change of the kiosks that use it, from their own time before, less the change of
the others over the same time; its 95 % interval is by the two groups' own intervals (Newcombe,
Statistics in Medicine 17 (1998) 873, method 10, and the same of two differences: Zou and Donner,
Statistics in Medicine 27 (2008) 1693), and of medians by resampling kiosks and their results.
A change halts where its interval leaves out zero and its size has come to the limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from edgehemo.files.strict import Count, Positive, Record, Share
from edgehemo.statistics.binomial import share_interval

FindingKind = Literal["failed", "silent", "withheld", "grade", "hgb"]
_DAY_S = 86_400
# Before the switch so much time is looked at.
BEFORE_S = 28 * _DAY_S
_RESAMPLES = 400
_SEED = 22


class Limits(Record, frozen=True, kw_only=True):
    """failed_share: of the kiosks that answered, those that refused it, fell back, or whose check
    failed with it. silent_s: a kiosk that was not heard for so long after the offer is silent.
    silent_share: more of them than of the other kiosks. least_results: of each group and time that
    a change is judged on. withheld_share, grade_share: change of the samples without a result, and
    of those with anaemia. hgb_g_per_l: change of the median haemoglobin; hgb_index_share: of its
    index, as a share of it, where no haemoglobin is calibrated.
    """

    failed_share: Share = 0.10
    silent_s: Annotated[int, Meta(ge=1)] = 3 * _DAY_S
    silent_share: Share = 0.10
    least_results: Count = 30
    withheld_share: Share = 0.10
    grade_share: Share = 0.15
    hgb_g_per_l: Positive = 5.0
    hgb_index_share: Positive = 0.06


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval. low, high: None where it is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found. words: of it, for people. of_limit: the limit that it went beyond."""

    kind: FindingKind
    words: str
    figure: Figure
    of_limit: float


@dataclass(frozen=True, slots=True)
class Shares:
    """How many of how many."""

    count: int
    of: int

    @property
    def figure(self) -> Figure:
        low, high = share_interval(self.count, self.of)
        return Figure(self.count / self.of if self.of else 0.0, low, high)


def less(one: Figure, other: Figure) -> Figure:
    """A difference of two figures of their own samples, by their intervals."""
    value = one.value - other.value
    assert one.low is not None and one.high is not None
    assert other.low is not None and other.high is not None
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Figure(value, low, high)


def share_change(
    after: Shares, before: Shares, others_after: Shares, others_before: Shares, least: int
) -> Figure | None:
    """Change of a share less that of the others; the own change alone where they have too few.
    None where the own results are too few.
    """
    if after.of < least or before.of < least:
        return None
    own = less(after.figure, before.figure)
    if others_after.of < least or others_before.of < least:
        return own
    return less(own, less(others_after.figure, others_before.figure))


Values = Mapping[int, Sequence[float]]


def median_change(
    after: Values, before: Values, others_after: Values, others_before: Values, least: int
) -> Figure | None:
    """The same of a median. Values by kiosk, which are resampled whole: patients of one place are
    alike.
    """
    groups = [_arrays(each) for each in (after, before, others_after, others_before)]
    sizes = [sum(len(values) for values in group) for group in groups]
    if min(sizes[:2]) < least:
        return None
    used = 4 if min(sizes[2:]) >= least else 2
    signs = (1, -1, -1, 1)
    random = np.random.default_rng(_SEED)
    value, draws = 0.0, np.zeros(_RESAMPLES)
    for sign, group in list(zip(signs, groups, strict=True))[:used]:
        value += sign * float(np.median(np.concatenate(group)))
        draws += sign * np.array([_resampled(group, random) for _ in range(_RESAMPLES)])
    low, high = np.percentile(draws, (2.5, 97.5))
    return Figure(value, float(low), float(high))


def _arrays(values: Values) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    return [np.array(values[kiosk], dtype=float) for kiosk in sorted(values) if values[kiosk]]


def _resampled(
    group: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]], random: np.random.Generator
) -> float:
    kiosks = random.integers(0, len(group), len(group))
    drawn = [random.choice(group[kiosk], len(group[kiosk])) for kiosk in kiosks]
    return float(np.median(np.concatenate(drawn)))


def beyond(figure: Figure | None, limit: float) -> bool:
    """Whether a change is as large as the limit and surely a change."""
    if figure is None or figure.low is None or figure.high is None:
        return False
    return abs(figure.value) >= limit and not figure.low <= 0 <= figure.high


def failures(failed: Sequence[str], answered: int, limits: Limits) -> Found | None:
    """Too many kiosks do not take it, or left it again. failed: what each says."""
    if not failed or len(failed) / max(1, answered) <= limits.failed_share:
        return None
    counted = Shares(len(failed), answered).figure
    words = f"{len(failed)} of {answered} kiosks did not keep it: {failed[0]}"
    return Found("failed", words[:500], counted, limits.failed_share)


def silences(silent: Shares, others: Shares, limits: Limits) -> Found | None:
    """More of the kiosks that it was offered to are silent than of the others."""
    if not silent.count:
        return None
    more = less(silent.figure, others.figure) if others.of else silent.figure
    assert more.low is not None
    if more.low <= 0 or more.value < limits.silent_share:
        return None
    words = (
        f"{silent.count} of {silent.of} kiosks have been silent since the offer, "
        f"{others.count} of {others.of} of the others"
    )
    return Found("silent", words, more, limits.silent_share)


def shift(
    kind: FindingKind, what: str, figure: Figure | None, limit: float, unit: str
) -> Found | None:
    """A figure of the results moved. unit: ``%`` of a share, else behind the number."""
    if figure is None or not beyond(figure, limit):
        return None
    assert figure.low is not None and figure.high is not None
    factor, decimals = (100, 0) if unit == "%" else (1, 1)
    value, low, high = (factor * each for each in (figure.value, figure.low, figure.high))
    words = (
        f"{what} moved by {value:+.{decimals}f} {unit} ({low:+.{decimals}f} to "
        f"{high:+.{decimals}f}), beside the same kiosks before and the others"
    )
    return Found(kind, words, figure, limit)
