"""The kiosk's flow: no dead end, nothing out of place, and the same again after a power cut."""

from __future__ import annotations

from collections import deque
from typing import get_args

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edgehemo.errors import RecordsError, UsageError
from edgehemo.kiosk import effects, events
from edgehemo.kiosk.deadlines import DEADLINES, due
from edgehemo.kiosk.events import EVENTS, OVERRIDE_REASONS, PERSON_EVENTS, Event, person_event
from edgehemo.kiosk.faults import (
    FAULT_CODES,
    FAULTS,
    TOLD_AT_SIGN_IN,
    WORKER_TRIES,
    WORKER_WINDOW_S,
)
from edgehemo.kiosk.flow import RULES_OF, EventRefusedError, step, why_refused
from edgehemo.kiosk.practice_slides import SLIDE_NAMES
from edgehemo.kiosk.screens import (
    AREAS,
    PLACES,
    RULES,
    SAMPLE_PLACES,
    SAMPLE_STEPS,
    SCREENS,
    Place,
    Screen,
    areas_of,
    counted_step,
)
from edgehemo.kiosk.state import MAX_SAMPLES, Checked, KioskState, restored, screen_of, stored
from edgehemo.kiosk.viewers import MAX_CONNECTIONS, MAX_OF_ONE, Viewers, steers
from edgehemo.records.users import ROLES

GOOD = (Checked(name="camera", verdict="good"),)
BAD = (Checked(name="camera", verdict="fails", code="CAMERA_NOT_FOUND", blocks=True),)
OPERATOR = events.SignIn("amina", "operator", "screen-1")
PERSON = events.GivePerson(32, "female", 0, False)


def after(*told: Event, state: KioskState | None = None, at: float = 100.0) -> KioskState:
    """The state after some events, a second apart."""
    now = state if state is not None else KioskState()
    for number, event in enumerate(told):
        now = step(now, event, at + number).state
    return now


def to_capture() -> list[Event]:
    return [
        events.ChooseUser("amina"),
        OPERATOR,
        events.NewSample(),
        events.GiveNumber("26-0417"),
        PERSON,
        events.SelfChecked(GOOD),
        events.StartCapture(),
        events.SampleBegun(1, "4k7q-f3m2-x9ab-c0de"),
        events.FieldRead(1, 1, 0, 120),
    ]


def to_done() -> list[Event]:
    return [
        *to_capture(),
        events.EnoughFields(1),
        events.Analysed(1, "reported", 2, 2),
        events.OpenReview(),
        events.ShowCell(0),
        events.ReviewOne(0, "monocyte"),
        events.ReviewOne(1),
        events.OpenSignOff(),
        events.Sign(),
        events.Signed(1),
    ]


def test_a_sample_goes_from_sign_in_to_done() -> None:
    state, seen = KioskState(), []
    for number, event in enumerate(to_done()):
        state = step(state, event, float(number)).state
        if screen_of(state) not in seen:
            seen.append(screen_of(state))
    assert seen == ["pin", "home", *SAMPLE_STEPS]
    assert state.sample is not None
    assert state.sample.number == "26-0417"
    assert after(events.Finish(), state=state).samples == ()


def test_the_tables_are_whole() -> None:
    assert set(RULES) == set(PLACES)
    assert set(FAULTS) == set(FAULT_CODES)
    assert set(RULES_OF) == set(EVENTS)
    assert {screen for rule in RULES_OF.values() for screen in rule.screens} == set(SCREENS)
    assert [counted_step(each) for each in SAMPLE_STEPS] == [1, 1, 2, 3, 4, 5, 6, 7, 7]
    for place, known in RULES.items():
        if known.back is not None:
            assert known.roles <= RULES[known.back].roles, place


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_is_refused_on_every_screen_that_it_is_not_meant_for(kind: type[Event]) -> None:
    for screen, state in one_of_each_screen().items():
        event = an_event(kind)
        if screen in RULES_OF[kind].screens:
            continue
        assert why_refused(state, event) == "not on this screen"
        with pytest.raises(EventRefusedError):
            step(state, event, 1000.0)


