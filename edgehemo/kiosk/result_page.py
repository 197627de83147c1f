"""What the page of a result shows beside the verdict: how sure it is, what it does not say, and why
there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgehemo.anaemia.who_grade import Person
from edgehemo.guidance.codes import WithheldCode
from edgehemo.kiosk.who_bar import WhoBar, band_name, taken_off_g_per_l, who_bar
from edgehemo.report.verdict import Verdict, verdict_of
from edgehemo.words.language import Words

# Reasons for refusing fields that are shown, the commonest first.
SHOWN_REASONS = 3
# Why a result is withheld for what is on the slide; all else is the device's, and its caretaker's.
OF_THE_SLIDE: frozenset[WithheldCode] = frozenset(
    {"NO_IMAGE", "NOTHING_READABLE", "NO_FIELD_ACCEPTED"}
)
# Beyond it a probability says no more than that it is beyond.
_SURE = 0.99


@dataclass(frozen=True, slots=True)
class Refused:
    """Fields that were refused for one reason. share: of all that were taken, 0 to 1."""

    why: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class ResultPage:
    """verdict: what is said first. bar: None where there is no grade. sure: how sure it is, and on
    what it stands, in lines. not_said: what it does not mean. headline: why there is no result, in
    a few words. todo: in order. refused: of a withheld result.
    """

    verdict: Verdict
    bar: WhoBar | None
    sure: tuple[str, ...]
    not_said: tuple[str, ...]
    headline: str
    todo: tuple[str, ...]
    refused: tuple[Refused, ...]
    taken: int
    accepted: int


def result_page(
    record: Mapping[str, Any],
    words: Words,
    refusals: Sequence[tuple[str, int]] = (),
    override: str | None = None,
    person: Person | None = None,
) -> ResultPage:
    """Of a record as result.json holds it. refusals: codes of why fields were refused, and how
    often. override: the grade that a person set in the place of the computed one. person: whose
    blood it is, see `verdict_of`.
    """
    verdict = verdict_of(record, words, override, person)
    anaemia, hgb = record["anaemia"], record["sample"]["hgb_g_per_l"]
    held = record["withheld"]
    taken = record["sample"]["images"]
    return ResultPage(
        verdict=verdict,
        bar=None if anaemia is None or hgb is None else who_bar(anaemia, hgb, words),
        sure=_sure(record, words),
        not_said=_not_said(verdict, words),
        headline="" if held is None else _headline(held["code"], refusals, words),
        todo=verdict.todo if held is None else _mending(held["code"], refusals, words),
        refused=tuple(
            Refused(words.title(code), count, count / max(taken, 1))
            for code, count in refusals[:SHOWN_REASONS]
        ),
        taken=taken,
        accepted=record["sample"]["accepted"],
    )


def _sure(record: Mapping[str, Any], words: Words) -> tuple[str, ...]:
    _ = words._
    anaemia, sample = record["anaemia"], record["sample"]
    lines: list[str] = []
    if anaemia is not None:
        limit = words.hgb(anaemia["limit_g_per_l"] + taken_off_g_per_l(anaemia))
        share = _share(anaemia["probability_below_limit"], words)
        lines.append(_("Below {limit} {unit}: {share}", limit=limit, unit=words.unit, share=share))
        others = [band_name(words, g) for g in anaemia["possible"] if g != anaemia["grade"]]
        if others:
            lines.append(_("Also possible: {grades}.", grades=", ".join(others)))
    cells = round(sample["counts"]["rbc"]["value"])
    counted = _(
        "{cells} in {fields}",
        cells=words.n_("{n} red cell", "{n} red cells", cells),
        fields=words.n_("{n} field", "{n} fields", sample["accepted"]),
    )
    return (*lines, counted)


def _share(probability: float, words: Words) -> str:
    _ = words._
    if probability > _SURE:
        return _("over 99 %")
    if probability < 1 - _SURE:
        return _("under 1 %")
    return _("{share} %", share=words.number(probability * 100))


def _not_said(verdict: Verdict, words: Words) -> tuple[str, ...]:
    _ = words._
    if verdict.shape == "withheld":
        return (_("It says nothing of this person: neither ill nor healthy."),)
    if verdict.shape == "ungraded":
        return (_("It does not say that there is no anaemia."),)
    if verdict.shape == "none":
        return (
            _("It does not say that the person is healthy."),
            _("It does not look for other illness."),
        )
    return (
        _("It does not say why there is anaemia."),
        _("It does not replace a blood count."),
    )


def _headline(code: str, refusals: Sequence[tuple[str, int]], words: Words) -> str:
    """Of fields that were all refused, what most of them were refused for."""
    if code in OF_THE_SLIDE:
        return words.title(refusals[0][0]) if refusals else words._("No field could be trusted.")
    return words.title(code)


def _mending(code: str, refusals: Sequence[tuple[str, int]], words: Words) -> tuple[str, ...]:
    """What to do where the result is withheld: first what mends it, if a hand can."""
    _ = words._
    again = _("If it happens again, refer the person.")
    if code not in OF_THE_SLIDE:
        return (_("Tell whoever looks after this device: {code}.", code=code), again)
    first = words.guidance(refusals[0][0]).action if refusals else _("Make a new smear.")
    return (first, _("Then screen again under the same number."), again)
