"""A state as a page: what the templates are given, and nothing else."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from jinja2 import TemplateNotFound

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.due_today import due_today
from edgehemo.errors import RecordsError
from edgehemo.guidance.codes import Advice
from edgehemo.interop.outbox import NOTHING_OUT, Outgoing, delivery_of
from edgehemo.kiosk.area import Shown, Went
from edgehemo.kiosk.delivery_words import DeliveryLine, delivery_lines, refused_words, waiting_words
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.errands import Errand
from edgehemo.kiosk.events import (
    ABANDON_REASONS,
    OVERRIDE_REASONS,
    AbandonReason,
    OverrideReason,
)
from edgehemo.kiosk.faults import CARETAKER, FAULTS
from edgehemo.kiosk.gallery import Gallery
from edgehemo.kiosk.help import HelpedPage, help_of
from edgehemo.kiosk.new_pins import pin_rule
from edgehemo.kiosk.not_released import NotReleased, not_released
from edgehemo.kiosk.offers import AREAS_WITH_PAGES
from edgehemo.kiosk.practice import Lesson, lesson, slide_name
from edgehemo.kiosk.practice_slides import SLIDE_NAMES, SLIDES
from edgehemo.kiosk.result_page import result_page
from edgehemo.kiosk.review_words import said_of
from edgehemo.kiosk.role_names import role_name
from edgehemo.kiosk.screens import Area, SampleStep, areas_of, counted_step
from edgehemo.kiosk.state import Checked, KioskState, Sample, screen_of
from edgehemo.kiosk.steering import has_updates, waiting_updates
from edgehemo.kiosk.viewers import steers
from edgehemo.pages.environment import page_environment
from edgehemo.records.pins import LONGEST, SHORTEST
from edgehemo.records.results import result_of
from edgehemo.records.reviews import Review, reviews_of
from edgehemo.records.users import User, users
from edgehemo.report.asked_cells import INCLUSIONS, AskedCell
from edgehemo.report.verdict import GRADES, grade_name
from edgehemo.words.cell_names import cell_name
from edgehemo.words.language import NAMES, Words, offered

log = logging.getLogger(__name__)

# What is shown where there is no page to show.
NO_PAGE = "no_page.html.j2"
# Tiles of the sign-in page that fit on the smallest screen.
TILES = 6


def step_names(words: Words) -> tuple[str, ...]:
    """What the counted steps are called, in order."""
    _ = words._
    return (
        _("Sample"), _("Check"), _("Capture"), _("Analyse"), _("Result"), _("Review"),
        _("Sign off"),
    )  # fmt: skip


def step_name(words: Words, step: SampleStep) -> str:
    """What the step of a sample is called."""
    return step_names(words)[counted_step(step) - 1]


def area_name(words: Words, area: Area) -> str:
    """What a part of the kiosk beside the samples is called."""
    _ = words._
    return {
        "results": _("Results"),
        "monitoring": _("Charts"),
        "users": _("People"),
        "backup": _("Backup"),
        "updates": _("Updates"),
        "equipment": _("Camera"),
        "calibration": _("Calibration"),
        "artefacts": _("Models and profiles"),
        "doctor": _("Device check"),
    }[area]


def reason_name(words: Words, reason: AbandonReason) -> str:
    """Why a sample is given up."""
    _ = words._
    return {
        "poor_smear": _("The smear is poor"),
        "wrong_sample": _("It is the wrong sample"),
        "person_left": _("The person has left"),
        "device_fault": _("The device does not work"),
        "other": _("Another reason"),
    }[reason]


def override_reason_name(words: Words, reason: OverrideReason) -> str:
    """Why a person sets another grade."""
    _ = words._
    return {
        "measured": _("Haemoglobin was measured"),
        "signs": _("The person looks ill"),
        "cells": _("The cells look different"),
        "other": _("Another reason"),
    }[reason]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the status line says of the device. full: share of the disk, 0 to 1; None unknown.
    outgoing: what is not with its receivers.
    """

    simulated: bool
    now: datetime
    clock_set: bool
    full: float | None
    outgoing: Outgoing = NOTHING_OUT


@dataclass(frozen=True, slots=True)
class Look:
    """How one viewer sees the page."""

    words: Words
    theme: str = "light"


@dataclass(frozen=True, slots=True)
class OnArea:
    """A page of an area. here: its address, to come back to when something changes."""

    area: Area
    shown: Shown
    went: Went
    here: str


