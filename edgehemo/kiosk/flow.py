"""The flow of the kiosk: a state and an event give the next state and what is to be done.

No I/O and no clock: the time comes with the event. What each event needs stands in `RULES_OF`; an
event that does not fit the screen, the role or the sample is refused and changes nothing, so that a
page that is late, a second tap and a worker that was stopped do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgehemo.errors import RecordsError
from edgehemo.kiosk import effects, events
from edgehemo.kiosk.effects import Effect
from edgehemo.kiosk.events import Event, PersonEvent
from edgehemo.kiosk.faults import (
    ASKS_FOR_ANOTHER_WORKER,
    FAULTS,
    TOLD_AT_SIGN_IN,
    WORKER_TRIES,
    WORKER_WINDOW_S,
    FaultCode,
)
from edgehemo.kiosk.screens import (
    AREAS,
    PLACES,
    RULES,
    SAMPLE_PLACES,
    SAMPLE_STEPS,
    STORED_STEPS,
    Place,
    SampleStep,
    Screen,
)
from edgehemo.kiosk.state import (
    MAX_SAMPLES,
    Answers,
    Asked,
    Fault,
    KioskState,
    Progress,
    Sample,
    SignedIn,
    screen_of,
)
from edgehemo.records.identifiers import sample_number
from edgehemo.report.asked_cells import SAYABLE

# A refusal: why an event may not be, None where it may.
Guard = Callable[[KioskState, Any], str | None]
Move = Callable[[KioskState, Any, float], "Step"]
# How a refusal begins that says what contradicts what in the answers of a person.
PERSON_PROBLEM = "the answers: "


class EventRefusedError(Exception):
    """An event that does not fit: nothing was changed. why: in a few words, which the page puts
    into those of its language. No fault of the device, so none of the errors that it tells.
    """

    def __init__(self, event: Event, why: str) -> None:
        super().__init__(f"{type(event).__name__} is not possible here: {why}")
        self.why = why


@dataclass(frozen=True, slots=True)
class Step:
    """What an event leads to."""

    state: KioskState
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class EventRule:
    """screens: where it may come. guard: what else must be so. move: what it does."""

    screens: frozenset[Screen]
    move: Move
    guard: Guard = lambda _state, _event: None


def step(state: KioskState, event: Event, now_s: float) -> Step:
    """The next state. EventRefusedError, and nothing is changed, where the event does not fit."""
    if (why := why_refused(state, event)) is not None:
        raise EventRefusedError(event, why)
    done = RULES_OF[type(event)].move(state, event, now_s)
    after = done.state
    if screen_of(after) != screen_of(state) or after.hand != state.hand:
        after = after.model_copy(update={"since_s": now_s})
    if isinstance(event, PersonEvent | events.SignIn):
        after = after.model_copy(update={"heard_s": now_s})
    return Step(after, done.effects)


def why_refused(state: KioskState, event: Event) -> str | None:
    """Why an event does not fit, None where it does."""
    rule = RULES_OF[type(event)]
    if screen_of(state) not in rule.screens:
        return "not on this screen"
    return rule.guard(state, event)


# -- small moves ----------------------------------------------------------------------------------


def _with(state: KioskState, **values: Any) -> KioskState:
    return state.model_copy(update=values)


def _in_hand(state: KioskState) -> Sample:
    sample = state.sample
    assert sample is not None, "a guard or the place says that there is one"
    return sample


def _changed(state: KioskState, ref: int, **values: Any) -> KioskState:
    """With a sample changed."""
    return _with(
        state,
        samples=tuple(
            each.model_copy(update=values) if each.ref == ref else each for each in state.samples
        ),
    )


def _leaving(state: KioskState) -> tuple[Effect, ...]:
    """What leaving the sample in hand asks of the device."""
    sample = state.sample
    if sample is not None and sample.step in ("check", "capture"):
        return (effects.StopCapture(sample.ref),)
    return ()


def _home(state: KioskState) -> KioskState:
    return _with(state, place="home", hand=None, checks=None, fault=None)


def _to(state: KioskState, at: SampleStep, now_s: float, **values: Any) -> Step:
    """Bring the sample in hand to a step, with what this step begins with."""
    sample = _in_hand(state)
    progress = sample.progress.model_copy(update={"at_s": now_s})
    state = _changed(state, sample.ref, step=at, progress=progress, **values)
    return Step(_with(state, place=at, checks=None, fault=None), _beginning(at, sample.ref))


def _beginning(at: SampleStep, ref: int) -> tuple[Effect, ...]:
    if at == "check":
        return (effects.RunSelfCheck(ref),)
    if at == "capture":
        return (effects.Capture(ref),)
    if at == "analysis":
        return (effects.Analyse(ref),)
    return ()


# -- who works ------------------------------------------------------------------------------------


def _choose_user(state: KioskState, event: events.ChooseUser, now_s: float) -> Step:
    return Step(_with(state, asked=Asked(name=event.name)))


def _other_user(state: KioskState, event: events.OtherUser, now_s: float) -> Step:
    if state.session is None:
        return Step(_with(state, asked=None))
    return _signed_out(state, "another user")


def _signed_out(state: KioskState, why: str) -> Step:
    session = state.session
    assert session is not None
    leaving = _leaving(state)
    said = effects.NoteSignOut(name=session.name, why=why)
    if state.sample is not None and state.sample.number is None:
        # As one that was left by hand.
        state = _with(state, samples=state.waiting)
    return Step(_with(_home(state), session=None, asked=None), (*leaving, said))


def _sign_out(state: KioskState, event: events.SignOut, now_s: float) -> Step:
    return _signed_out(state, "")


def _sign_in(state: KioskState, event: events.SignIn, now_s: float) -> Step:
    """Somebody's PIN was right: at the locked kiosk, at the tiles, or at another screen that takes
    the kiosk over.
    """
    before = state.session
    session = SignedIn(name=event.name, role=event.role, viewer=event.viewer)
    same = before is not None and before.name == event.name
    taken = _with(state, session=session, asked=None)
    if same and event.role in RULES[state.place].roles:
        return Step(taken)
    if before is None:
        return Step(_with(_home(taken), fault=_untold(state)))
    out = _signed_out(state, "another user signed in")
    return Step(_with(out.state, session=session), out.effects)


def _untold(state: KioskState) -> Fault | None:
    """A fault that waits for somebody to sign in."""
    fault = state.fault
    return fault if fault is not None and fault.code in TOLD_AT_SIGN_IN else None


def _pin_refused(state: KioskState, event: events.PinRefused, now_s: float) -> Step:
    asked = Asked(name=event.name, wrong=True, until_s=now_s + event.wait_s)
    return Step(_with(state, asked=asked))


def _for_the_asked(state: KioskState, event: events.PinRefused) -> str | None:
    if state.session is not None:
        asked = state.session.name if state.session.locked else None
    else:
        asked = None if state.asked is None else state.asked.name
    return None if asked == event.name else "another user's PIN is asked for"


def _lock(state: KioskState, event: events.Lock | events.Idle, now_s: float) -> Step:
    """Idle at the locked page, the sample is left, so that another may begin; at the PIN, the tiles
    come back.
    """
    if state.session is None:
        return Step(_with(state, asked=None))
    if state.session.locked:
        return _signed_out(state, "nobody came back")
    session = state.session.model_copy(update={"locked": True})
    return Step(_with(state, session=session, asked=None))


# -- a sample -------------------------------------------------------------------------------------


def _open_practice(state: KioskState, event: events.OpenPractice, now_s: float) -> Step:
    """What was practised before is done with."""
    return Step(_with(_home(_with(state, samples=state.waiting)), place="practice"))


def _practice_is_over(state: KioskState, event: events.OpenPractice) -> str | None:
    sample = state.sample
    return "this is no practice" if sample is not None and not sample.practice else None


def _new_sample(state: KioskState, event: events.NewSample, now_s: float) -> Step:
    assert state.session is not None
    sample = Sample(
        ref=state.next_ref,
        owner=state.session.name,
        slide=event.slide,
        answers=Answers(altitude_m=event.altitude_m),
    )
    if event.slide is not None:
        number = f"PRACTICE-{state.next_ref}"
        sample = sample.model_copy(
            update={"number": number, "number_from": "drawn", "step": "person"}
        )
    return Step(
        _with(
            state,
            samples=(*state.samples, sample),
            hand=sample.ref,
            place=sample.step,
            next_ref=state.next_ref + 1,
        )
    )


def _room_for_one(state: KioskState, event: events.NewSample) -> str | None:
    if (event.slide is None) != (state.place == "home"):
        return "a slide to practise on has its own page"
    return "too many samples wait" if len(state.samples) >= MAX_SAMPLES else None


def _take_up(state: KioskState, event: events.TakeUp, now_s: float) -> Step:
    sample = next(each for each in state.samples if each.ref == event.ref)
    return _to(_with(state, hand=sample.ref), sample.step, now_s)


def _waits(state: KioskState, event: events.TakeUp) -> str | None:
    known = any(sample.ref == event.ref for sample in state.waiting)
    return None if known else "no such sample waits"


def _give_number(state: KioskState, event: events.GiveNumber, now_s: float) -> Step:
    number = sample_number(event.number)
    return _to(state, "person", now_s, number=number, number_from=event.how)


def _number_fits(state: KioskState, event: events.GiveNumber) -> str | None:
    try:
        number = sample_number(event.number)
    except RecordsError:
        return "no sample number"
    others = {each.number for each in state.waiting}
    return "a sample of this number waits" if number in others else None


def _draw(state: KioskState, event: events.DrawNumber, now_s: float) -> Step:
    return Step(state, (effects.DrawANumber(state.hand),))


def _number_drawn(state: KioskState, event: events.NumberDrawn, now_s: float) -> Step:
    return Step(_changed(state, event.ref, number=event.number, number_from="drawn"))


def _draws_for(state: KioskState, event: events.NumberDrawn) -> str | None:
    at_number = any(each.ref == event.ref and each.step == "number" for each in state.samples)
    return None if at_number else "the sample has its number"


def _give_person(state: KioskState, event: events.GivePerson, now_s: float) -> Step:
    return _to(state, "check", now_s, answers=_answers(state, event))


def _answers(state: KioskState, event: events.GivePerson) -> Answers:
    before = _in_hand(state).answers
    return before.model_copy(
        update={
            "age_years": event.age_years,
            "sex": event.sex,
            "pregnant": event.pregnant,
            "smokes": event.smokes,
        }
    )


def _person_fits(state: KioskState, event: events.GivePerson) -> str | None:
    person = _answers(state, event).person()
    problems = () if person is None else person.problems()
    return PERSON_PROBLEM + "; ".join(problems) if problems else None


def _check_again(state: KioskState, event: events.CheckAgain, now_s: float) -> Step:
    return _to(state, "check", now_s)


def _self_checked(state: KioskState, event: events.SelfChecked, now_s: float) -> Step:
    return Step(_with(state, checks=event.checks))


def _checks_itself(state: KioskState, event: events.SelfChecked) -> str | None:
    """Behind the locked page too."""
    return None if state.place == "check" else "no self-check runs"


def _start(state: KioskState, event: events.StartCapture, now_s: float) -> Step:
    return _to(state, "capture", now_s)


def _may_start(state: KioskState, event: events.StartCapture) -> str | None:
    if state.checks is None:
        return "the self-check runs"
    return "the self-check found a fault" if any(each.blocks for each in state.checks) else None


def _sample_begun(state: KioskState, event: events.SampleBegun, now_s: float) -> Step:
    return Step(_changed(state, event.ref, taking=event.taking))


def _field_read(state: KioskState, event: events.FieldRead, now_s: float) -> Step:
    progress = Progress(
        accepted=event.accepted, refused=event.refused, red_cells=event.red_cells, at_s=now_s
    )
    return Step(_changed(state, event.ref, progress=progress))


def _worker_alive(state: KioskState, event: events.WorkerAlive, now_s: float) -> Step:
    progress = _in_hand(state).progress
    later = progress.model_copy(update={"analysed": event.analysed, "at_s": now_s})
    return Step(_changed(state, event.ref, progress=later))


def _enough(state: KioskState, event: events.EnoughFields, now_s: float) -> Step:
    done = _to(state, "analysis", now_s)
    return Step(done.state, (effects.StopCapture(event.ref), *done.effects))


def _analyse_now(state: KioskState, event: events.AnalyseNow, now_s: float) -> Step:
    done = _to(state, "analysis", now_s)
    return Step(done.state, (effects.StopCapture(state.hand), *done.effects))


def _has_a_field(state: KioskState, event: events.AnalyseNow) -> str | None:
    progress = _in_hand(state).progress
    return None if progress.accepted + progress.refused else "there is no field yet"


def _analysed(state: KioskState, event: events.Analysed, now_s: float) -> Step:
    """The worker may end after the sample was left: it then waits at its result."""
    values = {"outcome": event.outcome, "asked": max(event.asked, event.must), "must": event.must}
    if state.hand == event.ref and state.place == "analysis":
        return _to(state, "result", now_s, **values)
    return Step(_changed(state, event.ref, step="result", **values))


def _open_review(state: KioskState, event: events.OpenReview, now_s: float) -> Step:
    """To the first cell that has no person's word yet."""
    sample = _in_hand(state)
    page = sample.page_of(sample.next_unseen() or 0)
    return _to(state, "review", now_s, page=page, open_cell=None)


