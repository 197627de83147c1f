"""What the kiosk is told: by people through the page, and by the device."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from edgehemo.anaemia.who_grade import Sex
from edgehemo.errors import UsageError
from edgehemo.files.strict import Count, NonNegative, RecordError, Share
from edgehemo.kiosk.faults import FaultCode
from edgehemo.kiosk.practice_slides import SlideName
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.state import Checked
from edgehemo.records.users import Role

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Reason = Annotated[str, Meta(max_length=500)]
# Why a sample is given up; "other" asks for words.
AbandonReason = Literal["poor_smear", "wrong_sample", "person_left", "device_fault", "other"]
ABANDON_REASONS: tuple[AbandonReason, ...] = get_args(AbandonReason)
# Why a person sets another grade; "other" asks for words.
OverrideReason = Literal["measured", "signs", "cells", "other"]
OVERRIDE_REASONS: tuple[OverrideReason, ...] = get_args(OverrideReason)


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """Base of all events."""


class PersonEvent(Event, frozen=True):
    """What the person who steers does; the page posts these and no others."""


class DeviceEvent(Event, frozen=True):
    """What the device notices or has done."""


# -- who works ------------------------------------------------------------------------------------


class ChooseUser(PersonEvent, frozen=True):
    """A tile of the sign-in page."""

    name: Name


class OtherUser(PersonEvent, frozen=True):
    """Back from the PIN to the tiles; a sample in hand is left where it is."""


class SignOut(PersonEvent, frozen=True):
    """The end of somebody's work; a sample in hand is left."""


class Lock(PersonEvent, frozen=True):
    """The PIN is to be asked for again; the sample stays in hand."""


class SignIn(DeviceEvent, frozen=True):
    """A PIN was right. viewer: the browser it was typed in, which steers from now on."""

    name: Name
    role: Role
    viewer: Name


class PinRefused(DeviceEvent, frozen=True):
    """A PIN was wrong, or came too early. wait_s: before the next try."""

    name: Name
    wait_s: NonNegative


class Idle(DeviceEvent, frozen=True):
    """Nobody has touched the page for long."""


# -- a sample -------------------------------------------------------------------------------------


class OpenPractice(PersonEvent, frozen=True):
    """To the slides to practise on; from the end of a practice too."""


class NewSample(PersonEvent, frozen=True):
    """Begin one. slide: to practise on, never stored. altitude_m: of the site, which the device
    knows.
    """

    slide: SlideName | None = None
    altitude_m: Annotated[float, Meta(ge=-450, lt=5000)] = 0.0


class TakeUp(PersonEvent, frozen=True):
    """Go on with a sample that was left."""

    ref: Count


class GiveNumber(PersonEvent, frozen=True):
    """The number of the label."""

    number: Name
    how: Literal["typed", "scanned"] = "typed"


class DrawNumber(PersonEvent, frozen=True):
    """There is no label: the device is to draw a number."""


class NumberDrawn(DeviceEvent, frozen=True):
    """The number that was drawn; it is not given again."""

    ref: Count
    number: Name


class GivePerson(PersonEvent, frozen=True):
    """The answers that set the limit."""

    age_years: Annotated[float, Meta(ge=0, le=125)]
    sex: Sex | None = None
    pregnant: Annotated[int, Meta(ge=0, le=3)] | None = None
    smokes: bool | None = None


class CheckAgain(PersonEvent, frozen=True):
    """Run the self-check again."""


class SelfChecked(DeviceEvent, frozen=True):
    """What the self-check found."""

    checks: tuple[Checked, ...]


class StartCapture(PersonEvent, frozen=True):
    """To the live picture."""


class SampleBegun(DeviceEvent, frozen=True):
    """The records know the sample now."""

    ref: Count
    taking: Name


class FieldRead(DeviceEvent, frozen=True):
    """A field was taken or refused and is on the disk. red_cells: in all accepted ones."""

    ref: Count
    accepted: Count
    refused: Count
    red_cells: Count


class WorkerAlive(DeviceEvent, frozen=True):
    """A picture came, or a part of the analysis is done (0 to 1)."""

    ref: Count
    analysed: Share = 0.0


class EnoughFields(DeviceEvent, frozen=True):
    """The rule of the sample is satisfied."""

    ref: Count


class AnalyseNow(PersonEvent, frozen=True):
    """Go on with the fields there are."""


