"""What a person must know of all this: how big, since when, why we say so, what to do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from edgehemo.guidance.catalogue import guidance_with
from edgehemo.guidance.codes import DriftCode
from edgehemo.monitor.events import Event, near
from edgehemo.monitor.judging import Judged
from edgehemo.monitor.names import DUE_ABOVE, Reviewed
from edgehemo.monitor.quantities import QUANTITY
from edgehemo.monitor.tables import MIN_PAIRS, Agreement, Refusal
from edgehemo.words.counted import counted

# Types and reasons named in a finding; the tables have all.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """One finding. code, values: `edgehemo.guidance` words it in any language; reason, meaning and
    action are its English. quantity: the name of the series it stands on, empty of none. since: the
    first day of the change, noticed: when a chart alarmed; None where it is no matter of days.
    change with its 95 % interval: as `edgehemo.monitor.judging.Change` has it. evidence: a sentence
    each. causes: what happened when it began.
    """

    code: DriftCode
    values: dict[str, str]
    quantity: str
    title: str
    reason: str
    meaning: str
    action: str
    since: date | None
    noticed: date | None
    change: float | None
    low: float | None
    high: float | None
    evidence: tuple[str, ...]
    causes: tuple[Event, ...] = ()


def findings(
    judged: Sequence[Judged],
    *,
    controls: Sequence[Judged] = (),
    events: tuple[Event, ...] = (),
    refusals: Sequence[Refusal] = (),
    agreement: Agreement | None = None,
    reviewed: Reviewed | None = None,
) -> tuple[DriftFinding, ...]:
    """All findings: those of control slides first, then in the order of the table of quantities.

    agreement: of the latest months' pairs. reviewed: of the latest months' reviews.
    """
    found = [_of_series(item, events, refusals) for item in (*controls, *judged) if item.matters]
    if agreement is not None and not any(item.code == "ANALYSER_DISAGREES" for item in found):
        found += _of_pairs(agreement)
    if reviewed is not None:
        found += _of_reviews(reviewed)
    return tuple(found)


def _of_series(
    item: Judged, events: tuple[Event, ...], refusals: Sequence[Refusal]
) -> DriftFinding:
    alarm, change, baseline = item.alarm, item.change, item.baseline
    assert alarm is not None and change is not None and baseline is not None  # it matters
    quantity = item.series.quantity
    code = quantity.up if alarm.direction > 0 else quantity.down
    low, high = sorted((abs(change.low), abs(change.high)))
    if change.low < 0 < change.high:
        low = 0.0
    evidence = [
        f"{quantity.label}: {quantity.written(change.now)} from {_day(change.first)} to "
        f"{_day(change.last)} ({counted(change.results, 'sample')}), against "
        f"{quantity.written(baseline.mean)} in the baseline",
        f"the change is {quantity.size(change.change)}, 95 % interval {quantity.size(low)} to "
        f"{quantity.size(high)}",
        f"{' and '.join(alarm.by)} beyond the limit since {_day(alarm.noticed)}",
    ]
    if baseline.freedom is not None:
        evidence.append(
            f"baseline: {counted(baseline.days, 'day')} with samples from "
            f"{_day(baseline.first)} to {_day(baseline.last)}, "
            f"{counted(baseline.results, 'sample')}"
        )
    if quantity.name == "refused" and refusals:
        named = ", ".join(
            f"{refusal.code} {100 * refusal.share:.0f} %" for refusal in refusals[:_NAMED]
        )
        evidence.append(f"commonest reasons: {named} of the fields")
    assert code is not None  # `matters` looks at directions that have one
    values = {
        "what": quantity.label,
        "size": quantity.size(change.change),
        "since": _day(alarm.since),
        "now": quantity.written(change.now),
        "before": quantity.written(baseline.mean),
    }
    return _finding(
        code,
        values,
        quantity.name,
        since=alarm.since,
        noticed=alarm.noticed,
        change=(change.change, change.low, change.high),
        evidence=tuple(evidence),
        causes=near(events, alarm.since),
    )


def _of_pairs(agreement: Agreement) -> list[DriftFinding]:
    """A bias against the analyser that is there from the first pair on is no drift, and matters."""
    quantity = QUANTITY["against_analyser"]
    sure = agreement.low > 0 or agreement.high < 0
    if agreement.pairs < MIN_PAIRS or abs(agreement.mean) < quantity.change or not sure:
        return []
    evidence = (
        f"{counted(agreement.pairs, 'sample')} measured by both: "
        f"mean difference {agreement.mean:+.1f} g/L, "
        f"95 % interval {agreement.low:+.1f} to {agreement.high:+.1f} g/L",
        f"limits of agreement {agreement.agree_low:+.1f} to {agreement.agree_high:+.1f} g/L",
    )
    values = {"size": quantity.size(agreement.mean)}
    return [
        _finding(
            "ANALYSER_DISAGREES",
            values,
            quantity.name,
            change=(agreement.mean, agreement.low, agreement.high),
            evidence=evidence,
        )
    ]


def _of_reviews(reviewed: Reviewed) -> list[DriftFinding]:
    due = reviewed.due
    if not due and not reviewed.abroad:
        return []
    evidence = [
        f"{item.type}: {item.changed} of {item.looked_at} names were changed, 95 % interval "
        f"{100 * item.low:.0f} to {100 * item.high:.0f} % (limit {100 * DUE_ABOVE:.0f} %); most "
        f"often to {', '.join(f'{name} ({count})' for name, count in item.became)}"
        for item in due
    ]
    if reviewed.abroad:
        evidence.append(
            f"cells of {reviewed.unfamiliar} of {counted(reviewed.results, 'sample')} look unlike "
            "all that the models learnt from"
        )
    taught = sum(count for *_, count in reviewed.learnable)
    by_type = ", ".join(
        f"{name} {count}"
        for _, name, count in sorted(reviewed.learnable, key=lambda item: -item[2])[:6]
    )
    evidence.append(
        f"{taught} reviewed cells can teach ({by_type}), {reviewed.settled} of them were uncertain"
        if taught
        else "no reviewed cell can teach yet: have cells named first"
    )
    what = ", ".join(item.type for item in due[:_NAMED]) or "cells of a source that is not known"
    return [_finding("RETRAINING_DUE", {"what": what}, "", evidence=tuple(evidence))]


def _finding(
    code: DriftCode,
    values: dict[str, str],
    quantity: str,
    *,
    since: date | None = None,
    noticed: date | None = None,
    change: tuple[float, float, float] | tuple[None, None, None] = (None, None, None),
    evidence: tuple[str, ...] = (),
    causes: tuple[Event, ...] = (),
) -> DriftFinding:
    told = guidance_with(code, values)
    size, low, high = change
    return DriftFinding(
        code=code,
        values=values,
        quantity=quantity,
        title=told.title,
        reason=told.reason,
        meaning=told.meaning,
        action=told.action,
        since=since,
        noticed=noticed,
        change=size,
        low=low,
        high=high,
        evidence=evidence,
        causes=causes,
    )


def _day(day: date) -> str:
    """A date as people read it."""
    return f"{day.day} {day:%B %Y}"
