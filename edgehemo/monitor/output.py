"""What `edgehemo monitor report` writes as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from edgehemo.files.strict import Count, Record
from edgehemo.monitor.baseline import Baseline
from edgehemo.monitor.findings import DriftFinding
from edgehemo.monitor.judging import Judged
from edgehemo.monitor.overview import Observation
from edgehemo.screening.recorded import AuditHead

State = Literal["steady", "moved", "found", "no baseline", "no value since"]


class BaselineEntry(Record, frozen=True, kw_only=True):
    """What a series is held against. days: with samples. mean_low, mean_high: 95 % interval of the
    mean. sd_between: between days, sd_within: among the samples of a day, sd_day: of a usual day's
    point; all in the quantity's unit.
    """

    first: str
    last: str
    days: Count
    results: Count
    mean: float
    mean_low: float
    mean_high: float
    sd_between: float
    sd_within: float
    sd_day: float

    @classmethod
    def of(cls, baseline: Baseline) -> BaselineEntry:
        low, high = baseline.mean_interval
        return cls(
            first=baseline.first.isoformat(),
            last=baseline.last.isoformat(),
            days=baseline.days,
            results=baseline.results,
            mean=baseline.mean,
            mean_low=low,
            mean_high=high,
            sd_between=baseline.between,
            sd_within=baseline.within,
            sd_day=baseline.day_spread,
        )


class PointEntry(Record, frozen=True, kw_only=True):
    """One day or week. results: how many gave a value. The rest is null within the baseline: score,
    ewma_score, cusum_up and cusum_down in standard deviations; ewma in the quantity's unit; rules:
    the Westgard rules it breaks.
    """

    day: str
    results: Count
    mean: float
    score: float | None = None
    ewma: float | None = None
    ewma_score: float | None = None
    cusum_up: float | None = None
    cusum_down: float | None = None
    rules: tuple[str, ...] = ()


class AlarmEntry(Record, frozen=True, kw_only=True):
    """A chart beyond its limit. ended: null where it is so still."""

    direction: Literal["up", "down"]
    since: str
    noticed: str
    ended: str | None
    by: tuple[str, ...]


class SeriesEntry(Record, frozen=True, kw_only=True):
    """One quantity. state: found: a finding; moved: a chart alarms, and the change is smaller than
    matters or no trouble. change: as a share of the baseline's mean where ``relative``, else in the
    unit; its 95 % interval. matters_from: the smallest change that is a finding, likewise. lacking:
    why there is no baseline.
    """

    name: str
    label: str
    unit: str
    state: State
    relative: bool
    matters_from: float
    baseline: BaselineEntry | None
    lacking: str
    now: float | None
    change: float | None
    change_low: float | None
    change_high: float | None
    alarms: list[AlarmEntry]
    points: list[PointEntry]

    @classmethod
    def of(cls, item: Judged) -> SeriesEntry:
        quantity, change = item.series.quantity, item.change
        return cls(
            name=quantity.name,
            label=quantity.label,
            unit=quantity.unit,
            state=state_of(item),
            relative=quantity.relative,
            matters_from=quantity.change,
            baseline=None if item.baseline is None else BaselineEntry.of(item.baseline),
            lacking=item.lacking,
            now=None if change is None else change.now,
            change=None if change is None else change.change,
            change_low=None if change is None else change.low,
            change_high=None if change is None else change.high,
            alarms=[
                AlarmEntry(
                    direction="up" if alarm.direction > 0 else "down",
                    since=alarm.since.isoformat(),
                    noticed=alarm.noticed.isoformat(),
                    ended=None if alarm.ended is None else alarm.ended.isoformat(),
                    by=alarm.by,
                )
                for alarm in item.alarms
            ],
            points=_points(item),
        )


class FindingEntry(Record, frozen=True, kw_only=True):
    """One finding. series: its name, empty where it stands on none. values: what stands in the
    places of the code's texts.
    """

    code: str
    title: str
    reason: str
    meaning: str
    action: str
    series: str
    since: str | None
    noticed: str | None
    change: float | None
    change_low: float | None
    change_high: float | None
    evidence: tuple[str, ...]
    causes: tuple[str, ...]
    values: Mapping[str, str]

    @classmethod
    def of(cls, found: DriftFinding) -> FindingEntry:
        return cls(
            code=found.code,
            title=found.title,
            reason=found.reason,
            meaning=found.meaning,
            action=found.action,
            series=found.quantity,
            since=None if found.since is None else found.since.isoformat(),
            noticed=None if found.noticed is None else found.noticed.isoformat(),
            change=found.change,
            change_low=found.low,
            change_high=found.high,
            evidence=found.evidence,
            causes=tuple(f"{event.day.isoformat()}: {event.text}" for event in found.causes),
            values=found.values,
        )


class EventEntry(Record, frozen=True, kw_only=True):
    """Something that happened at the device."""

    day: str
    kind: str
    text: str


class RefusalEntry(Record, frozen=True, kw_only=True):
    """Fields refused for one reason in the latest four weeks; share_before: in the four before."""

    code: str
    fields: Count
    share: float
    share_before: float | None


class WeekEntry(Record, frozen=True, kw_only=True):
    """One week's results. hgb_*: quartiles, g/L. grades: name -> results."""

    week: str
    results: Count
    withheld: Count
    hgb_lower: float | None
    hgb_median: float | None
    hgb_upper: float | None
    grades: Mapping[str, int]