def _asks_for_any(state: KioskState, event: events.OpenReview) -> str | None:
    return None if _in_hand(state).asked else "no cell asks for a person"


def _turn_page(state: KioskState, event: events.TurnPage, now_s: float) -> Step:
    return Step(_changed(state, _in_hand(state).ref, page=event.page, open_cell=None))


def _is_a_page(state: KioskState, event: events.TurnPage) -> str | None:
    return None if event.page < len(_in_hand(state).pages) else "no such page"


def _show_cell(state: KioskState, event: events.ShowCell, now_s: float) -> Step:
    sample = _in_hand(state)
    page = sample.page_of(event.item)
    return Step(_changed(state, sample.ref, page=page, open_cell=event.item))


def _is_a_cell(state: KioskState, event: events.ShowCell) -> str | None:
    return None if event.item < _in_hand(state).asked else "no such cell"


def _review_one(state: KioskState, event: events.ReviewOne, now_s: float) -> Step:
    """A first word leads to the next cell; one that was changed, back to the page."""
    before = _in_hand(state)
    state = _seen(state, (event.item,))
    after = _in_hand(state)
    following = None if event.item in before.seen else after.next_unseen(event.item)
    page = after.page_of(event.item if following is None else following)
    state = _changed(state, after.ref, page=page, open_cell=following)
    return Step(state, (_kept(state, event.item, event.type),))


