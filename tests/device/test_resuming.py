"""A screening that is interrupted after any step comes to the same result."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehemo.capture.protocol import FailedSource
from edgehemo.errors import UsageError
from edgehemo.guidance.withheld import Withheld
from edgehemo.images.frame import Frame
from edgehemo.screening.field import FieldReader
from edgehemo.screening.resuming import kept, resumed
from edgehemo.screening.sample import SampleReading, Screening, screen_frames
from edgehemo.screening.stopping import StopRule
from tests.support.screening_fakes import TruthFinder, simulated_frames

FIELDS = 4


@pytest.fixture(scope="module")
def finder() -> TruthFinder:
    return TruthFinder()


@pytest.fixture(scope="module")
def items(finder: TruthFinder) -> list[Frame | FailedSource]:
    """Fields of one slide as quality really judges them, and one that could not be had."""
    frames: list[Frame | FailedSource] = list(simulated_frames(finder, count=FIELDS))
    frames.insert(2, FailedSource("gone.png", "gone.png: cannot be read"))
    return frames


def screening(finder: TruthFinder, blocked: Withheld | None = None) -> Screening:
    return Screening(
        FieldReader(finder, um_per_px=0.25), rule=StopRule(counting_error=0.01), blocked=blocked
    )


def interrupted(
    items: list[Frame | FailedSource], finder: TruthFinder, cut_after: set[int], blocked: bool
) -> SampleReading:
    """Screen, and lose the power after each of the given images."""
    why = Withheld("CALIBRATION_EXPIRED", "expired", "Calibrate again.") if blocked else None
    running = screening(finder, why)
    for number, item in enumerate(items):
        running.consider(item)
        if number in cut_after:
            raw = kept(running.images)
            running = screening(finder, why)
            running.images.extend(resumed(raw))
    return running.finish()


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut_after=st.sets(st.integers(0, FIELDS)), blocked=st.booleans())
def test_the_result_is_the_same_wherever_it_was_cut(
    items: list[Frame | FailedSource], finder: TruthFinder, cut_after: set[int], blocked: bool
) -> None:
    why = Withheld("CALIBRATION_EXPIRED", "expired", "Calibrate again.") if blocked else None
    whole = screen_frames(items, screening(finder, why))
    assert interrupted(items, finder, cut_after, blocked) == whole


def test_later_fields_are_held_against_the_sharpest_of_before(
    items: list[Frame | FailedSource], finder: TruthFinder
) -> None:
    running = screening(finder)
    running.consider(items[0])
    again = screening(finder)
    again.images.extend(resumed(kept(running.images)))
    first = items[0]
    assert isinstance(first, Frame)
    size = (first.width, first.height)
    assert running.sharpest_of(*size) is not None
    assert again.sharpest_of(*size) == running.sharpest_of(*size)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": "edgehemo.screening-progress/2", "images": []}',
        b'{"schema": "edgehemo.screening-progress/1", "images": [{}]}',
        b'{"schema": "edgehemo.screening-progress/1", "images": [{"field": {"image": "a"}}]}',
    ],
)
def test_what_is_not_a_kept_screening_is_one_line(raw: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        resumed(raw)
    assert "\n" not in str(caught.value)
