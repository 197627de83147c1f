"""The supervisor's charts: whether this device stays as it was, control slides, refusals, and how
it agrees with a laboratory's analyser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.paging import number_in, page_of, rows_of
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.supervision import watched
from edgehemo.kiosk.supervision.result_list import moment
from edgehemo.measurands import PLAUSIBLE
from edgehemo.monitor.baseline import MIN_DAYS
from edgehemo.monitor.controls import controls
from edgehemo.monitor.judging import Judged
from edgehemo.monitor.output import state_of
from edgehemo.monitor.overview import REFUSALS_OVER, REVIEWED_OVER, Observation, observe
from edgehemo.monitor.series import Scope
from edgehemo.monitor.tables import agreement, agreement_pairs
from edgehemo.records.controls import newest_history
from edgehemo.records.pairs import pair, pairs
from edgehemo.records.search import Search, found_count
from edgehemo.records.store import Reader
from edgehemo.words.language import Words

TABS = ("", "control", "refusals", "analyser")
# Days of a chart back from today; 0 stands for all.
DAYS = (30, 90, 365, 0)
# Reasons of refusals on a page.
REASONS_SHOWN = 6


class MonitoringArea:
    """Its pages: ``""`` what is watched, ``of/<quantity>`` its chart, ``control``, ``refusals``,
    ``analyser`` and ``analyser/add``.
    """

    area: Area = "monitoring"

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        reader, words = desk.kiosk.writer, asked.words
        values: dict[str, Any] = {"tabs": _tab_names(words), "tab": asked.path}
        if asked.path == "control":
            return Shown("supervision/monitoring_control.html.j2", values | _control(reader, asked))
        if asked.path == "analyser":
            return Shown(
                "supervision/monitoring_analyser.html.j2", values | _analyser(reader, words)
            )
        if asked.path == "analyser/add":
            return Shown("supervision/monitoring_add.html.j2", values | _add_form(reader, asked))
        seen = _observed(reader)
        if asked.path == "":
            return Shown("supervision/monitoring.html.j2", values | _overview(seen, asked))
        if asked.path == "refusals":
            return Shown("supervision/monitoring_refusals.html.j2", values | _refusals(seen, words))
        first, _, name = asked.path.partition("/")
        item = next((each for each in seen.judged if each.series.quantity.name == name), None)
        if first != "of" or item is None or not item.series.points:
            return None
        return Shown("supervision/monitoring_of.html.j2", values | _of(seen, item, asked))

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        if asked.path != "analyser/add":
            return None
        words, values = asked.words, asked.values
        sample, analyser = values.get("sample", "").strip(), values.get("analyser", "").strip()
        hgb = hgb_in(values.get("hgb", ""), words)
        low, high = PLAUSIBLE["hgb_g_per_l"]
        problem = ""
        if not _stored(desk.kiosk.writer, sample):
            problem = words._("There is no result of a sample with this number.")
        elif hgb is None or not low <= hgb <= high:
            problem = words._(
                "Haemoglobin lies between {low} and {high} {unit}.",
                low=words.hgb(low),
                high=words.hgb(high),
                unit=words.unit,
            )
        elif not analyser:
            problem = words._("Say which analyser measured it.")
        if problem or hgb is None:
            given = urlencode({"sample": sample, "hgb": values.get("hgb", ""), "by": analyser})
            return Went(f"analyser/add?{given}", problem=problem)
        pair(
            desk.kiosk.writer,
            sample,
            {"hgb_g_per_l": hgb},
            analyser=analyser[:64],
            by=asked.who.name,
        )
        return Went("analyser", said=words._("The value is kept."))


def hgb_in(text: str, words: Words) -> float | None:
    """A haemoglobin as a person types it in the site's unit, g/L; None for what is no number."""
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    # A tenth of a g/L is below what any analyser tells.
    return round(value * 10, 1) if words.unit == "g/dL" else round(value, 1)


def _tab_names(words: Words) -> list[tuple[str, str]]:
    _ = words._
    return [
        ("", _("This device")),
        ("control", _("Control slide")),
        ("refusals", _("Refusals")),
        ("analyser", _("Analyser")),
    ]


def _scope(reader: Reader) -> Scope:
    """The device and the kind of microscope of the newest result."""
    rows = reader.rows("SELECT device, simulated FROM result ORDER BY number DESC LIMIT 1")
    return Scope(rows[0][0], bool(rows[0][1])) if rows else Scope()


def _observed(reader: Reader) -> Observation:
    scope = _scope(reader)
    return observe(reader, device=scope.device, simulated=scope.simulated)


def _today() -> date:
    return datetime.now().astimezone().date()


def _overview(seen: Observation, asked: Asked) -> dict[str, Any]:
    words = asked.words
    rows = watched.rows_of_watched(seen.judged, words)
    each = rows_of(asked.values)
    page, pages = page_of(asked.values, len(rows), each)
    changed = sum(row.state == "found" for row in rows)
    judged = any(row.state in ("steady", "moved", "found") for row in rows)
    return {
        "rows": rows[page * each : (page + 1) * each],
        "each": each,
        "page": page + 1,
        "pages": pages,
        "changed": changed,
        "judged": judged,
        "days_wanted": MIN_DAYS,
        "simulated": seen.simulated and bool(seen.results),
    }


