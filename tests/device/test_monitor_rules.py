"""EWMA, CUSUM and the baseline they are held against."""

from __future__ import annotations

import math
import random
from datetime import date, timedelta

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.monitor.baseline import MIN_DAYS, Baseline, baseline_of, usual_baseline
from edgehemo.monitor.judging import alarms_of, judged_against
from edgehemo.monitor.points import Point, Series, joined, weekly
from edgehemo.monitor.quantities import QUANTITY
from edgehemo.monitor.rules import (
    CUSUM_HIGHEST,
    CUSUM_LIMIT,
    EWMA_LIMIT,
    EWMA_WEIGHT,
    ewma_variance,
    steps,
)
from edgehemo.statistics.binomial import count_deviate, share_interval
from edgehemo.statistics.student import normal_deviate, student_deviate

START = date(2026, 1, 1)
QUANTITY_USED = QUANTITY["brightness"]


def points_of(values: list[list[float]], start: date = START) -> tuple[Point, ...]:
    """A point a day from its results."""
    found = []
    for number, day in enumerate(values):
        mean = sum(day) / len(day)
        squares = sum((value - mean) ** 2 for value in day)
        found.append(Point(start + timedelta(days=number), len(day), mean, squares))
    return tuple(found)


def known_baseline(sd: float = 1.0, mean: float = 100.0) -> Baseline:
    return Baseline(START, START, 1000, 1000, mean, 0.0, sd, 0.0, None, 1.0)


def test_the_ewma_is_that_of_the_book_and_its_limits_open() -> None:
    walked = steps([1.0, -1.0, 2.0], doubt=0.0, freedom=None)
    first = EWMA_WEIGHT
    second = EWMA_WEIGHT * -1 + 0.8 * first
    assert [step.ewma for step in walked] == pytest.approx(
        [first, second, EWMA_WEIGHT * 2 + 0.8 * second]
    )
    assert ewma_variance(1) == pytest.approx(EWMA_WEIGHT**2)
    assert ewma_variance(10**6) == pytest.approx(EWMA_WEIGHT / (2 - EWMA_WEIGHT))
    assert walked[0].ewma_reach == pytest.approx(3 * EWMA_WEIGHT)
    # Montgomery, Introduction to Statistical Quality Control: L sqrt(w / (2 - w)) = 1 at 3 and 0.2.
    late = steps([0.0] * 100, doubt=0.0, freedom=None)[-1]
    assert late.ewma_reach == pytest.approx(1.0, abs=1e-6)


def test_the_cusum_is_pages_and_comes_back_within_weeks() -> None:
    walked = steps([1.5] * 5 + [0.0] * 30, doubt=0.0, freedom=None)
    assert [round(step.up, 6) for step in walked[:5]] == [1.0, 2.0, 3.0, 4.0, 5.0]
    high = steps([4.0] * 50 + [0.0] * 11, doubt=0.0, freedom=None)
    assert high[49].up == CUSUM_HIGHEST
    assert high[60].up < CUSUM_LIMIT
    down = steps([-1.5] * 7, doubt=0.0, freedom=None)
    assert down[-1].down > CUSUM_LIMIT and down[-1].direction == -1
    assert "CUSUM" in down[-1].alarmed_by


@pytest.mark.parametrize("freak", [9.0, -40.0])
def test_one_freak_day_alone_alarms_neither_chart(freak: float) -> None:
    walked = steps([0.0] * 20 + [freak] + [0.0] * 20, doubt=0.0, freedom=None)
    assert all(step.direction == 0 for step in walked)
    assert abs(walked[20].score) > 3


def test_a_short_baseline_widens_the_limits() -> None:
    reach = [
        steps([0.0] * 60, doubt=1 / days, freedom=days - 1)[-1].ewma_reach
        for days in (10, 20, 30, 100, 10_000)
    ]
    assert reach == sorted(reach, reverse=True)
    assert reach[0] > 1.5 and reach[-1] == pytest.approx(1.0, abs=0.01)
    # The CUSUM of a shift that a long baseline would alarm of.
    shift = [1.0] * 15
    assert steps(shift, doubt=0.0, freedom=None)[-1].direction == 1
    assert steps(shift, doubt=1 / 10, freedom=9)[-1].direction == 0


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=80),
    st.floats(0, 0.5),
    st.one_of(st.none(), st.integers(1, 200)),
)
@settings(max_examples=80, deadline=None)
def test_both_charts_are_symmetric_and_finite(
    scores: list[float], doubt: float, freedom: int | None
) -> None:
    one = steps(scores, doubt=doubt, freedom=freedom)
    other = steps([-score for score in scores], doubt=doubt, freedom=freedom)
    for a, b in zip(one, other, strict=True):
        assert a.ewma == pytest.approx(-b.ewma, abs=1e-9)
        assert a.up == pytest.approx(b.down, abs=1e-9)
        assert math.isfinite(a.score) and 0 <= a.up <= CUSUM_HIGHEST
        assert a.direction == -b.direction or a.up == pytest.approx(a.down)
        assert (abs(a.ewma_score) > EWMA_LIMIT) == (abs(a.ewma) > a.ewma_reach) or abs(
            abs(a.ewma) - a.ewma_reach
        ) < 1e-9


