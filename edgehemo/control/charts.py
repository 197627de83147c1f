"""Levey-Jennings charts of the control slides, as one page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from edgehemo.control.history import Clearance, ControlCheck
from edgehemo.control.repeatability import LABELS
from edgehemo.pages.environment import page_environment
from edgehemo.pages.plots import Plot
from edgehemo.profile.parts import ControlSlide, Spread
from edgehemo.profile.profile import CalibrationProfile

# Checks shown in a chart and in the table: some two months of daily ones.
SHOWN = 60
# Standard deviations shown; what lies beyond is drawn at the edge.
REACH_SD = 4.5
_PASSED, _WARNED, _FAILED = "#1f5f99", "#b06a00", "#b3202c"


def control_page(
    profile: CalibrationProfile,
    records: Sequence[ControlCheck | Clearance],
    *,
    blocked: str,
    now: datetime,
) -> str:
    """The charts and the last records. ``blocked``: why results are withheld, empty if not."""
    named = ", ".join(
        part for part in (profile.microscope, profile.camera, profile.objective) if part
    )
    slides = [
        (slide, [levey_jennings(target, _checks(slide, records)) for target in slide.targets])
        for slide in profile.controls
    ]
    return (
        page_environment("edgehemo.control")
        .get_template("control_charts.html.j2")
        .render(
            microscope=named or "unnamed microscope",
            now=f"{now:%Y-%m-%d %H:%M}",
            blocked=blocked,
            slides=slides,
            records=_rows(list(records)[-SHOWN:]),
        )
    )


def levey_jennings(target: Spread, checks: Sequence[ControlCheck]) -> str:
    """One quantity's checks in SD of its target, oldest left, as SVG."""
    label, unit, decimals = LABELS.get(target.quantity, (target.quantity, "", 4))
    shown = [
        (number, check)
        for number, check in enumerate(checks, start=1)
        if target.quantity in check.deviations
    ]
    plot = Plot(
        f"{label}: target {target.mean:.{decimals}f}, SD {target.sd:.2g} {unit}",
        "check",
        "SD",
        (0.0, max(10.0, len(checks) + 1.0)),
        (-REACH_SD, REACH_SD),
        width=620,
        height=280,
    )
    plot.band(-3, 3, "#fdf3dc")
    plot.band(-2, 2, "#e6f2e9")
    plot.level(0, "#5b6675", "target")
    for sd, colour in ((2, "#b06a00"), (3, "#b3202c")):
        plot.level(sd, colour, f"+{sd} SD", dashed=True)
        plot.level(-sd, colour, f"-{sd} SD", dashed=True)
    plot.path([(number, check.deviations[target.quantity]) for number, check in shown], "#8b97a6")
    for number, check in shown:
        deviation = check.deviations[target.quantity]
        broken = [v.rule for v in check.violations if v.quantity == target.quantity]
        colour = _FAILED if broken else _WARNED if abs(deviation) > 2 else _PASSED
        value = check.values.get(target.quantity)
        measured = "" if value is None else f" {value:.{decimals}f} {unit},"
        rules = f", {', '.join(broken)}" if broken else ""
        plot.point(
            number,
            deviation,
            colour,
            f"{check.at:%Y-%m-%d %H:%M}:{measured} {deviation:+.2f} SD{rules}",
            "square" if broken else "circle",
        )
    return plot.svg()


def _checks(slide: ControlSlide, records: Sequence[ControlCheck | Clearance]) -> list[ControlCheck]:
    """The last checks of a slide against its present targets, oldest first."""
    return [
        record
        for record in records
        if isinstance(record, ControlCheck)
        and record.slide == slide.name
        and record.established_at == slide.established_at
    ][-SHOWN:]


def _rows(records: Sequence[ControlCheck | Clearance]) -> list[tuple[str, str, str, str]]:
    """When, which slide, how it ended and why; newest first."""
    rows = []
    for record in reversed(records):
        at = f"{record.at:%Y-%m-%d %H:%M}"
        if isinstance(record, Clearance):
            rows.append((at, "", "cleared", f"{record.reason} ({record.by})"))
        else:
            verdict = "passed" if record.passed else "failed"
            said = record.reason or "; ".join(record.warnings)
            rows.append((at, record.slide, verdict, said))
    return rows