def test_a_worker_that_speaks_of_another_sample_changes_nothing() -> None:
    state = after(*to_capture())
    for late in (
        events.FieldRead(7, 3, 0, 400),
        events.EnoughFields(7),
        events.Analysed(1, "reported", 0, 0),
        events.Signed(1),
        events.NumberDrawn(1, "AB12-00001"),
    ):
        with pytest.raises(EventRefusedError, match="is not possible here"):
            step(state, late, 200.0)


def test_what_was_left_goes_on_at_its_step() -> None:
    left = step(after(*to_capture()), events.Leave(), 200.0)
    assert left.effects == (effects.StopCapture(1),)
    assert screen_of(left.state) == "home"
    assert [sample.step for sample in left.state.waiting] == ["capture"]
    another = after(events.NewSample(), events.GiveNumber("26-0418"), state=left.state)
    assert another.sample is not None
    assert another.sample.ref == 2
    again = step(after(events.Leave(), state=another), events.TakeUp(1), 300.0)
    assert again.effects == (effects.Capture(1),)
    assert again.state.sample is not None
    assert again.state.sample.progress.red_cells == 120


def test_a_number_is_given_to_one_waiting_sample_only() -> None:
    state = after(*to_capture(), events.Leave(), events.NewSample())
    with pytest.raises(EventRefusedError, match="waits"):
        step(state, events.GiveNumber("26-0417"), 300.0)
    with pytest.raises(EventRefusedError, match="no sample number"):
        step(state, events.GiveNumber("Amina Said"), 300.0)


def test_a_sample_without_a_number_is_nothing_to_come_back_to() -> None:
    assert after(*to_capture()[:3], events.Leave()).samples == ()


def test_a_drawn_number_stays_with_its_sample() -> None:
    drawing = step(after(*to_capture()[:3]), events.DrawNumber(), 200.0)
    assert drawing.effects == (effects.DrawANumber(1),)
    drawn = after(events.NumberDrawn(1, "AB12-00001"), state=drawing.state)
    assert drawn.place == "number"
    assert drawn.sample is not None
    assert (drawn.sample.number, drawn.sample.number_from) == ("AB12-00001", "drawn")


def test_contradictions_of_a_person_are_refused() -> None:
    state = after(*to_capture()[:4])
    with pytest.raises(EventRefusedError, match="pregnant"):
        step(state, events.GivePerson(40, "male", 2, False), 200.0)
    with pytest.raises(EventRefusedError, match="sex is needed"):
        step(state, events.GivePerson(40), 200.0)
    assert after(events.GivePerson(3), state=state).place == "check"


def test_nothing_starts_while_the_self_check_runs_or_fails() -> None:
    state = after(*to_capture()[:5])
    with pytest.raises(EventRefusedError, match="runs"):
        step(state, events.StartCapture(), 200.0)
    state = after(events.SelfChecked(BAD), state=state)
    with pytest.raises(EventRefusedError, match="fault"):
        step(state, events.StartCapture(), 200.0)
    again = step(state, events.CheckAgain(), 201.0)
    assert again.effects == (effects.RunSelfCheck(1),)
    assert again.state.checks is None


def test_giving_up_says_what_is_to_be_undone() -> None:
    asked = step(after(*to_capture()), events.AskAbandon(), 200.0)
    assert asked.effects == (effects.StopCapture(1),)
    with pytest.raises(EventRefusedError, match="say why"):
        step(asked.state, events.Abandon("other"), 201.0)
    back = step(asked.state, events.Back(), 201.0)
    assert back.state.place == "capture"
    assert back.effects == (effects.Capture(1),)
    done = step(asked.state, events.Abandon("poor_smear"), 202.0)
    assert done.state.samples == ()
    assert done.effects == (
        effects.GiveUp(1, "4k7q-f3m2-x9ab-c0de", False, "poor_smear", "", "amina"),
    )
    unsigned = after(*to_done()[:11], events.AskAbandon())
    (given_up,) = step(unsigned, events.Abandon("wrong_sample"), 300.0).effects
    assert isinstance(given_up, effects.GiveUp)
    assert given_up.has_result


