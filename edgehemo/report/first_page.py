"""The first page: whose sample, the grade and what to do, the numbers, how sure, who signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from edgehemo.anaemia.who_grade import limits
from edgehemo.measurands import BLOOD_FACTS, BloodQuantity
from edgehemo.report.quality_words import quantity_name
from edgehemo.report.result import DEMONSTRATION_NOTICE, NOTICE, SIMULATED_NOTICE
from edgehemo.report.standing import Standing, VersionSaid
from edgehemo.report.told import advised, told
from edgehemo.report.verdict import Verdict, grade_name
from edgehemo.report.view import (
    Attention,
    Band,
    Banner,
    Fact,
    GradeScale,
    Headings,
    Quantity,
    Signature,
)
from edgehemo.words.language import Words

# The ends of the haemoglobin scale, g/L.
SCALE_LOW, SCALE_HIGH = 40.0, 180.0
_GRADES = ("severe", "moderate", "mild", "none")
_G_PER_L: frozenset[BloodQuantity] = frozenset({"hgb_g_per_l", "mchc_g_per_l"})


def headings(words: Words) -> Headings:
    """The words of the first page's parts."""
    _ = words._
    return Headings(
        todo=_("What to do next"),
        sure=_("How sure, and why"),
        numbers=_("Numbers"),
        interval=_("95 % interval"),
        attention=_("Have a person look"),
        not_given=_("Not given, and why"),
        evidence=_("What it stands on"),
    )


def notice(words: Words) -> str:
    """What every report says."""
    return words.known(NOTICE)


def banners(
    record: Mapping[str, Any], words: Words, standing: Standing | None, *, practice: bool
) -> tuple[Banner, ...]:
    """What must be read before all else, the loudest first."""
    _ = words._
    said: list[Banner] = []
    if practice:
        said.append(Banner(_("PRACTICE: nothing of this was stored. It is nobody's result."), True))
    if record["simulated"]:
        said.append(Banner(words.known(SIMULATED_NOTICE), True))
    if standing is not None:
        said += _of_standing(standing, words)
    calibration = record["sample"]["calibration"]
    if calibration == "demonstration":
        said.append(Banner(words.known(DEMONSTRATION_NOTICE), True))
    elif calibration == "none" and record["withheld"] is None:
        said.append(
            Banner(
                _(
                    "NOT CALIBRATED: this microscope was not compared with a laboratory's "
                    "analyser. There is no haemoglobin and no grade."
                ),
                True,
            )
        )
    return tuple(said)


def _of_standing(standing: Standing, words: Words) -> list[Banner]:
    _ = words._
    said: list[Banner] = []
    latest = standing.versions[-1]
    if standing.state == "withdrawn":
        said.append(
            Banner(
                _(
                    "WITHDRAWN by {name}, {when}. Do not use this result.",
                    name=latest.by,
                    when=moment_of(latest, words),
                ),
                True,
            )
        )
    if standing.state == "held":
        said.append(
            Banner(
                _(
                    "HELD by {name}, {when}. Do not use this result before it is released.",
                    name=latest.by,
                    when=moment_of(latest, words),
                ),
                True,
            )
        )
    if standing.state in ("held", "withdrawn") and latest.reason:
        said.append(Banner(_("Why: {reason}", reason=latest.reason)))
    if standing.control_mark is not None:
        mark = _("CONTROL FAILED: a later check of a control slide failed. Confirm this result.")
        said.append(Banner(standing.control_mark if words.language == "en" else mark, True))
    if not standing.clock_set:
        said.append(
            Banner(
                _("The clock was not set when this was made: its date cannot be believed."), True
            )
        )
    return said


def moment_of(version: VersionSaid, words: Words) -> str:
    """When a version was made, as far as it may be told."""
    return version.month if version.at is None else words.moment(version.at)


def facts(
    record: Mapping[str, Any], words: Words, standing: Standing | None, made_at: datetime
) -> tuple[Fact, ...]:
    """Whose the sample is, where, when and by what."""
    _ = words._
    labels = record["labels"]
    if standing is None:
        when = words.moment(made_at)
    else:
        when = standing.month if standing.taken_at is None else words.moment(standing.taken_at)
    rows = (
        Fact(_("Sample"), labels["sample"] or ""),
        Fact(_("Site"), labels["site"] or ""),
        Fact(_("Operator"), labels["operator"] or ""),
        Fact(_("Device"), "" if standing is None else standing.device),
        Fact(_("Taken"), when),
        Fact(_("Result"), record.get("result_id") or "", code=True),
        Fact(_("Version"), "" if standing is None else words.number(standing.versions[-1].version)),
    )
    return tuple(row for row in rows if row.value)