class AgreementEntry(Record, frozen=True, kw_only=True):
    """The device's haemoglobin less the analyser's over the latest three months, g/L."""

    pairs: Count
    mean: float
    mean_low: float
    mean_high: float
    sd: float
    agreement_low: float
    agreement_high: float


class NamesEntry(Record, frozen=True, kw_only=True):
    """Cells of one type, as the model named them, that people looked at in the latest three months.
    due: whether the model should learn the type anew. became: other name -> cells.
    """

    kind: str
    type: str
    looked_at: Count
    changed: Count
    share_low: float
    share_high: float
    due: bool
    became: Mapping[str, int]


class LearnableEntry(Record, frozen=True, kw_only=True):
    """Cells that a person named and that can teach."""

    kind: str
    type: str
    cells: Count


class MonitorOutput(Record, frozen=True, kw_only=True):
    """How a device has changed, and what is found. device: null without a result. undated: results
    left out because nobody knows when they were made. baseline_since, baseline_until,
    baseline_reason: where a baseline was stated, else each series has its own first days.
    """

    schema: Literal["edgehemo.monitor/1"] = "edgehemo.monitor/1"
    device: str | None
    simulated: bool
    results: Count
    undated: Count
    since: str | None
    until: str | None
    by: Literal["day", "week"]
    baseline_since: str | None
    baseline_until: str | None
    baseline_reason: str | None
    findings: list[FindingEntry]
    series: list[SeriesEntry]
    controls: list[SeriesEntry]
    events: list[EventEntry]
    refusals: list[RefusalEntry]
    weeks: list[WeekEntry]
    agreement: AgreementEntry | None
    names: list[NamesEntry]
    learnable: list[LearnableEntry]
    audit: AuditHead | None

    @classmethod
    def of(cls, seen: Observation, head: AuditHead | None) -> MonitorOutput:
        stated, pairs = seen.baseline, seen.agreement
        return cls(
            device=seen.device,
            simulated=seen.simulated,
            results=seen.results,
            undated=seen.undated,
            since=None if seen.since is None else seen.since.isoformat(),
            until=None if seen.until is None else seen.until.isoformat(),
            by=seen.by,
            baseline_since=None if stated is None else stated.since.isoformat(),
            baseline_until=None if stated is None else stated.until.isoformat(),
            baseline_reason=None if stated is None else stated.reason,
            findings=[FindingEntry.of(item) for item in seen.findings],
            series=[SeriesEntry.of(item) for item in seen.judged],
            controls=[SeriesEntry.of(item) for item in seen.controls],
            events=[
                EventEntry(day=event.day.isoformat(), kind=event.kind, text=event.text)
                for event in seen.events
            ],
            refusals=[
                RefusalEntry(
                    code=item.code,
                    fields=item.fields,
                    share=item.share,
                    share_before=item.share_before,
                )
                for item in seen.refusals
            ],
            weeks=[
                WeekEntry(
                    week=item.day.isoformat(),
                    results=item.results,
                    withheld=item.withheld,
                    hgb_lower=None if item.hgb is None else item.hgb[0],
                    hgb_median=None if item.hgb is None else item.hgb[1],
                    hgb_upper=None if item.hgb is None else item.hgb[2],
                    grades=item.grades,
                )
                for item in seen.weeks
            ],
            agreement=None
            if pairs is None
            else AgreementEntry(
                pairs=pairs.pairs,
                mean=pairs.mean,
                mean_low=pairs.low,
                mean_high=pairs.high,
                sd=pairs.sd,
                agreement_low=pairs.agree_low,
                agreement_high=pairs.agree_high,
            ),
            names=[
                NamesEntry(
                    kind=item.kind,
                    type=item.type,
                    looked_at=item.looked_at,
                    changed=item.changed,
                    share_low=item.low,
                    share_high=item.high,
                    due=item.due,
                    became=dict(item.became),
                )
                for item in seen.reviewed.names
            ],
            learnable=[
                LearnableEntry(kind=kind, type=name, cells=count)
                for kind, name, count in seen.reviewed.learnable
            ],
            audit=head,
        )


def state_of(item: Judged) -> State:
    """What a series comes to, in a word."""
    if item.baseline is None:
        return "no baseline"
    if not item.judged:
        return "no value since"
    if item.matters:
        return "found"
    return "steady" if item.alarm is None else "moved"


def _points(item: Judged) -> list[PointEntry]:
    judged = {point.day: place for place, point in enumerate(item.judged)}
    entries = []
    for point in item.series.points:
        entry = PointEntry(day=point.day.isoformat(), results=point.results, mean=point.mean)
        place = judged.get(point.day)
        if place is not None and item.baseline is not None:
            step = item.steps[place]
            entry = entry.model_copy(
                update={
                    "score": step.score,
                    "ewma": item.baseline.mean + step.ewma * item.baseline.day_spread,
                    "ewma_score": step.ewma_score,
                    "cusum_up": step.up,
                    "cusum_down": step.down,
                    "rules": item.rules[place],
                }
            )
        entries.append(entry)
    return entries