def _seen(state: KioskState, items: tuple[int, ...]) -> KioskState:
    sample = _in_hand(state)
    return _changed(state, sample.ref, seen=tuple(sorted({*sample.seen, *items})))


def _kept(state: KioskState, item: int, type: str | None) -> Effect:
    sample = _in_hand(state)
    taking = None if sample.practice else sample.taking
    return effects.KeepReview(sample.ref, taking, item, type, _by(state))


def _confirm_page(state: KioskState, event: events.ConfirmPage, now_s: float) -> Step:
    """On to the page of the next cell without a word; the last such page stays."""
    items = _to_confirm(_in_hand(state), event.page)
    state = _seen(state, items)
    sample = _in_hand(state)
    following = sample.next_unseen(items[-1])
    page = event.page if following is None else sample.page_of(following)
    state = _changed(state, sample.ref, page=page)
    return Step(state, tuple(_kept(state, item, None) for item in items))


def _to_confirm(sample: Sample, page: int) -> tuple[int, ...]:
    """Cells of a page of findings that have no word yet; only those say something to confirm."""
    shown = sample.pages[page]
    return tuple(item for item in shown if item < sample.must and item not in sample.seen)


def _is_shown(state: KioskState, event: events.ConfirmPage) -> str | None:
    """A second tap, and a page that is late, confirm nothing that was not looked at."""
    sample = _in_hand(state)
    if sample.open_cell is not None or event.page != sample.page:
        return "another page is shown"
    return None if _to_confirm(sample, event.page) else "nothing to confirm is shown"