def _of(seen: Observation, item: Judged, asked: Asked) -> dict[str, Any]:
    words = asked.words
    days = number_in(asked.values.get("days"), 0, 36_500)
    if days not in DAYS:
        days = DAYS[1]
    since = _today() - timedelta(days=days - 1) if days else None
    quantity, state = item.series.quantity, state_of(item)
    found = watched.finding_of(seen.findings, quantity.name)
    (row,) = watched.rows_of_watched([item], words)
    return {
        "tab": "",
        "row": row,
        "name": quantity.name,
        "state": state,
        "chart": watched.trend_chart(item, words, since),
        "days": days,
        "ranges": [(each, _days_name(words, each)) for each in DAYS],
        "told": None if found is None else words.guidance(found.code),
        "since": ""
        if found is None or found.since is None
        else words._("Since {day}.", day=_day(words, found.since)),
        "learnt": ""
        if item.baseline is None or item.baseline.freedom is None
        else words._(
            "The green days are what it is held against: {days}, {results}.",
            days=words.n_("{n} day", "{n} days", item.baseline.days),
            results=words.n_("{n} result", "{n} results", item.baseline.results),
        ),
        "days_wanted": MIN_DAYS,
    }


def _days_name(words: Words, days: int) -> str:
    if not days:
        return words._("All")
    return words.n_("{n} day", "{n} days", days)


def _day(words: Words, day: date) -> str:
    return words.date(datetime(day.year, day.month, day.day).astimezone())


def _control(reader: Reader, asked: Asked) -> dict[str, Any]:
    words = asked.words
    records = newest_history(reader)
    slides = watched.slides_of(records)
    slide = asked.values.get("slide", "")
    if slide not in slides:
        slide = slides[-1] if slides else ""
    checks = watched.checks_of(slide, records)
    quantities = list(checks[-1].deviations) if checks else []
    failed = [each.quantity for each in checks[-1].violations] if checks else []
    quantity = asked.values.get("quantity", "")
    if quantity not in quantities:
        quantity = next(iter([*failed, *quantities]), "")
    last = checks[-1] if checks else None
    cleared = watched.cleared_since(records)
    return {
        "slide": slide,
        "slides": slides,
        "quantity": quantity,
        "quantities": [(each, watched.control_name(words, each)) for each in quantities],
        "chart": watched.levey_jennings(quantity, checks, words) if quantity else "",
        "last": last,
        "when": ""
        if last is None
        else moment(words, last.at.isoformat(timespec="seconds"), "set", _today()),
        "why": [] if last is None else watched.why_failed(last, words),
        "cleared": None if cleared is None else cleared.by,
        "drifts": words.title("CONTROL_DRIFTS") if _drifts(reader, slide, quantity) else "",
        "held": found_count(reader, Search(pile="held")),
        "checks": len(checks),
    }


def _drifts(reader: Reader, slide: str, quantity: str) -> bool:
    """Whether the checks of a slide move to one side, though each may pass."""
    name = f"control:{slide}:{quantity}"
    return any(each.matters for each in controls(reader) if each.series.quantity.name == name)


def _refusals(seen: Observation, words: Words) -> dict[str, Any]:
    most = max((each.share for each in seen.refusals), default=0.0)
    return {
        "reasons": [
            {
                "why": words.title(each.code),
                "share": words._("{n} %", n=words.number(100 * each.share)),
                "before": ""
                if each.share_before is None
                else words._("{n} %", n=words.number(100 * each.share_before)),
                "part": round(each.share / most, 3) if most else 0.0,
                "more": each.share_before is not None and each.share > 1.5 * each.share_before,
            }
            for each in seen.refusals[:REASONS_SHOWN]
        ],
        "more": max(0, len(seen.refusals) - REASONS_SHOWN),
        "shares": [
            (watched.quantity_name(words, item.series.quantity), _latest_share(item, words))
            for item in seen.judged
            if item.series.quantity.name in ("refused", "withheld", "overridden")
            and item.series.points
        ],
        "days": REFUSALS_OVER.days,
        "results": seen.results,
    }


def _latest_share(item: Judged, words: Words) -> str:
    """A share over the days that the refusals are counted of."""
    last = item.series.points[-1].day
    points = item.series.between(last - REFUSALS_OVER, None).points
    results = sum(point.results for point in points)
    share = sum(point.results * point.mean for point in points) / results
    return words._("{n} %", n=words.number(100 * share, 1 if share < 0.1 else 0))


def _analyser(reader: Reader, words: Words) -> dict[str, Any]:
    scope = _scope(reader)
    scope = Scope(scope.device, scope.simulated, _today() - REVIEWED_OVER)
    found = agreement(reader, scope)
    points = agreement_pairs(reader, scope)
    # Of two pairs the limits are anybody's guess; the numbers say how few there are.
    chart = watched.agreement_chart(points, found, words) if found is not None else ""
    return {
        "chart": chart,
        "lines": [] if found is None else watched.agreement_lines(found, words),
        "pairs": len(points),
        "typed": len(pairs(reader)),
        "days": REVIEWED_OVER.days,
    }


def _add_form(reader: Reader, asked: Asked) -> dict[str, Any]:
    known: Sequence[Any] = pairs(reader)
    return {
        "tab": "analyser",
        "analyser": asked.values.get("by") or (known[-1].analyser if known else ""),
        "typed_sample": asked.values.get("sample", ""),
        "hgb": asked.values.get("hgb", ""),
    }


def _stored(reader: Reader, sample: str) -> bool:
    return bool(reader.rows("SELECT 1 FROM latest WHERE sample = ? LIMIT 1", (sample,)))