def test_what_asks_for_a_person_is_looked_at_before_signing() -> None:
    state = after(*to_done()[:11])
    with pytest.raises(EventRefusedError, match="not looked at"):
        step(state, events.OpenSignOff(), 300.0)
    with pytest.raises(EventRefusedError, match="reason"):
        step(after(*to_done()[:16]), events.Sign("mild", reason="  "), 300.0)


def reviewing(asked: int = 20, must: int = 10) -> KioskState:
    """In the gallery of a result."""
    told = events.Analysed(1, "reported", asked, must)
    return after(*to_capture(), events.EnoughFields(1), told, events.OpenReview())


def test_the_gallery_shows_findings_first_and_on_pages_of_their_own() -> None:
    sample = reviewing().sample
    assert sample is not None
    assert sample.pages == (range(8), range(8, 10), range(10, 18), range(18, 20))
    assert (sample.page, sample.open_cell, sample.to_review) == (0, None, 10)


def test_a_page_is_confirmed_cell_by_cell_and_once() -> None:
    state = after(events.ShowCell(2), events.ReviewOne(2, "monocyte"), state=reviewing())
    assert state.sample is not None
    assert state.sample.open_cell == 3
    with pytest.raises(EventRefusedError, match="another page"):
        step(state, events.ConfirmPage(0), 300.0)
    state = after(events.Back(), state=state)
    assert state.place == "review"
    done = step(state, events.ConfirmPage(0), 300.0)
    assert [each.item for each in done.effects if isinstance(each, effects.KeepReview)] == [
        0, 1, 3, 4, 5, 6, 7,
    ]  # fmt: skip
    assert done.state.sample is not None
    assert (done.state.sample.page, done.state.sample.to_review) == (1, 2)
    with pytest.raises(EventRefusedError, match="another page"):
        step(done.state, events.ConfirmPage(0), 300.1)
    last = after(events.ConfirmPage(1), state=done.state)
    assert last.sample is not None
    assert last.sample.to_review == 0
    with pytest.raises(EventRefusedError, match="nothing to confirm"):
        step(last, events.ConfirmPage(last.sample.page), 301.0)
    assert after(events.OpenSignOff(), state=last).place == "sign_off"


def test_a_second_tap_on_a_name_names_no_other_cell() -> None:
    state = after(events.ShowCell(9), state=reviewing())
    first = step(state, events.ReviewOne(9, "monocyte"), 300.0)
    assert first.effects == (effects.KeepReview(1, "4k7q-f3m2-x9ab-c0de", 9, "monocyte", "amina"),)
    with pytest.raises(EventRefusedError, match="another cell"):
        step(first.state, events.ReviewOne(9, "monocyte"), 300.1)
    with pytest.raises(EventRefusedError, match="no such name"):
        step(first.state, events.ReviewOne(10, "<b>"), 300.2)
    changed = after(events.ShowCell(9), events.ReviewOne(9, "eosinophil"), state=first.state)
    assert changed.sample is not None
    assert (changed.sample.page, changed.sample.open_cell) == (1, None)
    assert changed.sample.seen == (9,)


def test_after_a_power_cut_the_same_cell_is_open() -> None:
    before = after(events.TurnPage(2), events.ShowCell(12), state=reviewing())
    again = after(events.Restarted(), OPERATOR, state=restored(stored(before)), at=900.0)
    assert again.sample is not None
    assert (again.place, again.sample.page, again.sample.open_cell) == ("review", 2, 12)
    with pytest.raises(EventRefusedError, match="no such page"):
        step(again, events.TurnPage(4), 950.0)
    with pytest.raises(EventRefusedError, match="no such cell"):
        step(again, events.ShowCell(20), 950.0)