def test_students_deviates_are_as_rare_as_the_normal_ones() -> None:
    for freedom in (4, 9, 29, 200):
        for z in (0.5, 1.96, 3.0):
            exact = scipy.stats.t.isf(scipy.stats.norm.sf(z), freedom)
            assert student_deviate(z, freedom) == pytest.approx(exact, rel=0.03)
            assert normal_deviate(student_deviate(z, freedom), freedom) == pytest.approx(z)
            assert normal_deviate(-exact, freedom) == pytest.approx(-z, rel=0.03)


def test_the_interval_of_a_share_is_wilsons() -> None:
    for count, of in ((0, 5), (3, 20), (20, 20), (50, 1000)):
        wanted = scipy.stats.binomtest(count, of).proportion_ci(method="wilson")
        assert share_interval(count, of) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert share_interval(0, 0) == (0.0, 1.0)


def test_a_baseline_parts_the_days_from_the_samples_of_a_day() -> None:
    chance = random.Random(4)
    days = []
    for _ in range(400):
        level = 100 + chance.gauss(0, 2)
        days.append([level + chance.gauss(0, 5) for _ in range(chance.randint(1, 12))])
    found = baseline_of(QUANTITY_USED, points_of(days))
    assert found is not None
    assert found.mean == pytest.approx(100, abs=0.5)
    assert found.between == pytest.approx(2, rel=0.2)
    assert found.within == pytest.approx(5, rel=0.05)
    assert found.mean_error == pytest.approx(2 / math.sqrt(400), rel=0.6)
    assert found.spread(1) == pytest.approx(math.hypot(found.between, found.within))
    assert found.spread(12) < found.spread(1)


def test_a_baseline_of_fewer_than_ten_days_is_none_and_lucky_days_make_no_hair_trigger() -> None:
    same = points_of([[100.0, 100.0]] * MIN_DAYS)
    assert baseline_of(QUANTITY_USED, same[:-1]) is None
    found = baseline_of(QUANTITY_USED, same)
    assert found is not None and found.between == pytest.approx(0.3)
    single = baseline_of(QUANTITY_USED, points_of([[100.0 + n % 3] for n in range(20)]))
    assert single is not None and single.within == 0.0 and single.between > 0.3


@pytest.mark.parametrize(("days", "wanted"), [(5, 5), (12, 10), (40, 20), (60, 30), (400, 30)])
def test_the_usual_baseline_is_the_first_days(days: int, wanted: int) -> None:
    series = Series(QUANTITY_USED, points_of([[1.0]] * days))
    assert usual_baseline(series) == series.points[:wanted]


def test_an_alarm_says_when_the_change_began_and_when_it_ended() -> None:
    values = [[100.0]] * 20 + [[102.0]] * 15 + [[100.0]] * 25
    points = points_of(values)
    series = Series(QUANTITY_USED, points)
    judged = judged_against(series, known_baseline(), points)
    (alarm,) = judged.alarms
    assert alarm.direction == 1
    assert alarm.since == START + timedelta(days=20)
    assert START + timedelta(days=21) <= alarm.noticed <= START + timedelta(days=25)
    assert alarm.ended is not None and alarm.ended <= START + timedelta(days=48)
    assert judged.alarm is None
    # One that lasts, and one that turns round.
    turned = points_of([[100.0]] * 5 + [[103.0]] * 10 + [[96.0]] * 12)
    judged = judged_against(Series(QUANTITY_USED, turned), known_baseline(), turned)
    assert [alarm.direction for alarm in judged.alarms] == [1, -1]
    assert judged.alarm is not None and judged.alarm.ended is None
    assert alarms_of((), ()) == []


def test_days_become_weeks_without_losing_a_result() -> None:
    chance = random.Random(7)
    days = [[chance.gauss(5, 1) for _ in range(chance.randint(1, 4))] for _ in range(30)]
    points = points_of(days)
    found = weekly(points)
    assert all(point.day.weekday() == 0 for point in found)
    assert sum(point.results for point in found) == sum(len(day) for day in days)
    whole = joined(points, START)
    everything = [value for day in days for value in day]
    mean = sum(everything) / len(everything)
    assert whole.mean == pytest.approx(mean)
    assert whole.squares == pytest.approx(sum((value - mean) ** 2 for value in everything))
    again = joined(found, START)
    assert (again.mean, again.squares) == pytest.approx((whole.mean, whole.squares))


def test_a_count_is_as_rare_as_its_mid_p_value() -> None:
    for count, of, share in (
        (0, 8, 0.02),
        (1, 8, 0.02),
        (3, 8, 0.02),
        (50, 100, 0.5),
        (90, 300, 0.2),
    ):
        below = scipy.stats.binom.cdf(count - 1, of, share)
        middle = below + scipy.stats.binom.pmf(count, of, share) / 2
        assert count_deviate(count, of, share) == pytest.approx(
            scipy.stats.norm.ppf(middle), abs=1e-6
        )
    assert count_deviate(8, 8, 1e-9) == pytest.approx(8.0, abs=0.01)
    assert count_deviate(0, 5000, 0.9) == pytest.approx(-8.0, abs=0.01)


def test_what_was_never_seen_in_a_baseline_is_not_impossible() -> None:
    never = points_of([[0.0] * 8] * 30)
    found = baseline_of(QUANTITY["overridden"], never)
    assert found is not None and 0 < found.mean < 0.01
    once = Point(START, 8, 1 / 8, 7 / 8)
    often = Point(START, 8, 4 / 8, 2.0)
    assert 1 < found.score(once) < found.score(often) < 8
    assert -1 < found.score(Point(START, 8, 0.0, 0.0)) < 0