class Pages:
    """Renders the pages of one kiosk."""

    def __init__(self, device: DeviceConfiguration) -> None:
        self.device = device
        self._environment = page_environment("edgehemo.kiosk")

    def render(
        self,
        kiosk: Kiosk,
        viewer: str,
        token: str,
        look: Look,
        facts: Facts,
        problem: str = "",
        given: Mapping[str, str] | None = None,
        errand: Errand | None = None,
        said: str = "",
    ) -> str:
        """The page of the state. problem: what was wrong with the last input, in words. given: what
        of it stands in its place again. errand: what is printed or copied of a signed result.
        said: what was done, in words.

        For a state without a page, or whose page needs what the records cannot give, a page that
        says so, with the way out.
        """
        state = kiosk.state
        screen = screen_of(state)
        watched = not steers(state, viewer)
        name: HelpedPage = "watched" if watched else screen
        if name == "done" and state.sample is not None and state.sample.practice:
            name = "practice_done"
        words = look.words
        try:
            template = self._environment.get_template(f"{name}.html.j2")
            needed = self._of_screen(kiosk, state, name, words)
        except TemplateNotFound:
            log.error("there is no page for %s", screen)
            template = self._environment.get_template(NO_PAGE)
            needed = {"told": None}
        except RecordsError as error:
            log.error("%s", error)
            template = self._environment.get_template(NO_PAGE)
            needed = {"told": words.guidance("RECORDS_REFUSED")}
        values = {
            "state": state,
            "sample": state.sample,
            "screen": screen,
            "token": token,
            "problem": problem,
            "said": said,
            "languages": [(code, NAMES[code]) for code in offered()],
            "steps": step_names(words),
            "step_now": None if state.sample is None else counted_step(state.sample.step),
            "version": kiosk.version,
            "help": help_of(words, name),
            "given": given or {},
            "errand": errand,
        }
        return template.render(_every_page(look, facts) | values | needed)

    def render_area(
        self, kiosk: Kiosk, token: str, look: Look, facts: Facts, on_area: OnArea
    ) -> str:
        """A page of the area that is open."""
        words = look.words
        given = {
            "state": kiosk.state,
            "screen": on_area.area,
            "where": area_name(words, on_area.area),
            "here": on_area.here,
            "token": token,
            "problem": on_area.went.problem,
            "said": on_area.went.said,
            "version": kiosk.version,
            "help": help_of(words, on_area.area),
        }
        template = self._environment.get_template(on_area.shown.template)
        return template.render(_every_page(look, facts) | given | dict(on_area.shown.values))

    def problem_page(self, look: Look, facts: Facts, title: str, action: str) -> str:
        """A page for what is no state: too many viewers, a page that does not exist."""
        template = self._environment.get_template("problem.html.j2")
        given = {"title": title, "action": action, "screen": "problem"}
        return template.render(_every_page(look, facts) | given)

    def token_page(self, look: Look, facts: Facts, wait_s: int, wrong: bool) -> str:
        """The page that asks a browser of the network for the token."""
        template = self._environment.get_template("token.html.j2")
        given = {"screen": "token", "wait_s": wait_s, "wrong": wrong}
        return template.render(_every_page(look, facts) | given)

    def _of_screen(
        self, kiosk: Kiosk, state: KioskState, name: str, words: Words
    ) -> dict[str, Any]:
        """What one screen needs besides."""
        if name == "sign_in":
            untold = None if state.fault is None else words.guidance(state.fault.code)
            return {
                "people": self._people(kiosk, state, words),
                "pin_digits": (SHORTEST, LONGEST),
                "pin_rule": pin_rule(words),
                "untold": untold,
            }
        if name == "pin":
            return {"asked": self._asked(kiosk, state, words), "pin_digits": (SHORTEST, LONGEST)}
        if name == "home":
            assert state.session is not None
            due = due_today(self.device.data_dir, datetime.now(UTC))
            return {
                "due": "" if due is None else words.guidance(due).title,
                "waiting": [(s, step_name(words, s.step)) for s in state.waiting],
                "areas": [
                    (area, area_name(words, area))
                    for area in areas_of(state.session.role)
                    if area in AREAS_WITH_PAGES and (area != "updates" or has_updates(self.device))
                ],
                "new": waiting_updates(self.device)
                if "updates" in areas_of(state.session.role)
                else 0,
                "role": role_name(words, state.session.role),
            }
        if name == "number":
            return {"known": self._known_numbers(kiosk, state)}
        if name == "practice":
            return {"slides": [(slide, slide_name(words, slide)) for slide in SLIDE_NAMES]}
        if name == "practice_done":
            assert state.sample is not None
            return {"lesson": self._lesson(kiosk, state.sample, words)}
        if name == "person":
            return {"altitude_m": self.device.kiosk.altitude_m}
        if name == "abandon":
            return {"reasons": [(r, reason_name(words, r)) for r in ABANDON_REASONS]}
        if name == "fault":
            assert state.fault is not None
            told = words.guidance(state.fault.code)
            by_hand = state.fault.code not in CARETAKER
            return {"told": told, "rule": FAULTS[state.fault.code], "by_hand": by_hand}
        if name == "check":
            return {"lines": self._checks(state, words), "blocks": _blocks(state)}
        if name == "capture":
            return {
                "small": [(each, self._why(each.code, words)) for each in kiosk.shown_fields],
                "wanted": self._fields_wanted(state),
                "advice": [(code, words.guidance(code).action) for code in get_args(Advice)],
            }
        if name in ("result", "sign_off", "done"):
            assert state.sample is not None
            gallery = kiosk.gallery(state.sample)
            record = gallery.record
            override = self._override(kiosk, state.sample, name)
            about = result_page(
                record, words, gallery.refusals, override, state.sample.answers.person()
            )
            computed = None if record["anaemia"] is None else record["anaemia"]["grade"]
            return {
                "about": about,
                "result": about.verdict,
                "flags": (about.verdict.flag,) if about.verdict.flag else (),
                "deliveries": self._deliveries(kiosk, state.sample, name, words),
                "warned": self._not_released(kiosk, state.sample, name, words),
                "grades": [(g, grade_name(words, g)) for g in GRADES if g != computed],
                "why_changed": [(r, override_reason_name(words, r)) for r in OVERRIDE_REASONS],
            }
        if name == "review":
            assert state.sample is not None
            gallery, said = kiosk.gallery(state.sample), self._said(kiosk, state.sample)
            return self._gallery(gallery, state.sample, said, words)
        if name == "watched":
            assert state.session is not None
            return {
                "who": state.session.name,
                "doing": self._doing(state, words),
                "locked": state.session.locked,
                "pin_digits": (SHORTEST, LONGEST),
            }
        return {}

    def _deliveries(
        self, kiosk: Kiosk, sample: Sample, name: str, words: Words
    ) -> list[DeliveryLine]:
        """Where a signed result is: noted here, received there."""
        if name != "done" or sample.taking is None or sample.practice:
            return []
        return delivery_lines(words, delivery_of(kiosk.writer, sample.taking))

    def _not_released(
        self, kiosk: Kiosk, sample: Sample, name: str, words: Words
    ) -> NotReleased | None:
        """Why a signed result should not be handed out, such as one that is held meanwhile."""
        if name != "done" or sample.taking is None or sample.practice:
            return None
        return not_released(kiosk.writer, result_of(kiosk.writer, sample.taking), words)

    def _people(self, kiosk: Kiosk, state: KioskState, words: Words) -> list[dict[str, Any]]:
        found = []
        for user in _users(kiosk):
            waiting = sum(1 for sample in state.samples if sample.owner == user.name)
            under = role_name(words, user.role)
            if waiting:
                under = words.n_("{n} sample to finish", "{n} samples to finish", waiting)
            found.append({"name": user.name, "role": user.role, "under": under})
        return found

    def _asked(self, kiosk: Kiosk, state: KioskState, words: Words) -> dict[str, Any]:
        locked = state.session
        name = locked.name if locked is not None else state.asked.name if state.asked else ""
        role = next((user.role for user in _users(kiosk) if user.name == name), None)
        asked = state.asked if state.asked is not None and state.asked.name == name else None
        until = 0.0 if asked is None else asked.until_s
        left = max(0, round(until - kiosk.clock()))
        return {
            "name": name,
            "role": role or "operator",
            "under": role_name(words, role) if role else "",
            "wrong": asked is not None and asked.wrong,
            "wait_s": left,
            "locked": locked is not None,
            "sample": None if locked is None or state.sample is None else state.sample.number,
        }

    def _why(self, code: str, words: Words) -> str:
        return words.guidance(code).title if code else ""

    def _override(self, kiosk: Kiosk, sample: Sample, name: str) -> str | None:
        """The grade that a person set when the result was signed."""
        if name != "done" or sample.taking is None:
            return None
        amendments = result_of(kiosk.writer, sample.taking).latest.amendments
        override: dict[str, str | None] = amendments.get("override", {})
        return override.get("grade")

    def _fields_wanted(self, state: KioskState) -> int:
        """Of a practice slide no more than it has."""
        wanted = self.device.screening.fields_wanted
        slide = None if state.sample is None else state.sample.slide
        return wanted if slide is None else min(wanted, SLIDES[slide].fields)

    def _lesson(self, kiosk: Kiosk, sample: Sample, words: Words) -> Lesson:
        practised = kiosk.practised(sample.ref)
        if sample.gave_up is not None:
            return lesson(sample, None, (), practised, words)
        gallery = kiosk.gallery(sample)
        return lesson(sample, gallery.record, gallery.cells, practised, words)

    def _said(self, kiosk: Kiosk, sample: Sample) -> Mapping[tuple[int, int], Review]:
        """What people said of the cells of a stored result, by field and cell."""
        if sample.practice or sample.taking is None:
            return {}
        found = reviews_of(kiosk.writer, result_of(kiosk.writer, sample.taking).number)
        return {(each.field, each.cell): each for each in found}

    def _gallery(
        self,
        gallery: Gallery,
        sample: Sample,
        said: Mapping[tuple[int, int], Review],
        words: Words,
    ) -> dict[str, Any]:
        """The cells of the page that is open, or the one cell with what it may be called."""
        items = sample.pages[sample.page]
        one = sample.open_cell
        shown = items if one is None else (one,)
        codes = dict.fromkeys(code for item in shown for code in gallery.cells[item].codes)
        cell = None if one is None else gallery.cells[one]
        names = () if cell is None else cell.choices

        def shown_cell(item: int) -> dict[str, Any]:
            return self._cell(gallery.cells[item], item, sample, said, words)

        return {
            "cells": [shown_cell(item) for item in items],
            "one": None
            if one is None
            else self._cell(gallery.cells[one], one, sample, said, words),
            "choices": [(each, cell_name(words, each)) for each in names],
            "findings": [words.title(code) for code in codes],
            "confirms": any(n < sample.must and n not in sample.seen for n in items),
        }

    def _cell(
        self,
        cell: AskedCell,
        item: int,
        sample: Sample,
        said: Mapping[tuple[int, int], Review],
        words: Words,
    ) -> dict[str, Any]:
        name = words._("Inclusion") if INCLUSIONS in cell.codes else cell_name(words, cell.type)
        # A confirmed cell is what the program says.
        review = said.get((cell.field, cell.cell))
        if review is not None and review.verdict != "confirmed":
            name = said_of(review, words)
        return {
            "item": item,
            "name": name,
            "found": bool(cell.codes),
            "seen": item in sample.seen,
        }

    def _known_numbers(self, kiosk: Kiosk, state: KioskState) -> str | None:
        return None if state.sample is None else state.sample.number

    def _checks(self, state: KioskState, words: Words) -> list[dict[str, Any]]:
        names = check_names(words)
        found = []
        for line in state.checks or ():
            told = None if line.code is None else words.guidance(line.code)
            found.append(
                {
                    "line": line,
                    "name": names.get(line.name, line.name),
                    "told": told,
                    "fact": fact_of(line, words),
                    "by_hand": line.code not in CARETAKER,
                }
            )
        return found

    def _doing(self, state: KioskState, words: Words) -> str:
        sample = state.sample
        if sample is None or sample.number is None:
            return ""
        return f"{sample.number}: {step_name(words, sample.step)}"