def test_a_grade_is_changed_for_a_reason() -> None:
    state = after(*to_done()[:16])
    for event, reason in (
        (events.Sign("mild", "measured"), "measured"),
        (events.Sign("mild", "other", " told by phone "), "other: told by phone"),
        (events.Sign(None, "measured", "x"), ""),
    ):
        (signed,) = step(state, event, 300.0).effects
        assert signed == effects.SignResult(1, event.grade, reason, "amina")
    for event in (events.Sign("mild"), events.Sign("mild", "other", " ")):
        with pytest.raises(EventRefusedError, match="reason"):
            step(state, event, 300.0)


def test_a_silent_worker_is_found_by_the_watch_and_another_is_started() -> None:
    state = after(*to_capture(), at=0.0)
    for silence in range(WORKER_TRIES):
        ends = due(state)
        assert ends is not None
        lost = step(state, ends[1], ends[0])
        assert lost.effects == (effects.RestartWorker(1),), silence
        assert lost.state.fault is not None
        assert (lost.state.fault.code, lost.state.fault.trying) == ("WORKER_SILENT", True)
        cleared = step(lost.state, events.FaultCleared("WORKER_SILENT"), ends[0] + 1.0)
        assert cleared.effects == (effects.Capture(1),)
        state = cleared.state
    gave_up = step(state, events.WorkerSilent(), 200.0)
    assert gave_up.effects == ()
    assert gave_up.state.fault is not None
    assert gave_up.state.fault.code == "WORKER_GAVE_UP"
    checked = after(*to_capture()[:6])
    with pytest.raises(EventRefusedError, match="answered"):
        step(checked, events.WorkerSilent(), 300.0)


def test_a_worker_is_watched_behind_the_locked_page_too() -> None:
    locked = after(events.Lock(), state=after(*to_capture(), at=0.0), at=10.0)
    assert due(locked) == (10.0 + 30.0, events.WorkerSilent())
    lost = step(locked, events.WorkerSilent(), 40.0)
    assert lost.effects == (effects.RestartWorker(1),)
    mended = step(lost.state, events.FaultCleared("WORKER_SILENT"), 41.0)
    assert screen_of(mended.state) == "pin"
    assert mended.effects == (effects.Capture(1),)
    assert after(OPERATOR, state=mended.state, at=50.0).place == "capture"
    checking = after(*to_capture()[:5], events.Lock(), at=0.0)
    assert due(checking) == (5.0 + 60.0, events.WorkerSilent())
    checked = after(events.SelfChecked(GOOD), state=checking, at=20.0)
    assert due(checked) == (5.0 + 3600.0, events.Idle())
    assert after(OPERATOR, state=checked, at=30.0).checks == GOOD
    at_home = after(*to_capture()[:2], events.Lock())
    for late in (events.WorkerSilent(), events.SelfChecked(GOOD)):
        with pytest.raises(EventRefusedError):
            step(at_home, late, 200.0)


def test_trying_again_ends_a_worker_that_does_not_answer() -> None:
    silent = after(*to_capture(), events.WorkerSilent())
    again = step(silent, events.TryAgain(), 200.0)
    assert again.effects == (effects.RestartWorker(1),)
    assert screen_of(again.state) == "fault"
    unplugged = after(*to_capture(), events.FaultSeen("CAMERA_UNPLUGGED"))
    assert step(unplugged, events.TryAgain(), 200.0).effects == (effects.Capture(1),)


def test_a_result_that_comes_after_the_sample_was_left_waits() -> None:
    left = after(*to_capture(), events.EnoughFields(1), events.Leave())
    state = after(events.Analysed(1, "withheld", 0, 0), state=left)
    assert state.place == "home"
    assert [sample.step for sample in state.waiting] == ["result"]


def test_a_locked_kiosk_goes_on_for_the_same_person_and_leaves_the_sample_for_another() -> None:
    locked = after(*to_capture(), events.Lock())
    assert screen_of(locked) == "pin"
    counting = after(events.FieldRead(1, 2, 1, 250), state=locked)
    same = after(OPERATOR, state=counting)
    assert same.place == "capture"
    assert same.sample is not None
    assert same.sample.progress.red_cells == 250
    other = step(locked, events.SignIn("joao", "supervisor", "screen-2"), 300.0)
    assert other.state.place == "home"
    assert [sample.owner for sample in other.state.waiting] == ["amina"]
    assert effects.StopCapture(1) in other.effects