def _by(state: KioskState) -> str:
    assert state.session is not None
    return state.session.name


def _is_open(state: KioskState, event: events.ReviewOne) -> str | None:
    """A second tap on a name must not name the next cell."""
    if event.item != _in_hand(state).open_cell:
        return "another cell is shown"
    return None if event.type is None or event.type in SAYABLE else "no such name"


def _open_sign_off(state: KioskState, event: events.OpenSignOff, now_s: float) -> Step:
    return _to(state, "sign_off", now_s)


def _all_seen(state: KioskState, event: events.OpenSignOff) -> str | None:
    return "some cells were not looked at" if _in_hand(state).to_review else None


def _sign(state: KioskState, event: events.Sign, now_s: float) -> Step:
    words = event.reason.strip() if event.grade else ""
    because = event.because if event.grade else None
    reason = ": ".join(part for part in (because, words) if part)
    sample = _in_hand(state)
    if sample.practice:
        state = _changed(state, sample.ref, signed_grade=event.grade)
    return Step(state, (effects.SignResult(state.hand, event.grade, reason, _by(state)),))


def _with_reason(state: KioskState, event: events.Sign) -> str | None:
    said = event.because not in (None, "other") or event.reason.strip()
    return "a changed grade needs a reason" if event.grade and not said else None


