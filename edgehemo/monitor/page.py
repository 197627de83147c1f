"""All of it as one self-contained page."""

from __future__ import annotations

from datetime import date, datetime

from edgehemo.monitor.charts import charts
from edgehemo.monitor.judging import Judged
from edgehemo.monitor.names import DUE_ABOVE, MIN_LOOKED_AT
from edgehemo.monitor.output import state_of
from edgehemo.monitor.overview import Observation
from edgehemo.pages.environment import page_environment
from edgehemo.screening.recorded import AuditHead
from edgehemo.words.counted import counted

_STATE_WORDS = {
    "steady": ("steady", "pass"),
    "moved": ("moved, less than matters", "warn"),
    "found": ("finding", "fail"),
    "no baseline": ("no baseline yet", ""),
    "no value since": ("baseline only", ""),
}


def monitor_page(seen: Observation, head: AuditHead | None, now: datetime) -> str:
    """The page of an observation; now: when it is made."""
    return (
        page_environment("edgehemo.monitor", day=_day, sentence=_sentence)
        .get_template("monitor.html.j2")
        .render(
            seen=seen,
            head=head,
            now=f"{now:%Y-%m-%d %H:%M}",
            states=[_row(item) for item in seen.judged if item.series.points],
            empty=[item.series.quantity.label for item in seen.judged if not item.series.points],
            charts=charts(seen.judged, seen.events),
            slides=charts(seen.controls, seen.events),
            refusals=[
                (
                    item.code,
                    f"{item.fields}",
                    _percent(item.share),
                    "–" if item.share_before is None else _percent(item.share_before),
                )
                for item in seen.refusals
            ],
            weeks=[
                (
                    item.day.isoformat(),
                    f"{item.results}",
                    f"{item.withheld}",
                    "–"
                    if item.hgb is None
                    else f"{item.hgb[1]:.0f} ({item.hgb[0]:.0f} to {item.hgb[2]:.0f})",
                    ", ".join(f"{name} {count}" for name, count in sorted(item.grades.items()))
                    or "–",
                )
                for item in reversed(seen.weeks)
            ],
            operators=[
                (
                    item.name or "not given",
                    f"{item.results}",
                    "–" if item.refused is None else _percent(item.refused),
                    "–" if item.focus is None else f"{item.focus:.2f}",
                    "–" if item.cells_a_field is None else f"{item.cells_a_field:.0f}",
                )
                for item in seen.operators
            ],
            names=[
                (
                    item.type,
                    f"{item.looked_at}",
                    f"{item.changed}",
                    f"{100 * item.low:.0f} to {100 * item.high:.0f} %",
                    ", ".join(f"{name} {count}" for name, count in item.became) or "–",
                    "learn anew" if item.due else "",
                )
                for item in seen.reviewed.names
            ],
            learnable=[
                (name, f"{count}")
                for _, name, count in sorted(seen.reviewed.learnable, key=lambda item: -item[2])
            ],
            due_above=f"{100 * DUE_ABOVE:.0f} %",
            due_from=MIN_LOOKED_AT,
        )
    )


def _row(item: Judged) -> tuple[str, str, str, str, str, str, str]:
    quantity, baseline, change = item.series.quantity, item.baseline, item.change
    words, look = _STATE_WORDS[state_of(item)]
    if baseline is None:
        return quantity.label, "–", item.lacking, "–", "–", words, look
    low, high = baseline.mean_interval
    stood = quantity.interval(baseline.mean, low, high)
    days = f"{baseline.first.isoformat()} to {baseline.last.isoformat()}, " + counted(
        baseline.days, "day"
    )
    if change is None:
        return quantity.label, stood, days, "–", "–", words, look
    size = quantity.size(change.change)
    # What is rounded to nothing has no sign.
    sign = "" if size == quantity.size(0.0) else "+" if change.change > 0 else "−"
    moved = f"{sign}{size}"
    return quantity.label, stood, days, quantity.written(change.now), moved, words, look


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?' else '.'}"