def test_only_the_browser_of_the_pin_steers() -> None:
    state = after(*to_capture())
    assert steers(state, "screen-1")
    assert not steers(state, "screen-2")
    taken = after(events.SignIn("amina", "operator", "screen-2"), state=state)
    assert steers(taken, "screen-2")
    assert not steers(taken, "screen-1")
    assert taken.place == "capture"


def test_viewers_are_bounded_and_a_reload_takes_the_place_of_the_page_before() -> None:
    viewers = Viewers()
    for number in range(MAX_OF_ONE + 4):
        joined = viewers.joined(number, "screen-1")
        assert joined is not None
        viewers = joined
    assert len(viewers.connections) == MAX_OF_ONE
    for number in range(100, 100 + MAX_CONNECTIONS - MAX_OF_ONE):
        joined = viewers.joined(number, f"screen-{number}")
        assert joined is not None
        viewers = joined
    assert viewers.joined(999, "one too many") is None
    assert viewers.left(100).joined(999, "in time") is not None


def test_a_fault_stands_over_the_step_and_the_step_goes_on_when_it_is_mended() -> None:
    state = after(*to_capture(), events.FaultSeen("CAMERA_UNPLUGGED"))
    assert screen_of(state) == "fault"
    with pytest.raises(EventRefusedError, match="mended"):
        step(state, events.GoOn(), 200.0)
    mended = step(state, events.FaultCleared("CAMERA_UNPLUGGED"), 200.0)
    assert mended.state.place == "capture"
    assert mended.effects == (effects.Capture(1),)
    with pytest.raises(EventRefusedError):
        step(mended.state, events.FaultCleared("CAMERA_UNPLUGGED"), 201.0)
    at_home = after(*to_capture()[:2])
    with pytest.raises(EventRefusedError, match="nothing is being taken"):
        step(at_home, events.FaultSeen("CAMERA_UNPLUGGED"), 200.0)
    with pytest.raises(EventRefusedError, match="nobody works"):
        step(after(events.ChooseUser("amina")), events.FaultSeen("RECORDS_FULL"), 200.0)
    full = after(events.FaultSeen("RECORDS_FULL"), state=at_home)
    assert screen_of(full) == "fault"


def test_a_worker_is_started_again_a_bounded_number_of_times() -> None:
    state = after(*to_capture())
    for crash in range(WORKER_TRIES):
        done = step(state, events.WorkerEnded(), 300.0 + crash)
        assert done.effects == (effects.RestartWorker(1),)
        state = after(events.FaultCleared("WORKER_CRASHED"), state=done.state)
        assert state.place == "capture"
    last = step(state, events.WorkerEnded(), 310.0)
    assert last.effects == ()
    assert last.state.fault is not None
    assert last.state.fault.code == "WORKER_GAVE_UP"
    by_hand = step(last.state, events.TryAgain(), 320.0)
    assert by_hand.effects == (effects.RestartWorker(1),)
    much_later = step(state, events.WorkerEnded(), 310.0 + 2 * WORKER_WINDOW_S)
    assert much_later.effects == (effects.RestartWorker(1),)


@pytest.mark.parametrize("events_before", range(2, 19))
def test_after_a_power_cut_the_sample_goes_on_at_its_step(events_before: int) -> None:
    before = after(*to_done()[:events_before])
    came_up = step(restored(stored(before)), events.Restarted(), 5000.0)
    assert screen_of(came_up.state) == "pin"
    again = after(OPERATOR, state=came_up.state, at=5001.0)
    assert again.place == before.place
    assert again.sample is not None or before.sample is None
    if before.sample is not None and again.sample is not None:
        same = {"progress": before.sample.progress}
        assert again.sample.model_copy(update=same) == before.sample
    wanted = {
        "check": effects.RunSelfCheck,
        "capture": effects.Capture,
        "analysis": effects.Analyse,
    }
    begun = {type(each) for each in came_up.effects}
    assert begun == ({wanted[before.place]} if before.place in wanted else set())