def _signed(state: KioskState, event: events.Signed, now_s: float) -> Step:
    if state.hand == event.ref and state.place == "sign_off":
        return _to(state, "done", now_s)
    return Step(_changed(state, event.ref, step="done"))


def _hand_out(
    state: KioskState,
    event: events.Print | events.CopyToStick | events.StopHandingOut,
    now_s: float,
) -> Step:
    """What leaves the device, and when, is not of the flow."""
    return Step(state)


def _is_stored(state: KioskState, event: Event) -> str | None:
    return "nothing of a practice leaves the device" if _in_hand(state).practice else None


def _finish(state: KioskState, event: events.Finish, now_s: float) -> Step:
    return Step(_home(_with(state, samples=state.waiting)))


def _back(state: KioskState, event: events.Back, now_s: float) -> Step:
    if state.place == "abandon":
        return _to(state, _in_hand(state).step, now_s)
    target = RULES[state.place].back
    if state.place == "review" and _in_hand(state).open_cell is not None:
        return Step(_changed(state, _in_hand(state).ref, open_cell=None))
    if target == "review" and not _in_hand(state).asked:
        target = "result"
    if target in SAMPLE_STEPS:
        done = _to(state, target, now_s)
        return Step(done.state, (*_leaving(state), *done.effects))
    assert target is not None
    return Step(_with(state, place=target))


def _leads_back(state: KioskState, event: events.Back) -> str | None:
    if state.place == "abandon":
        return None
    if state.place == "person" and _in_hand(state).practice:
        return "a practice sample has its number"
    return "nothing lies behind" if RULES[state.place].back is None else None


def _leave(state: KioskState, event: events.Leave, now_s: float) -> Step:
    """A sample of which nothing was entered is no sample to come back to."""
    sample = state.sample
    leaving = _leaving(state)
    if sample is not None and (sample.step == "done" or sample.number is None):
        state = _with(state, samples=state.waiting)
    return Step(_home(state), leaving)


def _ask_abandon(state: KioskState, event: events.AskAbandon, now_s: float) -> Step:
    return Step(_with(state, place="abandon", fault=None), _leaving(state))


def _not_done(state: KioskState, event: events.AskAbandon) -> str | None:
    if state.sample is None:
        return "there is no sample"
    return "it is signed" if state.sample.step == "done" else None


def _abandon(state: KioskState, event: events.Abandon, now_s: float) -> Step:
    """A practice of which something was seen is told whether that was right."""
    sample = _in_hand(state)
    if sample.practice and sample.step not in ("person", "check"):
        return _to(state, "done", now_s, gave_up=event.reason)
    given_up = effects.GiveUp(
        sample.ref,
        taking=sample.taking,
        has_result=sample.step in STORED_STEPS,
        reason=event.reason,
        words=event.words.strip(),
        by=_by(state),
    )
    return Step(_home(_with(state, samples=state.waiting)), (given_up,))


def _in_words(state: KioskState, event: events.Abandon) -> str | None:
    return "say why" if event.reason == "other" and not event.words.strip() else None


# -- areas and faults -----------------------------------------------------------------------------


def _open_area(state: KioskState, event: events.OpenArea, now_s: float) -> Step:
    return Step(_with(state, place=event.area))


def _role_fits(state: KioskState, event: events.OpenArea) -> str | None:
    assert state.session is not None
    return None if state.session.role in RULES[event.area].roles else "not for this role"


def _use_area(state: KioskState, event: events.UseArea, now_s: float) -> Step:
    return Step(state)


def _fault_seen(state: KioskState, event: events.FaultSeen, now_s: float) -> Step:
    return Step(_with(state, fault=Fault(code=event.code)))


def _concerns(state: KioskState, event: events.FaultSeen) -> str | None:
    """A camera that fails while nobody takes pictures is told by the next self-check."""
    if state.session is None:
        return None if event.code in TOLD_AT_SIGN_IN else "nobody works"
    stops = FAULTS[event.code].stops
    if stops == "capture" and state.place not in ("check", "capture", "analysis"):
        return "nothing is being taken"
    return None


