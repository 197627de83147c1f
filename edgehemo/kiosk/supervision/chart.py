"""Charts as inline SVG that take their colours and type from the page's stylesheet. Pure.

Those of reports carry their own colours and print; these follow the theme, and are as large as the
place they stand in. A point's shape says what its colour says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from edgehemo.pages.plots import ticks

# What a line or band is, and a point: names of the stylesheet's classes.
Line = Literal["middle", "warn", "limit", "mean", "joined"]
Band = Literal["good", "soon", "learnt"]
Mark = Literal["good", "soon", "fails"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 10, 10, 30
_SIZE = 5.0


@dataclass
class ThemedChart:
    """One chart being drawn. says: what it shows, for who cannot see it. x_range, y_range: low
    below high. x_marks: places of the x axis and what they say; y_marks likewise, None for round
    numbers written by `written`. What lies outside is drawn at the edge.
    """

    says: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_marks: Sequence[tuple[float, str]] = ()
    y_marks: Sequence[tuple[float, str]] = ()
    width: int = 480
    height: int = 290
    _parts: list[str] = field(default_factory=list)

    def band(self, low: float, high: float, kind: Band) -> None:
        """A band right across."""
        top, bottom = self._y(high), self._y(low)
        self._parts.append(
            f'<rect class="band {kind}" x="{_LEFT}" y="{top:.1f}" '
            f'width="{self.width - _LEFT - _RIGHT}" height="{max(0.0, bottom - top):.1f}"/>'
        )

    def span(self, first: float, last: float) -> None:
        """The part of the x axis that limits were learnt from."""
        left, right = self._x(first), self._x(last)
        self._parts.append(
            f'<rect class="band learnt" x="{left:.1f}" y="{_TOP}" '
            f'width="{max(1.0, right - left):.1f}" height="{self.height - _TOP - _BOTTOM}"/>'
        )

    def level(self, y: float, kind: Line) -> None:
        """A line right across."""
        self.path([(self.x_range[0], y), (self.x_range[1], y)], kind)

    def path(self, points: Sequence[tuple[float, float]], kind: Line) -> None:
        """Points joined in their order; those that are no numbers are left out."""
        known = [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])]
        if len(known) < 2:
            return
        places = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in known)
        self._parts.append(f'<polyline class="line {kind}" points="{places}"/>')

    def point(self, x: float, y: float, mark: Mark, tip: str) -> None:
        """A point: a circle, a triangle or a crossed diamond."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return
        cx, cy, title = self._x(x), self._y(y), f"<title>{escape(tip)}</title>"
        if mark == "good":
            shape = f'<circle class="mark good" cx="{cx:.1f}" cy="{cy:.1f}" r="{_SIZE - 1}">'
            self._parts.append(f"{shape}{title}</circle>")
            return
        r = _SIZE + 2
        if mark == "soon":
            path = f"M{cx:.1f} {cy - r:.1f}l{r} {1.8 * r:.1f}h{-2 * r}z"
        else:
            path = f"M{cx:.1f} {cy - r:.1f}l{r} {r}l{-r} {r}l{-r} {-r}z"
        self._parts.append(f'<path class="mark {mark}" d="{path}">{title}</path>')

    def svg(self) -> str:
        """The drawing as one SVG element, its texts escaped."""
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        axes = [
            f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" '
            f'height="{bottom - _TOP}"/>'
        ]
        for place, text in self.x_marks:
            x = self._x(place)
            anchor = "start" if x < _LEFT + 24 else "end" if x > right - 24 else "middle"
            axes.append(
                f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="{anchor}">{escape(text)}</text>'
            )
        for place, text in self.y_marks:
            axes.append(
                f'<text x="{_LEFT - 6}" y="{self._y(place) + 4.5:.1f}" text-anchor="end">'
                f"{escape(text)}</text>"
            )
        return (
            f'<svg class="themed" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.says, quote=True)}">{"".join([*self._parts, *axes])}</svg>'
        )

    def _x(self, value: float) -> float:
        return _LEFT + _share(value, self.x_range) * (self.width - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return self.height - _BOTTOM - _share(value, self.y_range) * (self.height - _TOP - _BOTTOM)


def number_marks(
    value_range: tuple[float, float], decimals: int, point: str = "."
) -> list[tuple[float, str]]:
    """Round places of an axis, all with as many decimals as one of them needs, at least so many.

    point: the decimal sign.
    """
    values = ticks(*value_range)
    needed = max((_needed(value) for value in values), default=0)
    found = []
    for value in values:
        text = f"{abs(value):.{max(decimals, needed)}f}".replace(".", point)
        found.append((value, f"−{text}" if value < 0 else text))
    return found


def _needed(value: float) -> int:
    """Decimals that write a round number exactly."""
    return next((n for n in range(7) if abs(round(value, n) - value) < 1e-9), 6)


def _share(value: float, shown: tuple[float, float]) -> float:
    low, high = shown
    return min(1.0, max(0.0, (value - low) / (high - low)))