def quantities(record: Mapping[str, Any], words: Words) -> tuple[Quantity, ...]:
    """The numbers that are given, with their intervals in the site's unit."""
    sample = record["sample"]
    return tuple(_quantity(key, sample[key], words) for key in BLOOD_FACTS if sample[key])


def _quantity(key: BloodQuantity, given: Mapping[str, float], words: Words) -> Quantity:
    facts = BLOOD_FACTS[key]
    concentration = key in _G_PER_L

    def shown(value: float) -> str:
        return words.hgb(value) if concentration else words.number(value, facts.shown_decimals)

    return Quantity(
        name=quantity_name(words, key),
        value=shown(given["value"]),
        unit=words.unit if concentration else facts.typeset_unit,
        interval=words._(
            "95 %: {low} to {high}", low=shown(given["low"]), high=shown(given["high"])
        ),
    )


def interval_text(words: Words, low: str, high: str) -> str:
    """An interval, its ends as they are printed."""
    return words._("{low} to {high}", low=low, high=high)


def chance(probability: float, words: Words) -> str:
    """A probability as a share, never rounded to certainty."""
    if probability > 0.99:
        return words._("over {share}", share=words.percent(0.99))
    if probability < 0.01:
        return words._("under {share}", share=words.percent(0.01))
    return words.percent(probability)


def sure(record: Mapping[str, Any], verdict: Verdict, words: Words) -> tuple[str, ...]:
    """How sure the result is, and why."""
    _ = words._
    sample, anaemia = record["sample"], record["anaemia"]
    said: list[str] = []
    if record["withheld"] is not None:
        held = record["withheld"]
        said.append(told(words, held["reason"], held["code"]))
    elif verdict.why:
        said.append(verdict.why if verdict.why.endswith(".") else f"{verdict.why}.")
    if anaemia is not None:
        said.append(
            _(
                "Probability of a haemoglobin below {limit} {unit} ({group}): {chance}.",
                limit=words.hgb(anaemia["limit_g_per_l"] + taken_off_g_per_l(anaemia)),
                unit=words.unit,
                group=words.known(anaemia["group"]),
                chance=chance(anaemia["probability_below_limit"], words),
            )
        )
        if verdict.possible:
            said.append(
                _("The interval also allows: {grades}.", grades=", ".join(verdict.possible))
            )
        if taken_off_g_per_l(anaemia):
            said.append(
                _(
                    "Limits moved up for this person: {altitude} {unit} for altitude, {smoking} "
                    "{unit} for smoking.",
                    altitude=words.hgb(anaemia["altitude_g_per_l"]),
                    smoking=words.hgb(anaemia["smoking_g_per_l"]),
                    unit=words.unit,
                )
            )
    said.append(f"{verdict.counted}.")
    if sample["counting_error"] is not None and record["withheld"] is None:
        said.append(
            _(
                "Chance alone moves the count of red cells by ± {share} (95 %).",
                share=words.percent(sample["counting_error"], 1),
            )
        )
    return tuple(said)


def todo(record: Mapping[str, Any], verdict: Verdict, words: Words) -> tuple[str, ...]:
    """What to do next: of a withheld result first what its fault needs."""
    held = record["withheld"]
    if held is None:
        return verdict.todo
    return tuple(dict.fromkeys((advised(words, held["action"]), *verdict.todo)))


def attention(record: Mapping[str, Any], words: Words) -> tuple[Attention, ...]:
    """Findings and doubts: what a person must look at or settle."""
    sample = record["sample"]
    return tuple(
        Attention(told(words, item["reason"], item["code"]), advised(words, item["action"]))
        for item in (*sample["findings"], *sample["doubts"])
    )


def not_given(record: Mapping[str, Any], words: Words) -> tuple[Fact, ...]:
    """What of a reported sample was withheld, and why; what has one reason stands together."""
    _ = words._
    sample = record["sample"]
    if record["withheld"] is not None:
        return ()
    names: dict[str, list[str]] = {}
    for key in BLOOD_FACTS:
        if sample[key] is None:
            why = told(words, sample["reasons"].get(key, ""), sample["reason_codes"].get(key))
            names.setdefault(why, []).append(BLOOD_FACTS[key].name)
    said = [Fact(", ".join(group), why) for why, group in names.items()]
    types = sample["types"]
    if record["anaemia"] is None:
        said.append(Fact(_("WHO grade"), told(words, record["anaemia_reason"])))
    if types is not None and types["red_cells"] is None:
        said.append(Fact(_("Shares of red-cell types"), told(words, types["red_cells_reason"])))
    if types is not None and types["white_cells"] is None:
        said.append(Fact(_("Types of white cells"), told(words, types["white_cells_reason"])))
    return tuple(said)