def _worker_ended(state: KioskState, event: events.WorkerEnded, now_s: float) -> Step:
    return _worker_lost(state, "OUT_OF_MEMORY" if event.memory else "WORKER_CRASHED", now_s)


def _worker_silent(state: KioskState, event: events.WorkerSilent, now_s: float) -> Step:
    return _worker_lost(state, "WORKER_SILENT", now_s)


def _is_waited_for(state: KioskState, event: events.WorkerSilent) -> str | None:
    if state.place not in ("check", "capture", "analysis") or state.fault is not None:
        return "nothing is waited for"
    answered = state.place == "check" and state.checks is not None
    return "the self-check has answered" if answered else None


def _worker_lost(state: KioskState, code: FaultCode, now_s: float) -> Step:
    """Another is started, a bounded number of times."""
    recent = tuple(at for at in state.ended if now_s - WORKER_WINDOW_S < at <= now_s)
    state = _with(state, ended=(*recent, now_s)[-(WORKER_TRIES + 1) :])
    again = len(recent) < WORKER_TRIES
    if not again:
        code = "WORKER_GAVE_UP"
    if state.session is not None and state.place in ("check", "capture", "analysis"):
        state = _with(state, fault=Fault(code=code, trying=again))
    return Step(state, (effects.RestartWorker(state.hand),) if again else ())


def _fault_cleared(state: KioskState, event: events.FaultCleared, now_s: float) -> Step:
    return _going_on(state, now_s)


def _going_on(state: KioskState, now_s: float) -> Step:
    """Take up the step that a fault stood over."""
    state = _with(state, fault=None)
    if state.place in ("check", "capture", "analysis"):
        return _to(state, _in_hand(state).step, now_s)
    return Step(state)


def _is_this_fault(state: KioskState, event: events.FaultCleared) -> str | None:
    known = state.fault is not None and state.fault.code == event.code
    return None if known else "another fault, or none"


def _try_again(state: KioskState, event: events.TryAgain, now_s: float) -> Step:
    assert state.fault is not None
    if state.fault.code in ASKS_FOR_ANOTHER_WORKER:
        fault = state.fault.model_copy(update={"trying": True})
        return Step(_with(state, fault=fault, ended=()), (effects.RestartWorker(state.hand),))
    return _going_on(state, now_s)


def _go_on(state: KioskState, event: events.GoOn, now_s: float) -> Step:
    return Step(_with(state, fault=None))


def _passes(state: KioskState, event: events.GoOn) -> str | None:
    assert state.fault is not None
    return None if FAULTS[state.fault.code].passes else "it must be mended first"


def _restarted(state: KioskState, event: events.Restarted, now_s: float) -> Step:
    """Samples that the records lost are gone; the one in hand goes on at its step, once whoever had
    it has shown the PIN again.
    """
    state = _with(state, samples=tuple(s for s in state.samples if s.ref not in event.lost))
    state = _with(state, ended=(), asked=None, since_s=now_s, heard_s=now_s)
    if state.session is not None:
        locked = state.session.model_copy(update={"locked": True})
        state = _with(state, session=locked)
    if state.place in SAMPLE_PLACES and state.sample is None:
        state = _home(state)
    sample = state.sample
    if sample is None or state.session is None:
        home = _with(_home(state), fault=_untold(state))
        return Step(_with(home, place=state.place if state.session else "home"))
    if state.place == "abandon":
        return Step(_with(state, fault=None))
    return _to(state, sample.step, now_s)


# -- the table ------------------------------------------------------------------------------------

_ANYWHERE: frozenset[Screen] = frozenset((*PLACES, "sign_in", "pin", "fault"))
_SIGNED_IN: frozenset[Screen] = frozenset((*PLACES, "fault"))
_PLACES: frozenset[Screen] = frozenset(PLACES)
_SAMPLE: frozenset[Screen] = frozenset(SAMPLE_PLACES)


def _at(*screens: Screen) -> frozenset[Screen]:
    return frozenset(screens)


def _of_the_hand(*at: Place) -> Guard:
    """Only of the sample in hand, at one of these places, whatever lies over them."""

    def guard(state: KioskState, event: Any) -> str | None:
        if state.hand != event.ref or state.sample is None or state.place not in at:
            return "of another sample or step"
        return None

    return guard


def _known(*at: SampleStep) -> Guard:
    """Of any sample that is at one of these steps."""

    def guard(state: KioskState, event: Any) -> str | None:
        found = any(each.ref == event.ref and each.step in at for each in state.samples)
        return None if found else "of another sample or step"

    return guard