def test_a_sample_that_the_records_lost_is_not_gone_on_with() -> None:
    came_up = after(events.Restarted((1,)), state=after(*to_capture()))
    assert came_up.place == "home"
    assert came_up.samples == ()


def test_deadlines_lead_out_of_every_screen_that_waits() -> None:
    signed_out = after(events.ChooseUser("amina"))
    assert due(signed_out) == (160.0, events.Idle())
    assert screen_of(after(events.Idle(), state=signed_out)) == "sign_in"
    capture = after(*to_capture(), at=0.0)
    assert due(capture) == (8.0 + 30.0, events.WorkerSilent())
    alive = after(events.WorkerAlive(1), state=capture, at=30.0)
    assert due(alive) == (60.0, events.WorkerSilent())
    fault = after(events.WorkerSilent(), state=alive, at=60.0)
    assert due(fault) == (6.0 + 600.0, events.Idle())
    locked = after(events.Idle(), state=fault, at=606.0)
    assert due(locked) == (606.0 + 3600.0, events.Idle())
    assert screen_of(after(events.Idle(), state=locked, at=4206.0)) == "sign_in"
    checked = after(*to_capture()[:6], at=0.0)
    assert due(checked) == (4.0 + 600.0, events.Idle())
    assert due(KioskState()) is None
    assert all(deadline.seconds > 0 for deadline in DEADLINES)


def test_areas_open_for_their_roles_only() -> None:
    assert areas_of("operator") == ()
    assert set(areas_of("supervisor")) | set(areas_of("engineer")) == set(AREAS)
    supervisor = after(events.SignIn("joao", "supervisor", "s"))
    assert after(events.OpenArea("results"), state=supervisor).place == "results"
    with pytest.raises(EventRefusedError, match="role"):
        step(supervisor, events.OpenArea("equipment"), 1.0)
    used = step(after(events.OpenArea("results"), state=supervisor), events.UseArea(), 99.0).state
    assert (used.place, used.heard_s) == ("results", 99.0)
    assert after(events.Back(), state=used).place == "home"


def test_too_many_samples_are_refused() -> None:
    state = after(OPERATOR)
    for number in range(MAX_SAMPLES):
        begun = (events.NewSample(), events.GiveNumber(f"26-{number}"), events.Leave())
        state = after(*begun, state=state)
    with pytest.raises(EventRefusedError, match="too many"):
        step(state, events.NewSample(), 900.0)


def test_practice_has_a_number_of_its_own() -> None:
    state = after(OPERATOR, events.OpenPractice(), events.NewSample(slide="good"))
    assert state.place == "person"
    assert state.sample is not None
    assert state.sample.number == "PRACTICE-1"
    with pytest.raises(EventRefusedError):
        step(state, events.Back(), 200.0)


def test_what_the_page_posts_is_read_strictly() -> None:
    assert person_event("giveperson", {"age_years": "32", "sex": "female", "pregnant": "0"}) == (
        events.GivePerson(32.0, "female", 0)
    )
    assert person_event("leave", {}) == events.Leave()
    for name, values in (
        ("signin", {"name": "a", "role": "engineer", "viewer": "x"}),
        ("signed", {"ref": 1}),
        ("giveperson", {"age_years": "old"}),
        ("giveperson", {"age_years": "1000"}),
        ("takeup", {}),
        ("", {}),
    ):
        with pytest.raises(UsageError):
            person_event(name, values)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "edgehemo.kiosk-state/9"}', '{"place": "moon"}']
)
def test_a_state_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(RecordsError, match="cannot be read again"):
        restored(text)


# -- any order of events --------------------------------------------------------------------------

