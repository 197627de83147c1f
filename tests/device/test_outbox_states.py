"""What becomes of a message, and which is next: by events, times and chance alone."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.errors import UsageError
from edgehemo.guidance.codes import SendingCode
from edgehemo.interop.states import (
    FIRST_WAIT_S,
    JITTER,
    LONGEST_WAIT_S,
    MAX_WORDS,
    OF_ONE_MESSAGE,
    OPEN,
    SILENT_BEFORE_ASIDE,
    Asked,
    Event,
    Failed,
    Made,
    Missed,
    NotMade,
    Refused,
    Standing,
    State,
    Stored,
    fits,
    is_aside,
    left_s,
    step,
    wait_s,
    words,
)
from edgehemo.interop.turns import FAULTS_IN_A_ROW, Patience, Waiting, next_turn

CODES = st.sampled_from(get_args(SendingCode))
TIMES = st.floats(0, 4e9)
CHANCE = st.floats(0, 1, exclude_max=True)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.just(Made()),
    st.builds(NotMade, CODES, st.text(max_size=20)),
    st.builds(Stored, st.text(max_size=20)),
    st.builds(Refused, CODES, st.text(max_size=20)),
    st.builds(Failed, CODES, st.text(max_size=20)),
    st.just(Asked()),
)


def through(events: list[Event], now_s: float = 1000.0) -> Standing:
    standing = Standing()
    for event in events:
        standing = step(standing, event, now_s)
    return standing


def test_a_message_is_noted_made_sent_and_received() -> None:
    assert Standing().state == "noted"
    assert through([Made()]).state == "pending"
    failed = through([Made(), Failed("RECEIVER_SILENT", "no answer")])
    assert (failed.state, failed.attempts, failed.code) == ("retrying", 1, "RECEIVER_SILENT")
    received = through([Made(), Failed("RECEIVER_SILENT"), Stored("AA")])
    assert (received.state, received.code, received.said) == ("delivered", None, "AA")


def test_a_refused_message_waits_for_a_person_and_begins_anew() -> None:
    refused = through([Made(), Failed("RECEIVER_BUSY"), Refused("MESSAGE_REFUSED", "no patient")])
    assert (refused.state, refused.said) == ("refused", "no patient")
    assert not fits(refused, Stored()) and not fits(refused, Failed("RECEIVER_BUSY"))
    again = step(refused, Asked(), 2000.0)
    assert (again.state, again.attempts, again.code, again.said) == ("pending", 0, None, "")


def test_a_message_that_could_not_be_made_is_made_when_it_is_asked_for() -> None:
    unmade = through([NotMade("MESSAGE_NOT_MADE", "why")])
    assert unmade.state == "refused"
    assert step(unmade, Asked(), 1.0).state == "noted"


@pytest.mark.parametrize("event", [Made(), Stored(), Refused("MESSAGE_REFUSED"), Asked()])
def test_what_was_received_stays_received(event: Event) -> None:
    received = through([Made(), Stored()])
    with pytest.raises(UsageError, match="delivered"):
        step(received, event, 1.0)


def test_what_the_receiver_itself_lost_begins_anew() -> None:
    received = through([Made(), Failed("RECEIVER_BUSY"), Stored("AA")])
    again = step(received, Missed(), 2000.0)
    assert again == Standing("noted", next_at_s=2000.0)
    assert not fits(through([Made()]), Missed()) and not fits(Standing(), Missed())
    assert not fits(through([Made(), Refused("MESSAGE_REFUSED")]), Missed())


def test_waits_double_from_five_seconds_to_ten_minutes() -> None:
    assert [wait_s(number, 0.0) for number in (1, 2, 3, 7, 8, 100)] == [5, 10, 20, 320, 600, 600]
    assert wait_s(1, 0.999) == pytest.approx(5 * (1 - JITTER), rel=0.01)


@settings(deadline=None)
@given(st.integers(1, 10_000), CHANCE)
def test_every_wait_is_within_its_bounds(attempts: int, chance: float) -> None:
    found = wait_s(attempts, chance)
    assert FIRST_WAIT_S * (1 - JITTER) <= found <= LONGEST_WAIT_S
    assert found <= wait_s(attempts + 1, 0.0)


@settings(deadline=None)
@given(st.lists(st.tuples(EVENTS, TIMES, CHANCE), max_size=30))
def test_any_order_of_events_keeps_the_promises(path: list[tuple[Event, float, float]]) -> None:
    standing = Standing()
    for event, now_s, chance in path:
        if not fits(standing, event):
            with pytest.raises(UsageError):
                step(standing, event, now_s, chance)
            continue
        before, standing = standing, step(standing, event, now_s, chance)
        assert before.state != "delivered"
        assert standing.made or standing.state in ("noted", "refused")
        assert standing.made >= before.made
        assert (standing.state == "refused") == isinstance(event, Refused | NotMade)
        assert (standing.state == "delivered") == isinstance(event, Stored)
        assert 0 <= left_s(standing, now_s) <= LONGEST_WAIT_S
        assert len(standing.said) <= MAX_WORDS and standing.said.isprintable()
        if isinstance(event, Failed):
            assert standing.state == "retrying" and standing.attempts == before.attempts + 1
            assert left_s(standing, now_s) >= FIRST_WAIT_S * (1 - JITTER) * 0.99


@settings(deadline=None)
@given(TIMES, st.floats(-1e9, 1e9))
def test_a_clock_that_jumps_never_makes_a_message_wait_longer_than_ten_minutes(
    now_s: float, jump_s: float
) -> None:
    standing = step(Standing("pending", made=True), Failed("RECEIVER_BUSY"), now_s)
    assert 0 <= left_s(standing, now_s + jump_s) <= LONGEST_WAIT_S
    if jump_s < -LONGEST_WAIT_S or jump_s >= LONGEST_WAIT_S:
        assert left_s(standing, now_s + jump_s) == 0


def test_words_are_one_line_and_not_longer_than_is_kept() -> None:
    assert words("a\r\nb\x1b[31m  c\0") == "a b [31m c"
    assert len(words("x" * 10_000)) == MAX_WORDS


# -- which is next ----------------------------------------------------------------------------


def waiting(
    number: int, result: int, state: State = "pending", *, code: SendingCode | None = None,
    next_at_s: float = 0.0, attempts: int = 0, size: int = 0,
) -> Waiting:  # fmt: skip
    standing = Standing(state, attempts, next_at_s, code, made=state != "noted")
    return Waiting(number, result, standing, size)


def test_nothing_open_is_nothing_to_wait_for() -> None:
    assert next_turn([], 0.0).wait_s is None


def test_messages_go_in_the_order_in_which_they_were_noted() -> None:
    rows = [waiting(1, 1), waiting(2, 2), waiting(3, 3, "noted")]
    assert next_turn(rows, 0.0).numbers == (1,)
    assert next_turn(rows, 0.0, most=50).numbers == (1, 2, 3)


def test_a_receiver_that_cannot_be_reached_is_waited_for_by_the_first() -> None:
    rows = [
        waiting(1, 1, "retrying", code="RECEIVER_UNREACHABLE", next_at_s=105, attempts=1),
        waiting(2, 2),
    ]
    turn = next_turn(rows, 100.0)
    assert turn.numbers == () and turn.wait_s == 5
    assert next_turn(rows, 105.0, most=50).numbers == (1, 2)


def test_a_message_that_the_receiver_stumbles_over_holds_up_only_its_own_result() -> None:
    rows = [
        waiting(1, 1, "retrying", code="RECEIVER_FAILED", next_at_s=105, attempts=1),
        waiting(2, 1),
        waiting(3, 2),
    ]
    assert next_turn(rows, 100.0, most=50).numbers == (3,)
    assert next_turn(rows[:2], 100.0).wait_s == 5
    silent = Standing("retrying", SILENT_BEFORE_ASIDE, 105, "RECEIVER_SILENT", made=True)
    assert next_turn([Waiting(1, 1, silent), waiting(3, 2)], 100.0).numbers == (3,)


def test_a_correction_never_goes_in_the_batch_of_what_it_corrects() -> None:
    rows = [waiting(1, 1), waiting(2, 1), waiting(3, 2), waiting(4, 1)]
    assert next_turn(rows, 0.0, most=50).numbers == (1, 3)


def test_a_batch_ends_before_it_is_too_large_and_a_large_message_goes_alone() -> None:
    rows = [waiting(1, 1, size=60), waiting(2, 2, size=50), waiting(3, 3, size=200)]
    assert next_turn(rows, 0.0, most=50, most_bytes=100).numbers == (1,)
    assert next_turn(rows[2:], 0.0, most=50, most_bytes=100).numbers == (3,)


ROWS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.sampled_from(OPEN),
        CODES,
        st.floats(0, 2000),
        st.integers(1, 9),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(ROWS, st.floats(0, 2000), st.integers(1, 10))
def test_no_turn_ever_overtakes(
    given_rows: list[tuple[int, State, SendingCode, float, int]], now_s: float, most: int
) -> None:
    rows = [
        waiting(number, result, state, next_at_s=at, attempts=tries,
                code=code if state == "retrying" else None)
        for number, (result, state, code, at, tries) in enumerate(given_rows, start=1)
    ]  # fmt: skip
    turn = next_turn(rows, now_s, most=most)
    by_number = {row.number: row for row in rows}
    chosen = [by_number[number] for number in turn.numbers]
    assert len(chosen) <= most
    assert [row.number for row in chosen] == sorted(row.number for row in chosen)
    for row in chosen:
        earlier = [each for each in rows if each.result == row.result and each.number < row.number]
        assert not earlier, "an earlier version of the same result is still open"
        assert left_s(row.standing, now_s) == 0
    held = [
        row for row in rows
        if row.standing.state == "retrying" and not is_aside(row.standing)
        and left_s(row.standing, now_s) > 0
    ]  # fmt: skip
    if held:
        assert not chosen and turn.wait_s is not None and turn.wait_s > 0
    if rows and not chosen:
        assert turn.wait_s is not None and 0 < turn.wait_s <= LONGEST_WAIT_S


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), max_size=15), st.integers(1, 5))
def test_everything_arrives_and_versions_of_a_result_in_order(
    noted: list[tuple[int, int]], most: int
) -> None:
    """Each message fails so many times, in ways of its own and of the receiver, then is stored."""
    ways: list[SendingCode] = ["RECEIVER_FAILED", "RECEIVER_UNREACHABLE", "RECEIVER_SILENT"]
    standings = {number: Standing("pending", made=True) for number in range(len(noted))}
    fails = {number: count for number, (_, count) in enumerate(noted)}
    arrived: list[int] = []
    now_s = 0.0
    for _ in range(10_000):
        rows = [
            Waiting(number, noted[number][0], standing)
            for number, standing in standings.items()
            if standing.state in OPEN
        ]
        turn = next_turn(rows, now_s, most=most)
        if turn.wait_s is not None:
            now_s += turn.wait_s
        elif not turn.numbers:
            break
        for number in turn.numbers:
            if fails[number]:
                fails[number] -= 1
                event: Event = Failed(ways[(number + fails[number]) % len(ways)])
            else:
                event = Stored()
                arrived.append(number)
            standings[number] = step(standings[number], event, now_s)
    assert sorted(arrived) == list(range(len(noted)))
    for result in {result for result, _ in noted}:
        own = [number for number in arrived if noted[number][0] == result]
        assert own == sorted(own)


def test_a_receiver_that_stumbles_over_everything_is_left_alone() -> None:
    patience = Patience()
    for _ in range(FAULTS_IN_A_ROW - 1):
        patience = patience.after([Failed("RECEIVER_FAILED")])
        assert patience.pause_s(0.0) == 0
    patience = patience.after([Failed("RECEIVER_FAILED"), Failed("RECEIVER_FAILED")])
    assert patience.pause_s(0.0) == FIRST_WAIT_S
    assert patience.after([Failed("RECEIVER_FAILED")]).pause_s(0.0) == 2 * FIRST_WAIT_S
    assert patience.after([Failed("RECEIVER_FAILED"), Stored()]).pause_s(0.0) == 0


def test_codes_of_one_message_are_codes() -> None:
    assert set(get_args(SendingCode)) >= OF_ONE_MESSAGE