RULES_OF: Mapping[type[Event], EventRule] = {
    events.ChooseUser: EventRule(_at("sign_in"), _choose_user),
    events.OtherUser: EventRule(_at("pin"), _other_user),
    events.SignOut: EventRule(_at("home"), _sign_out),
    events.Lock: EventRule(_SIGNED_IN, _lock),
    events.SignIn: EventRule(_ANYWHERE, _sign_in),
    events.PinRefused: EventRule(_at("pin"), _pin_refused, _for_the_asked),
    events.Idle: EventRule(_ANYWHERE - {"sign_in"}, _lock),
    events.OpenPractice: EventRule(_at("home", "done"), _open_practice, _practice_is_over),
    events.NewSample: EventRule(_at("home", "practice"), _new_sample, _room_for_one),
    events.TakeUp: EventRule(_at("home"), _take_up, _waits),
    events.GiveNumber: EventRule(_at("number"), _give_number, _number_fits),
    events.DrawNumber: EventRule(_at("number"), _draw),
    events.NumberDrawn: EventRule(_ANYWHERE, _number_drawn, _draws_for),
    events.GivePerson: EventRule(_at("person"), _give_person, _person_fits),
    events.CheckAgain: EventRule(_at("check"), _check_again),
    events.SelfChecked: EventRule(_at("check", "pin"), _self_checked, _checks_itself),
    events.StartCapture: EventRule(_at("check"), _start, _may_start),
    events.SampleBegun: EventRule(_ANYWHERE, _sample_begun, _known("capture")),
    events.FieldRead: EventRule(_ANYWHERE, _field_read, _of_the_hand("capture")),
    events.WorkerAlive: EventRule(_ANYWHERE, _worker_alive, _of_the_hand("capture", "analysis")),
    events.EnoughFields: EventRule(_ANYWHERE, _enough, _of_the_hand("capture")),
    events.AnalyseNow: EventRule(_at("capture"), _analyse_now, _has_a_field),
    events.Analysed: EventRule(_ANYWHERE, _analysed, _known("analysis")),
    events.OpenReview: EventRule(_at("result"), _open_review, _asks_for_any),
    events.TurnPage: EventRule(_at("review"), _turn_page, _is_a_page),
    events.ShowCell: EventRule(_at("review"), _show_cell, _is_a_cell),
    events.ReviewOne: EventRule(_at("review"), _review_one, _is_open),
    events.ConfirmPage: EventRule(_at("review"), _confirm_page, _is_shown),
    events.OpenSignOff: EventRule(_at("result", "review"), _open_sign_off, _all_seen),
    events.Sign: EventRule(_at("sign_off"), _sign, _with_reason),
    events.Signed: EventRule(_ANYWHERE, _signed, _known("sign_off")),
    events.Print: EventRule(_at("done"), _hand_out, _is_stored),
    events.CopyToStick: EventRule(_at("done"), _hand_out, _is_stored),
    events.StopHandingOut: EventRule(_at("done"), _hand_out, _is_stored),
    events.Finish: EventRule(_at("done"), _finish),
    events.Back: EventRule(_PLACES, _back, _leads_back),
    events.Leave: EventRule((_PLACES - {"home"}) | {"fault"}, _leave),
    events.AskAbandon: EventRule((_SAMPLE - {"abandon", "done"}) | {"fault"}, _ask_abandon,
                                 _not_done),
    events.Abandon: EventRule(_at("abandon"), _abandon, _in_words),
    events.OpenArea: EventRule(_at("home"), _open_area, _role_fits),
    events.UseArea: EventRule(frozenset(AREAS), _use_area),
    events.FaultSeen: EventRule(_SIGNED_IN | {"pin", "sign_in"}, _fault_seen, _concerns),
    events.WorkerEnded: EventRule(_ANYWHERE, _worker_ended),
    events.WorkerSilent: EventRule(_at("check", "capture", "analysis", "pin"), _worker_silent,
                                   _is_waited_for),
    events.FaultCleared: EventRule(_ANYWHERE, _fault_cleared, _is_this_fault),
    events.TryAgain: EventRule(_at("fault"), _try_again),
    events.GoOn: EventRule(_at("fault"), _go_on, _passes),
    events.Restarted: EventRule(_ANYWHERE, _restarted),
}  # fmt: skip