REFS = st.integers(1, 3)
ITEMS = st.integers(0, 31)
REASONS = st.sampled_from(["", "seen by eye"])
OF_KIND: dict[type[Event], st.SearchStrategy[Event]] = {
    events.ChooseUser: st.builds(events.ChooseUser, st.sampled_from(["amina", "joao"])),
    events.SignIn: st.builds(
        events.SignIn,
        st.sampled_from(["amina", "joao"]),
        st.sampled_from(["operator", "supervisor", "engineer"]),
        st.sampled_from(["screen-1", "screen-2"]),
    ),
    events.PinRefused: st.builds(events.PinRefused, st.just("amina"), st.just(30.0)),
    events.NewSample: st.builds(events.NewSample, st.none() | st.sampled_from(SLIDE_NAMES)),
    events.TakeUp: st.builds(events.TakeUp, REFS),
    events.GiveNumber: st.builds(events.GiveNumber, st.sampled_from(["1", "26-2", "3", "Amina"])),
    events.NumberDrawn: st.builds(events.NumberDrawn, REFS, st.just("AB12-00001")),
    events.GivePerson: st.builds(
        events.GivePerson,
        st.floats(0, 125),
        st.sampled_from([None, "female", "male"]),
        st.sampled_from([None, 0, 1, 2, 3]),
        st.sampled_from([None, True, False]),
    ),
    events.SelfChecked: st.sampled_from([events.SelfChecked(GOOD), events.SelfChecked(BAD)]),
    events.SampleBegun: st.builds(events.SampleBegun, REFS, st.just("4k7q")),
    events.FieldRead: st.builds(
        events.FieldRead, REFS, st.integers(0, 9), st.integers(0, 9), st.integers(0, 3000)
    ),
    events.WorkerAlive: st.builds(events.WorkerAlive, REFS, st.floats(0, 1)),
    events.EnoughFields: st.builds(events.EnoughFields, REFS),
    events.Analysed: st.builds(
        events.Analysed,
        REFS,
        st.sampled_from(["reported", "withheld"]),
        st.integers(0, 30),
        st.integers(0, 12),
    ),
    events.TurnPage: st.builds(events.TurnPage, st.integers(0, 5)),
    events.ShowCell: st.builds(events.ShowCell, ITEMS),
    events.ReviewOne: st.builds(events.ReviewOne, ITEMS, st.sampled_from([None, "monocyte", "x"])),
    events.ConfirmPage: st.builds(events.ConfirmPage, st.integers(0, 5)),
    events.Sign: st.builds(
        events.Sign,
        st.sampled_from([None, "mild"]),
        st.sampled_from([None, *OVERRIDE_REASONS]),
        REASONS,
    ),
    events.Signed: st.builds(events.Signed, REFS),
    events.Abandon: st.builds(events.Abandon, st.sampled_from(["poor_smear", "other"]), REASONS),
    events.OpenArea: st.builds(events.OpenArea, st.sampled_from(AREAS)),
    events.FaultSeen: st.builds(events.FaultSeen, st.sampled_from(FAULT_CODES)),
    events.WorkerEnded: st.builds(events.WorkerEnded, st.booleans()),
    events.FaultCleared: st.builds(events.FaultCleared, st.sampled_from(FAULT_CODES)),
    events.Restarted: st.builds(events.Restarted, st.sampled_from([(), (1,), (1, 2)])),
}
# An event without values is itself.
ANY = {kind: OF_KIND[kind] if kind in OF_KIND else st.just(kind()) for kind in EVENTS}


def an_event(kind: type[Event]) -> Event:
    """One of a kind, the plainest."""
    return find(ANY[kind], lambda _: True, settings=settings(phases=[Phase.generate]))


def one_of_each_screen() -> dict[Screen, KioskState]:
    """A state that shows each screen."""
    states: dict[Screen, KioskState] = {"sign_in": KioskState()}
    path = to_done()
    for number in range(1, len(path) + 1):
        state = after(*path[:number])
        states.setdefault(screen_of(state), state)
    states["practice"] = after(OPERATOR, events.OpenPractice())
    states["abandon"] = after(*to_capture(), events.AskAbandon())
    states["fault"] = after(*to_capture(), events.FaultSeen("CAMERA_UNPLUGGED"))
    for role in ROLES:
        for area in areas_of(role):
            states[area] = after(events.SignIn("x", role, "s"), events.OpenArea(area))
    assert set(states) == set(SCREENS)
    return states