def _every_page(look: Look, facts: Facts) -> dict[str, Any]:
    """What every page is given; most pages have more."""
    words = look.words
    return {
        "_": words._,
        "n_": words.n_,
        "words": words,
        "look": look,
        "facts": facts,
        "state": None,
        "sample": None,
        "screen": "",
        "token": "",
        "problem": "",
        "said": "",
        "where": "",
        "here": "",
        "languages": [],
        "steps": (),
        "step_now": None,
        "version": 0,
        "help": "",
        "flags": (),
        "sending": waiting_words(words, facts.outgoing),
        "not_taken": refused_words(words, facts.outgoing),
    }


def check_names(words: Words) -> dict[str, str]:
    """What the lines of the self-check are called."""
    _ = words._
    return {
        "camera": _("Camera"),
        "lamp": _("Lamp"),
        "storage": _("Storage"),
        "clock": _("Clock"),
        "profile": _("Profile"),
        "bundle": _("Model bundle"),
        "control": _("Control slide"),
        "backup": _("Backup"),
    }


_SIZE = re.compile(r"(?P<value>\d+(?:\.\d+)?) GB")


def fact_of(line: Checked, words: Words) -> str:
    """What was found, as the language writes it. The state holds it without a language: free
    space in GB, days and times by ISO 8601.
    """
    if (size := _SIZE.fullmatch(line.fact)) is not None:
        return words._("{n} GB free", n=words.number(float(size["value"]), 1))
    if line.name == "backup" and not line.fact:
        return words._("none yet")
    if line.name == "control" and not line.fact:
        return words._("not set up")
    if line.name in ("clock", "control", "backup") and line.fact:
        try:
            at = datetime.fromisoformat(line.fact)
        except ValueError:
            return line.fact
        # A day alone has ten characters.
        return words.date(at) if len(line.fact) == 10 else f"{words.date(at)} {words.time(at)}"
    return line.fact


def _blocks(state: KioskState) -> bool:
    return state.checks is None or any(line.blocks for line in state.checks)


def _users(kiosk: Kiosk) -> Sequence[User]:
    try:
        return users(kiosk.writer)
    except RecordsError:
        return ()
