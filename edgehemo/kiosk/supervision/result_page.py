"""One stored result as a supervisor's pages show it: what it says, where it stands, what may be
done with it, and two of them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from edgehemo.kiosk.state import KioskState
from edgehemo.kiosk.supervision.history import grade_of
from edgehemo.kiosk.supervision.reasons import Deed, reason_in_words
from edgehemo.kiosk.supervision.result_list import moment, state_name
from edgehemo.measurands import MEASURAND_FACTS, MEASURANDS
from edgehemo.records.results import Change, State, StoredResult, Version
from edgehemo.records.versions import CHANGES
from edgehemo.report.verdict import Verdict, verdict_of
from edgehemo.words.language import Words

# What each deed is to the records.
CHANGE_OF: Mapping[Deed, Change] = {
    "sign": "signed",
    "hold": "held",
    "release": "released",
    "correct": "corrected",
    "withdraw": "withdrawn",
}
DEEDS: tuple[Deed, ...] = ("sign", "release", "hold", "correct", "withdraw")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a result stands. name: of its state. line: who brought it there, when and why. mark:
    why a failed control asks that it is confirmed; empty where none does. at_work: who works on its
    sample at the kiosk; empty where it is done with.
    """

    state: State
    name: str
    line: str
    mark: str
    at_work: str


def verdict(result: StoredResult, record: Mapping[str, Any], words: Words) -> Verdict:
    """What it says, a person's grade in the place of the computed one."""
    return verdict_of(record, words, override_of(result), result.person)


def override_of(result: StoredResult) -> str | None:
    """The grade that a person set; None where nobody did or it was taken away."""
    override: dict[str, str | None] = result.latest.amendments.get("override") or {}
    return override.get("grade")


def standing(
    result: StoredResult, mark: str | None, state: KioskState, words: Words, today: date
) -> Standing:
    """Where a result stands. mark: what `control_mark` says of it."""
    latest = result.latest
    name = state_name(words, latest.state)
    line = ""
    # A released result stands by whoever signed or corrected it before, not by who released it.
    made = [each for each in result.versions if each.change not in ("held", "released")]
    answered = made[-1] if latest.change == "released" else latest
    if answered.version > 1:
        line = _by(answered, words, today)
    if latest.change == "released":
        released = words._("Released {line}", line=_by(latest, words, today))
        line = f"{line}. {released}" if line else released
    said = ""
    if mark is not None and latest.state != "withdrawn":
        said = words._("The next control slide failed. Confirm this result before it is used.")
    return Standing(latest.state, name, line, said, at_work(result, state))


def _by(version: Version, words: Words, today: date) -> str:
    """Who made a version, when, and why."""
    when = moment(words, version.at, version.clock, today)
    line = words._("by {name}, {when}", name=version.by, when=when)
    return f"{line}: {reason_in_words(words, version.reason)}" if version.reason else line


def at_work(result: StoredResult, state: KioskState) -> str:
    """Who works on the sample of a result; empty where it is done with."""
    for sample in state.samples:
        if sample.taking == result.id and sample.step != "done" and not sample.practice:
            return sample.owner
    return ""


def deeds(result: StoredResult, state: KioskState) -> tuple[Deed, ...]:
    """What may be done with a result; nothing while its sample is worked on."""
    if at_work(result, state):
        return ()
    now = result.latest.state
    return tuple(deed for deed in DEEDS if now in CHANGES[CHANGE_OF[deed]][0])


def facts(result: StoredResult, words: Words, today: date) -> list[tuple[str, str]]:
    """Who took it, when and with what: name and value."""
    _ = words._
    taken = moment(words, result.made_at, result.clock, today)
    found = [(_("Taken"), ", ".join(part for part in (taken, result.operator) if part))]
    if result.person is not None:
        found.append((_("Person"), _person(result, words)))
    if result.sample_now != result.sample:
        found.append((_("Entered as"), result.sample))
    found.append((_("Result"), result.id))
    return found


def _person(result: StoredResult, words: Words) -> str:
    person = result.person
    assert person is not None
    years = person.age_years
    if years < 2:
        age = words.n_("{n} month", "{n} months", round(years * 12))
    else:
        age = words.n_("{n} year", "{n} years", int(years))
    sex = {"female": words._("Female"), "male": words._("Male")}.get(person.sex or "", "")
    parts = [sex, age]
    if person.pregnancy_trimester is not None:
        parts.append(words._("pregnant"))
    return ", ".join(part for part in parts if part)