# What a person can always do to come out, tried in any order.
WAYS_OUT: tuple[Event, ...] = (
    events.OtherUser(),
    events.SignOut(),
    events.Back(),
    events.Leave(),
    events.Finish(),
)


def moves_out(state: KioskState) -> int | None:
    """How many touches lead to the tiles of the sign-in page; None where none do."""
    waiting = deque([(state, 0)])
    seen = set()
    while waiting:
        at, moves = waiting.popleft()
        if screen_of(at) == "sign_in":
            return moves
        mark = stored(at)
        if mark in seen:
            continue
        seen.add(mark)
        for event in WAYS_OUT:
            if why_refused(at, event) is None:
                waiting.append((step(at, event, 0.0).state, moves + 1))
    return None


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order."""

    @initialize()
    def begin(self) -> None:
        self.state, self.now = KioskState(), 1000.0

    @rule(data=st.data(), seconds=st.floats(0, 700))
    def something_that_fits(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        kinds = [kind for kind in EVENTS if screen_of(self.state) in RULES_OF[kind].screens]
        self.tell(data.draw(ANY[data.draw(st.sampled_from(kinds))]))

    @rule(data=st.data())
    def anything(self, data: st.DataObject) -> None:
        self.tell(data.draw(ANY[data.draw(st.sampled_from(EVENTS))]))

    @rule()
    def the_deadline_ends(self) -> None:
        if (ends := due(self.state)) is not None:
            self.now = max(self.now, ends[0])
            before = self.state
            self.tell(ends[1])
            assert self.state != before, "a deadline that changes nothing comes again for ever"

    def tell(self, event: Event) -> None:
        before = stored(self.state)
        refused = why_refused(self.state, event)
        try:
            done = step(self.state, event, self.now)
        except EventRefusedError:
            assert refused is not None
            assert stored(self.state) == before
            return
        assert refused is None
        self.state = done.state

    @invariant()
    def it_is_the_same_when_it_is_read_again(self) -> None:
        assert restored(stored(self.state)) == self.state

    @invariant()
    def nobody_is_where_the_role_may_not_be(self) -> None:
        session = self.state.session
        if session is not None:
            assert session.role in RULES[self.state.place].roles
        else:
            assert self.state.place == "home"
            assert self.state.fault is None or self.state.fault.code in TOLD_AT_SIGN_IN

    @invariant()
    def the_hand_holds_a_sample_where_one_is_worked_on(self) -> None:
        sample = self.state.sample
        assert (self.state.place in SAMPLE_PLACES) == (sample is not None)
        assert (self.state.hand is None) == (sample is None)
        if sample is not None and self.state.place != "abandon":
            assert self.state.place == sample.step
        refs = [each.ref for each in self.state.samples]
        assert len(set(refs)) == len(refs) <= MAX_SAMPLES
        numbers = [each.number for each in self.state.samples if each.number_from != "drawn"]
        assert len(set(numbers)) == len(numbers)

    @invariant()
    def the_gallery_shows_what_there_is(self) -> None:
        for sample in self.state.samples:
            shown = [item for page in sample.pages for item in page]
            assert shown == list(range(sample.asked))
            assert set(sample.seen) <= set(shown)
            assert 0 <= sample.to_review <= sample.must <= sample.asked
            assert sample.open_cell is None or sample.open_cell in sample.pages[sample.page]
            if sample.step == "review":
                assert sample.page < len(sample.pages)
            if sample.step in ("sign_off", "done"):
                assert sample.to_review == 0

    @invariant()
    def there_is_a_way_out_of_everywhere(self) -> None:
        moves = moves_out(self.state)
        assert moves is not None
        assert moves <= 4

    @invariant()
    def a_screen_has_something_to_touch(self) -> None:
        screen = screen_of(self.state)
        assert any(screen in RULES_OF[kind].screens for kind in PERSON_EVENTS)


AnyOrder.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAnyOrder = AnyOrder.TestCase


def test_every_place_can_be_come_to() -> None:
    assert set(get_args(Place)) <= set(one_of_each_screen())