def taken_off_g_per_l(anaemia: Mapping[str, Any]) -> float:
    """What the grade took off the measured haemoglobin for altitude and smoking, g/L."""
    return float(anaemia["altitude_g_per_l"] + anaemia["smoking_g_per_l"])


def grade_scale(anaemia: Mapping[str, Any] | None, words: Words) -> GradeScale | None:
    """Where the measured haemoglobin and its interval lie between the limits of this person: of
    the group, moved up by what the grade takes off. None where there is no grade.
    """
    if anaemia is None:
        return None
    _ = words._
    off, adjusted = taken_off_g_per_l(anaemia), anaemia["adjusted_hgb_g_per_l"]
    value, low, high = (adjusted[part] + off for part in ("value", "low", "high"))
    table = limits()
    groups = [group.limits for group in table.groups] + list(table.trimesters.values())
    group = next(one for one in groups if one.name == anaemia["group"])
    inner = [edge + off for edge in (group.severe_below, group.moderate_below, group.limit)]
    edges = [SCALE_LOW, *inner, SCALE_HIGH]
    ranges = [
        _("below {value}", value=words.hgb(inner[0])),
        *(
            _("{low} to below {high}", low=words.hgb(start), high=words.hgb(end))
            for start, end in pairwise(inner)
        ),
        _("{value} and more", value=words.hgb(inner[-1])),
    ]

    def at(g_per_l: float) -> float:
        share = (g_per_l - SCALE_LOW) / (SCALE_HIGH - SCALE_LOW)
        return round(min(max(share, 0.0), 1.0), 4)

    bands = tuple(
        Band(name, at(start), at(end), grade_name(words, name), text)
        for name, start, end, text in zip(_GRADES, edges, edges[1:], ranges, strict=False)
    )
    return GradeScale(
        bands=bands,
        ticks=tuple((at(edge), words.hgb(edge)) for edge in inner),
        value=at(value),
        low=at(low),
        high=at(high),
        unit=words.unit,
        said=_(
            "Haemoglobin {value} {unit} ({low} to {high}) on the WHO grades",
            value=words.hgb(value),
            unit=words.unit,
            low=words.hgb(low),
            high=words.hgb(high),
        ),
    )


def signature(words: Words, standing: Standing | None, *, is_stored: bool) -> Signature:
    """Who answers for the result. is_stored: it lies in the records of a device."""
    _ = words._
    title, signed_by, on = _("Signature"), _("Signed by"), _("on")
    unsigned = _("Not signed: preliminary. Nobody has answered for this result yet.")
    if standing is None:
        lines = [unsigned]
        if not is_stored:
            lines.append(_("Not stored in the records of a device."))
        return Signature(title, tuple(lines), True, signed_by, on)
    lines = []
    signed = next((v for v in reversed(standing.versions) if v.change == "signed"), None)
    if signed is None:
        lines.append(unsigned)
    else:
        lines.append(
            _(
                "Signed by {name}, {when}, version {version}.",
                name=signed.by,
                when=moment_of(signed, words),
                version=words.number(signed.version),
            )
        )
    for version in standing.versions:
        if version.change == "corrected":
            said = _(
                "Corrected by {name}, {when}, version {version}.",
                name=version.by,
                when=moment_of(version, words),
                version=words.number(version.version),
            )
            why = "" if not version.reason else " " + _("Why: {reason}", reason=version.reason)
            lines.append(said + why)
        lines += changed(version, words)
    if standing.comment is not None:
        lines.append(_("Comment: {comment}", comment=standing.comment))
    is_open = signed is None and standing.state != "withdrawn"
    return Signature(title, tuple(lines), is_open, signed_by, on)


def changed(version: VersionSaid, words: Words) -> Sequence[str]:
    """What a version set in the place of what was measured, in sentences."""
    _ = words._
    amended = version.amended
    said: list[str] = []
    if amended.sample is not None:
        before, after = amended.sample
        said.append(
            _("Sample number: {after} in the place of {before}.", before=before, after=after)
        )
    if amended.grade is not None:
        said.append(
            _("Grade set by a person: {grade}.", grade=grade_name(words, amended.grade))
            if amended.grade
            else _("A person withdrew the grade.")
        )
    if amended.cells:
        said.append(
            words.n_("{n} cell named by a person.", "{n} cells named by a person.", amended.cells)
        )
    return said


def note(record: Mapping[str, Any], words: Words, standing: Standing | None) -> str:
    """Under the verdict: that a person set it, and what the program had said."""
    _ = words._
    if standing is None or standing.grade is None:
        return _("Screening only, not a diagnosis.")
    anaemia = record["anaemia"]
    estimated = _("No grade") if anaemia is None else grade_name(words, anaemia["grade"])
    return _("Set by a person. The program said: {grade}.", grade=estimated)
