"""All that the kiosk knows of what it is doing: one record, stored after every event.

After a power cut the kiosk goes on from it. Nothing in it names a patient; a PIN is never in it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgehemo.anaemia.who_grade import Grade, Person, Sex
from edgehemo.errors import RecordsError
from edgehemo.files.strict import Count, NonNegative, Record, RecordError, Share, Text
from edgehemo.kiosk.faults import FaultCode
from edgehemo.kiosk.practice_slides import SlideName
from edgehemo.kiosk.screens import Place, SampleStep, Screen
from edgehemo.records.identifiers import SampleFrom
from edgehemo.records.users import Role

STATE_SCHEMA: Literal["edgehemo.kiosk-state/1"] = "edgehemo.kiosk-state/1"
# Samples that were begun and are not done; one more is refused until one of them ends.
MAX_SAMPLES = 8
# Cells on a page of the gallery: two rows of large targets on the smallest screen.
CELLS_PER_PAGE = 8


class Answers(Record, frozen=True, kw_only=True):
    """What was answered of a person; None where it was not yet. pregnant: 0 no, else the trimester.
    smokes: None where it was not asked either.
    """

    age_years: Annotated[float, Meta(ge=0, le=125)] | None = None
    sex: Sex | None = None
    pregnant: Annotated[int, Meta(ge=0, le=3)] | None = None
    smokes: bool | None = None
    altitude_m: float = 0.0

    def person(self) -> Person | None:
        """As the grade takes it; None before an age is known."""
        if self.age_years is None:
            return None
        return Person(
            age_years=self.age_years,
            sex=self.sex,
            pregnancy_trimester=self.pregnant or None,
            altitude_m=self.altitude_m,
            smoker=self.smokes,
        )


class Checked(Record, frozen=True, kw_only=True):
    """One line of the self-check. name: what was looked at. verdict: ``unset`` of what this device
    does not have yet. code: what is wrong, of the guidance catalogue. blocks: whether a sample may
    not begin for it. fact: a few words or a number, such as ``38 %``.
    """

    name: Text
    verdict: Literal["good", "unset", "soon", "fails"]
    code: Text | None = None
    blocks: bool = False
    fact: str = ""


class Progress(Record, frozen=True, kw_only=True):
    """How far the fields of a sample are. red_cells: counted in the accepted ones. analysed: share
    of the last part that is done. at_s: when something was last heard of it.
    """

    accepted: Count = 0
    refused: Count = 0
    red_cells: Count = 0
    analysed: Share = 0.0
    at_s: NonNegative = 0.0


class Sample(Record, frozen=True, kw_only=True):
    """A sample that was begun and is not done.

    ref: what the kiosk calls it, from the first touch on. owner: who began it. step: where it
    stands. taking: what the records call it, and its result later; None before its first field.
    outcome: of its result. asked: cells of it that ask for a person; the first `must` of them were
    seen in findings, and are looked at before anybody signs. seen: those that have a person's word.
    page, open_cell: where in the gallery the person is; no cell is open on its pages. slide: of a
    practice, and signed_grade, gave_up: the grade a person set, and why it was given up; a practice
    is nowhere else.
    """

    ref: Count
    owner: Text
    step: SampleStep = "number"
    number: Text | None = None
    number_from: SampleFrom | None = None
    answers: Answers = Answers()
    taking: Text | None = None
    progress: Progress = Progress()
    outcome: Literal["reported", "withheld"] | None = None
    asked: Count = 0
    must: Count = 0
    seen: tuple[Count, ...] = ()
    page: Count = 0
    open_cell: Count | None = None
    slide: SlideName | None = None
    signed_grade: Grade | None = None
    gave_up: Text | None = None

    @property
    def practice(self) -> bool:
        """Whether it is on a simulated slide, and never stored."""
        return self.slide is not None

    @property
    def to_review(self) -> int:
        """How many must still be looked at."""
        return self.must - sum(item < self.must for item in self.seen)

    @property
    def pages(self) -> tuple[range, ...]:
        """The pages of the gallery: which cells each shows. Those of findings have their own."""
        return (*_paged(0, self.must), *_paged(self.must, self.asked))

    def page_of(self, item: int) -> int:
        """The page that shows a cell."""
        return next(number for number, items in enumerate(self.pages) if item in items)

    def next_unseen(self, after: int = -1) -> int | None:
        """The next cell without a person's word, from the beginning again after the last."""
        unseen = [item for item in range(self.asked) if item not in self.seen]
        return next((item for item in unseen if item > after), unseen[0] if unseen else None)


def _paged(first: int, end: int) -> tuple[range, ...]:
    return tuple(
        range(at, min(at + CELLS_PER_PAGE, end)) for at in range(first, end, CELLS_PER_PAGE)
    )


class SignedIn(Record, frozen=True, kw_only=True):
    """Who works now. viewer: the browser that steers; no other does. locked: the PIN is asked for
    again before anything else.
    """

    name: Text
    role: Role
    viewer: Text
    locked: bool = False


class Asked(Record, frozen=True, kw_only=True):
    """A user whose PIN is asked for. wrong: of the last try. until_s: no other is taken before."""

    name: Text
    wrong: bool = False
    until_s: NonNegative = 0.0


class Fault(Record, frozen=True, kw_only=True):
    """What stops the work. trying: whether the device was asked to try again."""

    code: FaultCode
    trying: bool = False


class KioskState(Record, frozen=True, kw_only=True):
    """The whole state.

    place: where the person is, under what lies over it (`screen_of`). asked: whose PIN is asked
    for. hand: the sample that is worked on. since_s, heard_s: when the screen was come to and a
    person last did something, in seconds since 1970. ended: when the worker ended against its will.
    next_ref: of the next sample.
    """

    schema: Literal["edgehemo.kiosk-state/1"] = STATE_SCHEMA
    place: Place = "home"
    session: SignedIn | None = None
    asked: Asked | None = None
    samples: tuple[Sample, ...] = ()
    hand: Count | None = None
    checks: tuple[Checked, ...] | None = None
    fault: Fault | None = None
    ended: tuple[NonNegative, ...] = ()
    since_s: NonNegative = 0.0
    heard_s: NonNegative = 0.0
    next_ref: Count = 1

    @property
    def sample(self) -> Sample | None:
        """The sample in hand."""
        return next((each for each in self.samples if each.ref == self.hand), None)

    @property
    def waiting(self) -> tuple[Sample, ...]:
        """The samples that were left."""
        return tuple(each for each in self.samples if each.ref != self.hand)


def screen_of(state: KioskState) -> Screen:
    """What is shown: what lies over the place comes first."""
    if state.session is None:
        return "sign_in" if state.asked is None else "pin"
    if state.session.locked:
        return "pin"
    return state.place if state.fault is None else "fault"


def stored(state: KioskState) -> str:
    """As the records keep it."""
    return state.model_dump_json()


def restored(text: str) -> KioskState:
    """From what the records kept; RecordsError for what no kiosk of this version wrote."""
    try:
        return KioskState.model_validate(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecordError) as error:
        raise RecordsError(f"the kiosk's state cannot be read again: {error}") from None
