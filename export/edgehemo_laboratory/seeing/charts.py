"""Charts of the laboratory's pages, as SVG that takes its colours from the stylesheet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from edgehemo.kiosk.supervision.chart import ThemedChart, number_marks
from edgehemo.pages.plots import ticks, widened

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 8, 26
# Dates of an axis that lie so far apart do not run into each other.
_MOST_DATES = 7


@dataclass(frozen=True, slots=True)
class Bar:
    """One day. parts: how many of each kind, from the ground up."""

    day: date
    parts: tuple[int, ...]


def day_marks(days: Sequence[date]) -> list[tuple[float, str]]:
    """Places of some days on an axis of ordinals, evenly over all of them."""
    if not days:
        return []
    first, last = days[0].toordinal(), days[-1].toordinal()
    count = min(_MOST_DATES, last - first + 1)
    places = [first + (last - first) * number // max(1, count - 1) for number in range(count)]
    return [(float(place), f"{date.fromordinal(place):%d %b}") for place in dict.fromkeys(places)]


def stacked(
    says: str, bars: Sequence[Bar], kinds: Sequence[tuple[str, str]], *, width: int = 980
) -> str:
    """Days as bars of parts that stand on each other. kinds: class and name of each part. says:
    what it shows, for who cannot see it.
    """
    height, bottom = 220, 220 - _BOTTOM
    most = max((sum(bar.parts) for bar in bars), default=0) or 1
    first = bars[0].day.toordinal() if bars else 0
    count = bars[-1].day.toordinal() - first + 1 if bars else 1
    step = (width - _LEFT - _RIGHT) / count
    wide = max(1.0, min(40.0, step * 0.8))
    parts: list[str] = []
    marks = [value for value in ticks(0, most) if value == int(value)]
    for value in marks:
        y = bottom - (bottom - _TOP) * value / most
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for bar in bars:
        x = _LEFT + (bar.day.toordinal() - first + 0.5) * step - wide / 2
        top = float(bottom)
        told = ", ".join(f"{n} {name}" for n, (_, name) in zip(bar.parts, kinds, strict=True) if n)
        for number, (kind, _) in zip(bar.parts, kinds, strict=True):
            tall = (bottom - _TOP) * number / most
            top -= tall
            if number:
                parts.append(
                    f'<rect class="bar {kind}" x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" '
                    f'height="{tall:.1f}"><title>{bar.day:%d %b %Y}: {escape(told)}</title></rect>'
                )
    for place, text in day_marks([bar.day for bar in bars]):
        x = _LEFT + (place - first + 0.5) * step
        anchor = "end" if x > width - _RIGHT - 24 else "start" if x < _LEFT + 24 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="{anchor}">{text}</text>')
    return (
        f'<svg class="themed" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(says, quote=True)}">{"".join(parts)}</svg>'
    )


def over_days(
    says: str,
    points: Sequence[tuple[date, float]],
    decimals: int,
    *,
    band: tuple[float, float] | None = None,
) -> str:
    """Values of a kiosk day by day. band: in which most kiosks lie."""
    values = [value for _, value in points] + list(band or ())
    days = [day for day, _ in points]
    y_range = widened(values, 0.08)
    first, last = days[0].toordinal(), days[-1].toordinal()
    chart = ThemedChart(
        says,
        (first - 0.5, last + 0.5),
        y_range,
        day_marks(days),
        number_marks(y_range, decimals),
        width=480,
        height=200,
    )
    if band is not None:
        chart.band(*band, "good")
    chart.path([(day.toordinal(), value) for day, value in points], "joined")
    for day, value in points:
        chart.point(day.toordinal(), value, "good", f"{day:%d %b %Y}: {value:.{decimals}f}")
    return chart.svg()
