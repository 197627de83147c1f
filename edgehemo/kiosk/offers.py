"""What each page offers to be touched: nothing else that a page posts is taken.

The flow says what may be; a page offers less where something has no page yet. Tests hold this table
to the templates.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgehemo.kiosk.events import (
    Abandon,
    AnalyseNow,
    AskAbandon,
    Back,
    CheckAgain,
    ChooseUser,
    ConfirmPage,
    CopyToStick,
    DrawNumber,
    Event,
    Finish,
    GiveNumber,
    GivePerson,
    GoOn,
    Leave,
    Lock,
    NewSample,
    OpenArea,
    OpenPractice,
    OpenReview,
    OpenSignOff,
    OtherUser,
    Print,
    ReviewOne,
    ShowCell,
    Sign,
    SignOut,
    StartCapture,
    StopHandingOut,
    TakeUp,
    TryAgain,
    TurnPage,
)
from edgehemo.kiosk.screens import AREAS, Area, Screen
from edgehemo.kiosk.state import KioskState, screen_of

# The areas that have their pages (`area_table`); one without is not offered on the start page.
AREAS_WITH_PAGES: frozenset[Area] = frozenset(AREAS)
_ALL_OUT: frozenset[type[Event]] = frozenset({Leave})
OFFERED: Mapping[Screen, frozenset[type[Event]]] = {
    "sign_in": frozenset({ChooseUser}),
    "pin": frozenset({OtherUser}),
    "home": frozenset({NewSample, OpenPractice, TakeUp, OpenArea, SignOut, Lock}),
    "practice": frozenset({NewSample, Back}),
    "number": frozenset({GiveNumber, DrawNumber, Leave}),
    "person": frozenset({GivePerson, Back, Leave, AskAbandon}),
    "check": frozenset({CheckAgain, StartCapture, Back, Leave}),
    "capture": frozenset({AnalyseNow, Leave, AskAbandon}),
    "analysis": frozenset({Leave}),
    "result": frozenset({OpenReview, OpenSignOff, Leave, AskAbandon}),
    "review": frozenset({TurnPage, ShowCell, ReviewOne, ConfirmPage, OpenSignOff, Back, Leave}),
    "sign_off": frozenset({Sign, Back, Leave}),
    "done": frozenset({Print, CopyToStick, StopHandingOut, Finish, OpenPractice}),
    "abandon": frozenset({Abandon, Back}),
    "fault": frozenset({TryAgain, GoOn, Leave, AskAbandon}),
}


def is_offered(state: KioskState, event: Event) -> bool:
    """Whether the page of a state offers what was posted.

    A page that cannot be made, or is not there yet, offers the way out.
    """
    if isinstance(event, OpenArea) and event.area not in AREAS_WITH_PAGES:
        return False
    return type(event) in OFFERED.get(screen_of(state), frozenset()) | _ALL_OUT
