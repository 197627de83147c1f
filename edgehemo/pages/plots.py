"""Plots as inline SVG, without a plotting library: the device has none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

Shape = Literal["circle", "square", "cross"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 26, 42


@dataclass
class Plot:
    """One plot being drawn: axes at once, then bands, lines and points in data coordinates.

    x_range, y_range: shown data, low below high. Numbers that are not finite are left out; what
    lies outside the range is drawn at its edge. x_ticks: the marks of the x axis and what they say,
    None for round numbers.
    """

    title: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: int = 470
    height: int = 330
    x_ticks: Sequence[tuple[float, str]] | None = None
    _parts: list[str] = field(default_factory=list)

    def band(self, low: float, high: float, colour: str) -> None:
        """A horizontal band."""
        top, bottom = self._y(high), self._y(low)
        self._parts.append(
            f'<rect x="{_LEFT}" y="{top:.1f}" width="{self.width - _LEFT - _RIGHT}" '
            f'height="{max(0.0, bottom - top):.1f}" fill="{colour}"/>'
        )

    def span(self, start: float, end: float, colour: str) -> None:
        """A vertical band."""
        left, right = self._x(start), self._x(end)
        self._parts.append(
            f'<rect x="{left:.1f}" y="{_TOP}" width="{max(0.0, right - left):.1f}" '
            f'height="{self.height - _TOP - _BOTTOM}" fill="{colour}"/>'
        )

    def upright(self, x: float, colour: str, tip: str) -> None:
        """A vertical line from top to bottom whose tooltip says ``tip``."""
        if math.isfinite(x):
            self._parts.append(
                f'<path d="M{self._x(x):.1f} {_TOP}V{self.height - _BOTTOM}" stroke="{colour}" '
                f'stroke-width="1.5" stroke-dasharray="2 3" fill="none">'
                f"<title>{escape(tip)}</title></path>"
            )

    def level(self, y: float, colour: str, label: str = "", *, dashed: bool = False) -> None:
        """A horizontal line right across, its label at the right end above it."""
        self.line((self.x_range[0], y), (self.x_range[1], y), colour, dashed=dashed)
        if label:
            self._parts.append(
                f'<text x="{self.width - _RIGHT - 2}" y="{self._y(y) - 3:.1f}" '
                f'text-anchor="end">{escape(label)}</text>'
            )

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: str,
        *,
        dashed: bool = False,
    ) -> None:
        """A straight line, cut at the plot's edges."""
        cut = _clipped(start, end, self.x_range, self.y_range)
        if cut is None:
            return
        (x0, y0), (x1, y1) = cut
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<line x1="{self._x(x0):.1f}" y1="{self._y(y0):.1f}" x2="{self._x(x1):.1f}" '
            f'y2="{self._y(y1):.1f}" stroke="{colour}" stroke-width="1.5"{dash}/>'
        )

    def path(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """Points joined in their order."""
        known = [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])]
        if len(known) >= 2:
            places = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in known)
            self._parts.append(
                f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.2"/>'
            )

    def point(self, x: float, y: float, colour: str, tip: str, shape: Shape = "circle") -> None:
        """A mark whose tooltip says ``tip``."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return
        at_x, at_y, title = self._x(x), self._y(y), f"<title>{escape(tip)}</title>"
        if shape == "circle":
            mark = f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="4" fill="{colour}">{title}</circle>'
        elif shape == "square":
            mark = (
                f'<rect x="{at_x - 5:.1f}" y="{at_y - 5:.1f}" width="10" height="10" '
                f'fill="{colour}">{title}</rect>'
            )
        else:
            mark = (
                f'<path d="M{at_x - 5:.1f} {at_y - 5:.1f}l10 10m0 -10l-10 10" stroke="{colour}" '
                f'stroke-width="2.5" fill="none">{title}</path>'
            )
        self._parts.append(mark)

    def svg(self) -> str:
        """The drawing as one SVG element, its texts escaped."""
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        axes = [
            f'<text x="{_LEFT}" y="16" font-weight="600">{escape(self.title)}</text>',
            f'<rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}" '
            'fill="none" stroke="#8b97a6"/>',
            f'<text x="{(_LEFT + right) / 2}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>",
            f'<text transform="translate(14 {(_TOP + bottom) / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y_label)}</text>',
        ]
        marks = self.x_ticks
        if marks is None:
            marks = [(value, f"{value:g}") for value in ticks(*self.x_range)]
        for value, text in marks:
            axes.append(
                f'<text x="{self._x(value):.1f}" y="{bottom + 16}" text-anchor="middle">'
                f"{escape(text)}</text>"
            )
        for value in ticks(*self.y_range):
            axes.append(
                f'<text x="{_LEFT - 6}" y="{self._y(value) + 4:.1f}" text-anchor="end">'
                f"{value:g}</text>"
            )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{escape(self.title, quote=True)}">{"".join([*self._parts, *axes])}</svg>'
        )

    def _x(self, value: float) -> float:
        return _LEFT + _share(value, self.x_range) * (self.width - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return self.height - _BOTTOM - _share(value, self.y_range) * (self.height - _TOP - _BOTTOM)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between low and high, some five of them."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def widened(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """A range that holds all finite values with a little room; of one value, room around it."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    room = share * (high - low) if high > low else max(abs(high) * share, 1.0)
    return low - room, high + room


def _share(value: float, shown: tuple[float, float]) -> float:
    low, high = shown
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _clipped(
    start: tuple[float, float],
    end: tuple[float, float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The part of a segment within a box (Liang and Barsky 1984), None where there is none."""
    (x0, y0), (x1, y1) = start, end
    first, last = 0.0, 1.0
    for delta, low, high in (
        (x1 - x0, x_range[0] - x0, x_range[1] - x0),
        (y1 - y0, y_range[0] - y0, y_range[1] - y0),
    ):
        if delta == 0:
            if low > 0 or high < 0:
                return None
            continue
        near, far = sorted((low / delta, high / delta))
        first, last = max(first, near), min(last, far)
    if first > last:
        return None
    return (
        (x0 + first * (x1 - x0), y0 + first * (y1 - y0)),
        (x0 + last * (x1 - x0), y0 + last * (y1 - y0)),
    )