def deed_name(words: Words, deed: Deed) -> str:
    """What a deed is called, for its button."""
    _ = words._
    return {
        "sign": _("Sign"),
        "hold": _("Hold"),
        "release": _("Release"),
        "correct": _("Set another grade"),
        "withdraw": _("Withdraw"),
    }[deed]


def deed_meaning(words: Words, deed: Deed) -> str:
    """What becomes of a result by a deed."""
    _ = words._
    return {
        "sign": _("You answer for this result with your name."),
        "hold": _("It must not be used until it is released."),
        "release": _("It is again what it was before it was held."),
        "correct": _("What was measured stays beside it."),
        "withdraw": _("It must never be used. This cannot be undone."),
    }[deed]


def deed_said(words: Words, deed: Deed) -> str:
    """What is told once it is done."""
    _ = words._
    return {
        "sign": _("Signed."),
        "hold": _("Held."),
        "release": _("Released."),
        "correct": _("The grade is set."),
        "withdraw": _("Withdrawn."),
    }[deed]


# -- two side by side -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of a comparison. same: whether both say the same; None where that says nothing."""

    name: str
    left: str
    right: str
    same: bool | None = None


def compared(
    left: tuple[StoredResult, Mapping[str, Any]],
    right: tuple[StoredResult, Mapping[str, Any]],
    words: Words,
    today: date,
) -> list[Compared]:
    """Two results, line by line; of measured values it says whether their intervals meet."""
    _ = words._
    lines = [
        _line(_("Taken"), [moment(words, r.made_at, r.clock, today) for r, _x in (left, right)]),
        _line(_("By"), [r.operator or "–" for r, _x in (left, right)]),
        _line(_("Grade"), [_grade(r, record, words) for r, record in (left, right)], compare=True),
    ]
    lines += [_interval(key, left[1], right[1], words) for key in MEASURANDS]
    lines += [
        _line(
            _("Fields accepted"),
            [
                _("{n} of {all}", n=words.number(r.accepted), all=words.number(r.examined))
                for r, _x in (left, right)
            ],
        ),
        _line(
            _("Red cells"),
            [words.number(rec["sample"]["counts"]["rbc"]["value"]) for _r, rec in (left, right)],
        ),
        _line(
            _("State"), [state_name(words, r.latest.state) for r, _x in (left, right)], compare=True
        ),
        _line(_("Models"), [r.bundle_sha256[:8] for r, _x in (left, right)], compare=True),
        _line(
            _("Profile"),
            [r.profile_sha256[:8] if r.profile_sha256 else "–" for r, _x in (left, right)],
            compare=True,
        ),
    ]
    return lines


def _line(name: str, values: Sequence[str], *, compare: bool = False) -> Compared:
    return Compared(name, values[0], values[1], values[0] == values[1] if compare else None)


def _grade(result: StoredResult, record: Mapping[str, Any], words: Words) -> str:
    override = result.latest.amendments.get("override")
    if override is not None:
        set_to = grade_of(words, override.get("grade") or "")
        return words._("{grade}, set by a person", grade=set_to)
    if record["withheld"] is not None:
        return words._("Withheld")
    anaemia = record["anaemia"]
    return grade_of(words, "" if anaemia is None else anaemia["grade"])


def _interval(
    key: str, left: Mapping[str, Any], right: Mapping[str, Any], words: Words
) -> Compared:
    facts_of = next(facts for name, facts in MEASURAND_FACTS.items() if name == key)
    unit = words.unit if key == "hgb_g_per_l" else facts_of.typeset_unit
    values, texts = [left["sample"][key], right["sample"][key]], []
    for value in values:
        if value is None:
            texts.append("–")
            continue
        parts = [
            words.hgb(value[part])
            if key == "hgb_g_per_l"
            else words.number(value[part], facts_of.shown_decimals)
            for part in ("value", "low", "high")
        ]
        texts.append("{} ({}–{})".format(*parts))
    same = None
    if None not in values:
        same = values[0]["low"] <= values[1]["high"] and values[1]["low"] <= values[0]["high"]
    return Compared(f"{facts_of.name}, {unit}", texts[0], texts[1], same)
