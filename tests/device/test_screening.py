"""The state machine of one sample."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.anaemia.who_grade import Person
from edgehemo.capture.protocol import FailedSource
from edgehemo.cells.cell import CELL_KINDS, CountInterval, FieldCells
from edgehemo.errors import UsageError
from edgehemo.estimate.sample import estimate_sample
from edgehemo.estimate.values import SampleEstimate
from edgehemo.images.frame import Frame
from edgehemo.quality.check import Check, QualityReport
from edgehemo.quality.limits import LIMITS
from edgehemo.screening import sample
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo.screening.sample import (
    Screening,
    UnreadableImage,
    screen_frames,
    summed_counts,
)
from edgehemo.screening.stopping import StopRule
from edgehemo.statistics.interval import Interval
from edgehemo.statistics.poisson import poisson_interval
from tests.support.screening_fakes import (
    TruthFinder,
    blurred,
    passed,
    scripted,
    simulated_frames,
)


@pytest.fixture(scope="module")
def finder() -> TruthFinder:
    return TruthFinder()


@pytest.fixture(scope="module")
def frames(finder: TruthFinder) -> list[Frame]:
    return simulated_frames(finder, count=3)


def test_accepted_fields_are_measured_counted_and_pooled(
    finder: TruthFinder, frames: list[Frame]
) -> None:
    check = scripted()
    reading = screen_frames(frames, Screening(FieldReader(finder, um_per_px=0.25, check=check)))
    assert [item.image for item in reading.images] == [frame.source for frame in frames]
    assert len(reading.accepted) == 3
    assert reading.withheld is None
    assert reading.stopped_by == "source_ended"
    total = sum(field.cells.interior_counts["rbc"].value for field in reading.fields if field.cells)
    assert reading.counts["rbc"].value == pytest.approx(total)
    assert reading.counting_error == pytest.approx(1.96 / total**0.5, rel=1e-3)
    assert reading.indices is not None
    covers = [field.indices.cell_cover for field in reading.fields if field.indices]
    assert min(covers) <= reading.indices.mean.cell_cover <= max(covers)


def test_without_a_calibration_there_is_an_index_and_no_concentration(
    finder: TruthFinder, frames: list[Frame]
) -> None:
    check = scripted()
    person = Person(age_years=30, sex="female")
    reading = screen_frames(
        frames[:1], Screening(FieldReader(finder, um_per_px=0.25, check=check), person=person)
    )
    assert reading.estimate is not None
    assert reading.estimate.hgb_g_per_l is None
    assert reading.estimate.reasons["hgb_g_per_l"].startswith("not calibrated")
    assert reading.anaemia is None
    assert "no haemoglobin" in reading.anaemia_reason


def test_a_refused_field_has_checks_and_no_number(finder: TruthFinder, frames: list[Frame]) -> None:
    check = scripted({frames[1].source: blurred()})
    reading = screen_frames(frames, Screening(FieldReader(finder, um_per_px=0.25, check=check)))
    refused = reading.refused
    assert [field.image for field in refused] == [frames[1].source]
    assert refused[0].cells is None
    assert refused[0].indices is None
    assert refused[0].quality.failed[0].action
    assert reading.indices is not None
    assert len(reading.indices.fields) == 2


def test_a_sample_without_an_accepted_field_is_withheld_with_what_to_do(
    finder: TruthFinder, frames: list[Frame]
) -> None:
    light = QualityReport((Check("exposure", 20.0, 80.0, "fail", "light.dark", "Lamp up."),))
    check = scripted(
        {frames[0].source: blurred(), frames[1].source: light, frames[2].source: blurred()}
    )
    reading = screen_frames(frames, Screening(FieldReader(finder, um_per_px=0.25, check=check)))
    assert reading.withheld is not None
    assert "focus (2), exposure (1)" in reading.withheld.reason
    assert reading.withheld.action == blurred().failed[0].action
    assert reading.indices is None
    assert reading.estimate is None
    assert reading.counting_error is None
    assert reading.counts["rbc"].value == 0


def test_an_unreadable_input_is_recorded_in_its_place_and_the_rest_goes_on(
    finder: TruthFinder, frames: list[Frame]
) -> None:
    check = scripted()
    tiny = Frame(frames[0].pixels[:16, :16].copy(), "tiny.png")
    items: list[Frame | FailedSource] = [
        frames[0],
        FailedSource("broken.png", "broken.png: is truncated"),
        tiny,
        frames[1],
    ]
    reading = screen_frames(items, Screening(FieldReader(finder, um_per_px=0.25, check=check)))
    assert [type(item) for item in reading.images] == [
        FieldReading,
        UnreadableImage,
        UnreadableImage,
        FieldReading,
    ]
    assert "too small" in reading.unreadable[1].error
    assert len(reading.accepted) == 2


@pytest.mark.parametrize("items", [[], [FailedSource("a.png", "a.png: does not exist")]])
def test_nothing_to_read_is_withheld(finder: TruthFinder, items: list[FailedSource]) -> None:
    reading = screen_frames(items, Screening(FieldReader(finder)))
    assert reading.withheld is not None
    assert reading.withheld.action


def test_a_field_is_held_against_the_sharpest_of_its_slide(finder: TruthFinder) -> None:
    """A field that its own limit lets pass is refused after a much sharper one."""
    sharp, soft = simulated_frames(finder, count=2)
    blurred_pixels = cv2.GaussianBlur(soft.pixels, (0, 0), 1.6)
    soft = replace(soft, pixels=np.asarray(blurred_pixels, dtype=np.uint8))

    def focus(frames: list[Frame]) -> Check:
        reading = screen_frames(frames, Screening(FieldReader(finder, um_per_px=0.25)))
        checks = reading.fields[-1].quality.checks
        return next(check for check in checks if check.name == "focus")

    alone, after = focus([soft]), focus([sharp, soft])
    assert alone.verdict == "pass"
    assert (after.verdict, after.code) == ("fail", "OUT_OF_FOCUS")
    assert after.value == alone.value
    best = focus([sharp]).value
    assert best is not None
    assert after.limit == pytest.approx(LIMITS["focus.fail_below_share_of_best"].value * best)


@pytest.mark.parametrize(
    ("rule", "stopped_by", "looked_at"),
    [
        (StopRule(accepted_fields=1), "accepted_fields", 2),
        (StopRule(examined_fields=1), "examined_fields", 1),
        (StopRule(counting_error=0.9), "counting_error", 2),
        (StopRule(), "source_ended", 3),
    ],
)
def test_the_rule_stops_a_sample(
    finder: TruthFinder,
    frames: list[Frame],
    rule: StopRule,
    stopped_by: str,
    looked_at: int,
) -> None:
    check = scripted({frames[0].source: blurred()})
    taken = []

    def source() -> Iterator[Frame]:
        for frame in frames:
            taken.append(frame)
            yield frame

    reading = screen_frames(
        source(), Screening(FieldReader(finder, um_per_px=0.25, check=check), rule=rule)
    )
    assert reading.stopped_by == stopped_by
    assert len(taken) == looked_at


@pytest.mark.parametrize(
    "limits", [{"accepted_fields": 0}, {"examined_fields": -1}, {"counting_error": 1.0}]
)
def test_a_rule_that_cannot_be_kept_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        StopRule(**limits)  # type: ignore[arg-type]


def test_an_impossible_person_is_refused_before_anything_is_read(finder: TruthFinder) -> None:
    with pytest.raises(UsageError, match="sex is needed"):
        Screening(FieldReader(finder), person=Person(age_years=30))


def test_a_grade_needs_a_person_and_a_haemoglobin(
    finder: TruthFinder, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = scripted()

    def calibrated(*args: Any, **kwargs: Any) -> SampleEstimate:
        estimate = estimate_sample(*args, **kwargs)
        return replace(estimate, hgb_g_per_l=Interval(100.0, 90.0, 110.0))

    monkeypatch.setattr("edgehemo.screening.sample.estimate_sample", calibrated)
    person = Person(age_years=30, sex="female")
    graded = screen_frames(
        frames[:1], Screening(FieldReader(finder, um_per_px=0.25, check=check), person=person)
    )
    assert graded.anaemia is not None
    assert graded.anaemia.grade == "moderate"
    assert graded.anaemia_reason == ""
    ungraded = screen_frames(
        frames[:1], Screening(FieldReader(finder, um_per_px=0.25, check=check))
    )
    assert ungraded.anaemia is None
    assert "age" in ungraded.anaemia_reason


def test_every_result_is_told_with_its_frame(finder: TruthFinder, frames: list[Frame]) -> None:
    check = scripted()
    told = []
    items: list[Frame | FailedSource] = [frames[0], FailedSource("x.png", "x.png: is empty")]
    screen_frames(
        items,
        Screening(FieldReader(finder, um_per_px=0.25, check=check)),
        lambda result, frame: told.append((result.image, frame is not None)),
    )
    assert told == [(frames[0].source, True), ("x.png", False)]


def interval_of(count: float, own: float) -> CountInterval:
    low, high = poisson_interval(count)
    return CountInterval(
        count,
        max(0.0, count - ((count - low) ** 2 + (own * count) ** 2) ** 0.5),
        count + ((high - count) ** 2 + (own * count) ** 2) ** 0.5,
    )


@given(
    counts=st.lists(st.just(0.0) | st.floats(0.001, 2000), min_size=1, max_size=20),
    own=st.floats(0, 0.3),
)
def test_summed_counts_keep_the_finders_own_error(counts: list[float], own: float) -> None:
    """The common error does not average out; the chance error does."""
    fields = [
        FieldCells(
            (), dict.fromkeys(CELL_KINDS, 0), {k: interval_of(c, own) for k in CELL_KINDS}, 1
        )
        for c in counts
    ]
    total = summed_counts(fields)["rbc"]
    assert total.value == pytest.approx(sum(counts))
    expected = interval_of(sum(counts), own)
    assert total.high == pytest.approx(expected.high, rel=1e-6, abs=1e-6)
    assert total.low <= total.value <= total.high


def test_the_state_machine_does_no_input_or_output() -> None:
    source = Path(sample.__file__).read_text(encoding="utf-8")
    names = {
        alias.name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        node.module or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
    }
    assert not names & {"os", "sys", "time", "pathlib", "logging", "click", "edgehemo.files.atomic"}
    assert passed().accepted
