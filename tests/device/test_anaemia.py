"""WHO 2024 grades: every boundary, both adjustments, the probability, the refusals."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.anaemia.who_grade import Person, grade, limits
from edgehemo.errors import UsageError
from edgehemo.statistics.interval import Interval

WOMAN = Person(age_years=30, sex="female")


def exact(value: float) -> Interval:
    return Interval(value, value, value)


# group, person, limit, moderate below, severe below: FACTS.md, WHO 2024.
GROUPS: list[tuple[str, dict[str, Any], float, float, float]] = [
    ("6 months", {"age_years": 0.5}, 105, 95, 70),
    ("just under 2 years", {"age_years": 1.999}, 105, 95, 70),
    ("2 years", {"age_years": 2}, 110, 100, 70),
    ("just under 5 years", {"age_years": 4.999}, 110, 100, 70),
    ("5 years", {"age_years": 5}, 115, 110, 80),
    ("just under 12 years", {"age_years": 11.999}, 115, 110, 80),
    ("12 years", {"age_years": 12, "sex": "male"}, 120, 110, 80),
    ("just under 15 years", {"age_years": 14.999}, 120, 110, 80),
    ("woman of 15", {"age_years": 15, "sex": "female"}, 120, 110, 80),
    ("man of 15", {"age_years": 15, "sex": "male"}, 130, 110, 80),
    ("old man", {"age_years": 90, "sex": "male"}, 130, 110, 80),
    ("trimester 1", {"age_years": 25, "sex": "female", "pregnancy_trimester": 1}, 110, 100, 70),
    ("trimester 2", {"age_years": 25, "sex": "female", "pregnancy_trimester": 2}, 105, 95, 70),
    ("trimester 3", {"age_years": 25, "sex": "female", "pregnancy_trimester": 3}, 110, 100, 70),
    ("pregnant girl", {"age_years": 14, "sex": "female", "pregnancy_trimester": 3}, 110, 100, 70),
]


@pytest.mark.parametrize(("name", "person", "limit", "moderate", "severe"), GROUPS)
def test_every_limit_belongs_to_the_milder_grade(
    name: str, person: dict[str, Any], limit: float, moderate: float, severe: float
) -> None:
    someone = Person(**person)
    for value, expected in (
        (limit + 40, "none"),
        (limit, "none"),
        (limit - 0.1, "mild"),
        (moderate, "mild"),
        (moderate - 0.1, "moderate"),
        (severe, "moderate"),
        (severe - 0.1, "severe"),
        (20, "severe"),
    ):
        assert grade(exact(value), someone).grade == expected, (name, value)
    assert grade(exact(100), someone).limit_g_per_l == limit


@pytest.mark.parametrize(
    ("altitude", "off"),
    [
        (-400, 0), (0, 0), (499.9, 0), (500, 4), (999.9, 4), (1000, 8), (1499, 8), (1500, 11),
        (1999, 11), (2000, 14), (2499, 14), (2500, 18), (2999, 18), (3000, 21), (3499, 21),
        (3500, 25), (3999, 25), (4000, 29), (4499, 29), (4500, 33), (4999, 33),
    ],
)  # fmt: skip
def test_altitude_is_taken_off(altitude: float, off: float) -> None:
    result = grade(Interval(150, 140, 160), Person(age_years=30, sex="female", altitude_m=altitude))
    assert result.altitude_g_per_l == off
    assert result.adjusted_hgb_g_per_l == Interval(150 - off, 140 - off, 160 - off)


@pytest.mark.parametrize(
    ("smoker", "cigarettes", "off"),
    [
        (None, None, 0), (False, None, 0), (True, None, 3), (None, 0, 0), (False, 0, 0),
        (True, 1, 3), (None, 9.9, 3), (True, 10, 5), (True, 19, 5), (True, 20, 6), (None, 60, 6),
    ],
)  # fmt: skip
def test_smoking_is_taken_off(smoker: bool | None, cigarettes: float | None, off: float) -> None:
    person = Person(age_years=30, sex="male", smoker=smoker, cigarettes_per_day=cigarettes)
    assert grade(exact(150), person).smoking_g_per_l == off


def test_both_adjustments_add_up_and_can_change_the_grade() -> None:
    person = Person(age_years=40, sex="female", altitude_m=2600, smoker=True, cigarettes_per_day=20)
    assert grade(exact(143.9), person).grade == "mild"
    assert grade(exact(144), person).grade == "none"


@pytest.mark.parametrize(
    ("person", "said"),
    [
        ({"age_years": 0.49}, "under 6 months"),
        ({"age_years": 0}, "under 6 months"),
        ({"age_years": -1}, "age"),
        ({"age_years": 126}, "age"),
        ({"age_years": math.nan}, "age"),
        ({"age_years": 15}, "sex is needed"),
        ({"age_years": 30, "sex": "other"}, "sex must be"),
        ({"age_years": 30, "sex": "male", "pregnancy_trimester": 2}, "cannot be pregnant"),
        ({"age_years": 9, "sex": "female", "pregnancy_trimester": 2}, "pregnancy"),
        ({"age_years": 61, "sex": "female", "pregnancy_trimester": 2}, "pregnancy"),
        ({"age_years": 30, "sex": "female", "pregnancy_trimester": 4}, "trimester"),
        ({"age_years": 3, "altitude_m": 5000}, "altitude"),
        ({"age_years": 3, "altitude_m": math.nan}, "altitude"),
        ({"age_years": 30, "sex": "male", "cigarettes_per_day": -1}, "cigarettes"),
        ({"age_years": 30, "sex": "male", "smoker": False, "cigarettes_per_day": 5}, "non-smoker"),
        ({"age_years": 30, "sex": "male", "smoker": True, "cigarettes_per_day": 0}, "a smoker"),
    ],
)
def test_what_who_does_not_cover_or_cannot_be_is_refused(person: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        grade(exact(120), Person(**person))


def test_all_problems_of_a_person_come_at_once() -> None:
    person = Person(age_years=200, sex="male", pregnancy_trimester=7, altitude_m=9000)
    with pytest.raises(UsageError) as caught:
        grade(exact(120), person)
    for part in ("age", "trimester", "cannot be pregnant", "altitude"):
        assert part in str(caught.value)


def test_probability_is_the_normal_one() -> None:
    assert grade(Interval(120, 110, 130), WOMAN).probability_below_limit == pytest.approx(0.5)
    # The limit lies exactly at the upper end of the 95 % interval: 97.5 %.
    assert grade(Interval(110, 100, 120), WOMAN).probability_below_limit == pytest.approx(
        0.975, abs=1e-4
    )
    assert grade(exact(119.9), WOMAN).probability_below_limit == 1.0
    assert grade(exact(120), WOMAN).probability_below_limit == 0.0


def test_possible_grades_span_the_interval() -> None:
    assert grade(Interval(115, 105, 125), WOMAN).possible == ("none", "mild", "moderate")
    assert grade(Interval(60, 50, 70), WOMAN).possible == ("severe",)


@given(
    value=st.floats(20, 250), half=st.floats(0.1, 60), age=st.floats(0.5, 99),
    sex=st.sampled_from(["female", "male"]), altitude=st.floats(-400, 4999),
)  # fmt: skip
def test_grade_probability_and_interval_agree(
    value: float, half: float, age: float, sex: Any, altitude: float
) -> None:
    person = Person(age_years=age, sex=sex, altitude_m=altitude)
    result = grade(Interval(value, value - half, value + half), person)
    assert (result.probability_below_limit > 0.5) == (
        result.adjusted_hgb_g_per_l.value < result.limit_g_per_l
    ) or math.isclose(result.probability_below_limit, 0.5, abs_tol=1e-9)
    assert result.grade in result.possible
    written = json.loads(json.dumps(asdict(result.rounded())))
    assert written["group"] == result.group
    assert written["adjusted_hgb_g_per_l"]["value"] == pytest.approx(
        result.adjusted_hgb_g_per_l.value, abs=0.051
    )


def test_the_table_names_its_source_and_what_is_to_be_checked() -> None:
    table = limits()
    assert "World Health Organization" in table.source
    assert "Check both tables" in table.note
    assert [step for step, _ in table.altitude_steps] == sorted(s for s, _ in table.altitude_steps)
