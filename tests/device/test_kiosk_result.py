"""The page of a result: its bar, how sure it is, what it does not say; and every page's help."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.anaemia.who_grade import Person, grade
from edgehemo.kiosk.help import HelpedPage, help_of
from edgehemo.kiosk.result_page import result_page
from edgehemo.kiosk.screens import SCREENS
from edgehemo.kiosk.who_bar import WhoBar, who_bar
from edgehemo.statistics.interval import Interval
from edgehemo.words.language import Words, offered

ENGLISH = Words()
WOMAN = Person(32, "female")


def bar_of(hgb: Interval, person: Person, words: Words = ENGLISH) -> WhoBar:
    return who_bar(asdict(grade(hgb, person)), asdict(hgb), words)


def record_of(hgb: Interval | None, person: Person = WOMAN, **more: Any) -> dict[str, Any]:
    """What result.json holds of it, as far as the page reads it."""
    anaemia = None if hgb is None else asdict(grade(hgb, person))
    return {
        "sample": {
            "hgb_g_per_l": None if hgb is None else asdict(hgb),
            "images": 20,
            "accepted": 12,
            "counts": {"rbc": {"value": 2431}},
            "calibration": "site",
            "reason_codes": {},
            "findings": [],
        },
        "anaemia": anaemia,
        "withheld": None,
        **more,
    }


@given(
    value=st.floats(20, 220),
    below=st.floats(0, 60),
    above=st.floats(0, 60),
    altitude=st.floats(-400, 4900),
    smoker=st.booleans(),
)
def test_the_value_lies_in_the_band_of_its_grade(
    value: float, below: float, above: float, altitude: float, smoker: bool
) -> None:
    person = Person(32, "female", altitude_m=altitude, smoker=smoker)
    bar = bar_of(Interval(value, max(0.0, value - below), value + above), person)
    here = [band for band in bar.bands if band.here]
    assert len(here) == 1
    # A mark is kept a hundredth of the bar off its ends.
    assert here[0].start - 0.02 <= bar.value <= here[0].start + here[0].width + 0.02
    assert 0 <= bar.low <= bar.value <= bar.high <= 100
    assert sum(band.width for band in bar.bands) == pytest.approx(100, abs=0.1)


def test_at_altitude_the_bar_and_the_words_show_the_limit_of_the_measured_value() -> None:
    high = Person(32, "female", altitude_m=2100)
    hgb = Interval(128, 121, 135)
    bar = bar_of(hgb, high)
    assert bar.limit[1] == "134"
    assert [number for _, number in bar.ticks] == ["94", "124"]
    about = result_page(record_of(hgb, high), Words())
    assert about.verdict.title == "Mild anaemia"
    assert about.sure[0].startswith("Below 134 g/L: ")


def test_the_unit_and_the_decimal_sign_are_the_site_s() -> None:
    bar = bar_of(Interval(88, 70, 106), WOMAN, Words("fr", "g/dL"))
    assert bar.limit[1] == "12,0"
    assert [number for _, number in bar.ticks] == ["8,0", "11,0"]


def test_an_interval_beyond_the_bar_says_that_it_goes_on() -> None:
    wide = bar_of(Interval(88, 20, 190), WOMAN)
    assert wide.low_goes_on
    assert wide.high_goes_on
    narrow = bar_of(Interval(88, 70, 106), WOMAN)
    assert not narrow.low_goes_on
    assert not narrow.high_goes_on


def test_where_severe_is_possible_the_person_is_referred_today() -> None:
    about = result_page(record_of(Interval(88, 70, 106)), Words())
    assert about.todo[0] == "Refer the person today: severe is possible."
    assert "Also possible: mild, severe." not in about.sure
    assert any(line.startswith("Also possible: ") and "severe" in line for line in about.sure)


def test_a_withheld_result_says_what_mends_it_and_why_fields_were_refused() -> None:
    record = record_of(None, withheld={"code": "NO_FIELD_ACCEPTED", "reason": ""})
    refusals = (("STAIN_FAINT", 5), ("OUT_OF_FOCUS", 2), ("TOO_FEW_CELLS", 1), ("NO_CELLS", 1))
    about = result_page(record, Words(), refusals[:3])
    assert about.bar is None
    assert about.headline == Words().title("STAIN_FAINT")
    assert about.todo[0] == Words().guidance("STAIN_FAINT").action
    assert [(each.count, each.share) for each in about.refused] == [(5, 0.25), (2, 0.1), (1, 0.05)]
    assert about.not_said == ("It says nothing of this person: neither ill nor healthy.",)


def test_what_only_the_caretaker_mends_is_told_to_the_caretaker() -> None:
    record = record_of(None, withheld={"code": "CALIBRATION_EXPIRED", "reason": ""})
    about = result_page(record, Words())
    assert about.todo[0] == "Tell whoever looks after this device: CALIBRATION_EXPIRED."


@pytest.mark.parametrize("page", [*SCREENS, "watched", "practice_done"])
def test_every_page_has_short_help_in_every_language(page: HelpedPage) -> None:
    for language in offered():
        text = help_of(Words(language), page)
        sentences = re.findall(r"[.!?](?: |$)", text)
        assert 2 <= len(sentences) <= 4, (page, language)
        assert len(text) < 300


def test_an_uncertain_haemoglobin_that_may_be_severe_still_has_the_person_referred() -> None:
    wide = record_of(Interval(50, 28, 71), anaemia=None)
    assert result_page(wide, ENGLISH, person=WOMAN).todo == (
        "Refer the person today: severe is possible.",
        "Measure haemoglobin another way.",
    )
    higher = record_of(Interval(132, 107, 157), anaemia=None)
    assert result_page(higher, ENGLISH, person=WOMAN).todo == ("Measure haemoglobin another way.",)
    assert result_page(wide, ENGLISH).todo == ("Measure haemoglobin another way.",)