class Analysed(DeviceEvent, frozen=True):
    """The result is stored; on the disk. asked: cells that ask for a person; the first `must` of
    them were seen in findings.
    """

    ref: Count
    outcome: Literal["reported", "withheld"]
    asked: Count
    must: Count


class OpenReview(PersonEvent, frozen=True):
    """To the cells that ask for a person."""


class TurnPage(PersonEvent, frozen=True):
    """To another page of them."""

    page: Count


class ShowCell(PersonEvent, frozen=True):
    """One of them alone, with its possible names."""

    item: Count


class ReviewOne(PersonEvent, frozen=True):
    """A person's word on the cell that is open. type: None confirms."""

    item: Count
    type: Name | None = None


class ConfirmPage(PersonEvent, frozen=True):
    """The cells of a page that have no word yet are what the findings say."""

    page: Count


class OpenSignOff(PersonEvent, frozen=True):
    """To the last page."""


class Sign(PersonEvent, frozen=True):
    """Sign the result. grade: in the place of the computed one; None keeps it. because, reason: why
    it was changed, and in words.
    """

    grade: Literal["none", "mild", "moderate", "severe"] | None = None
    because: OverrideReason | None = None
    reason: Reason = ""


class Signed(DeviceEvent, frozen=True):
    """The signed version is on the disk."""

    ref: Count


class Print(PersonEvent, frozen=True):
    """The report, on the kiosk's printer; done beside the flow (`edgehemo.kiosk.handing_out`)."""


class CopyToStick(PersonEvent, frozen=True):
    """The report and what was measured, on the USB stick; likewise."""


class StopHandingOut(PersonEvent, frozen=True):
    """What is printed or copied is not waited for any more."""


class Finish(PersonEvent, frozen=True):
    """A signed sample is done with."""


class Back(PersonEvent, frozen=True):
    """One step back."""


class Leave(PersonEvent, frozen=True):
    """To the start page; the sample waits at its step."""


class AskAbandon(PersonEvent, frozen=True):
    """The sample is to be given up: why?"""


class Abandon(PersonEvent, frozen=True):
    """Give it up."""

    reason: AbandonReason
    words: Reason = ""


# -- areas, faults --------------------------------------------------------------------------------


class OpenArea(PersonEvent, frozen=True):
    """A part of the kiosk beside the samples."""

    area: Area


class UseArea(PersonEvent, frozen=True):
    """Somebody looks at a page of the area that is open, or does something on it."""


class FaultSeen(DeviceEvent, frozen=True):
    """Something stops the work."""

    code: FaultCode


class WorkerEnded(DeviceEvent, frozen=True):
    """The process that captures and analyses ended against its will."""

    memory: bool = False


class WorkerSilent(DeviceEvent, frozen=True):
    """Nothing was heard of the process that captures and analyses for too long: it hangs."""


class FaultCleared(DeviceEvent, frozen=True):
    """It is mended; another fault that came since stays."""

    code: FaultCode


class TryAgain(PersonEvent, frozen=True):
    """The person says that it is mended."""


class GoOn(PersonEvent, frozen=True):
    """Go on without it."""


class Restarted(DeviceEvent, frozen=True):
    """The kiosk came up again: after a power cut, an update, an end of its server.

    lost: samples that the records do not know any more.
    """

    lost: tuple[Count, ...] = ()


def _kinds(base: type[Event]) -> tuple[type[Event], ...]:
    return tuple(base.__subclasses__())


PERSON_EVENTS: tuple[type[Event], ...] = _kinds(PersonEvent)
DEVICE_EVENTS: tuple[type[Event], ...] = _kinds(DeviceEvent)
EVENTS: tuple[type[Event], ...] = (*PERSON_EVENTS, *DEVICE_EVENTS)
_BY_NAME = {kind.__name__.lower(): kind for kind in PERSON_EVENTS}


def person_event(name: str, values: dict[str, Any]) -> Event:
    """What the page posted, as an event. UsageError for what is none.

    values: text as forms have it; numbers and truth are read from it.
    """
    kind = _BY_NAME.get(name)
    if kind is None:
        raise UsageError("the page asked for what this kiosk does not know")
    try:
        return msgspec.convert(values, kind, strict=False)
    except (msgspec.ValidationError, RecordError):
        raise UsageError("something on the page was not filled in as it must be") from None
