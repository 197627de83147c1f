"""Control slides over weeks: EWMA and CUSUM beside the Westgard rules of each check.

A check holds its deviations in standard deviations of the slide's target
(`edgehemo.control.check`), so that no baseline is learnt: the target is it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from edgehemo.control.check import MIN_RUNS_ESTABLISHED
from edgehemo.control.repeatability import LABELS
from edgehemo.monitor.baseline import given_baseline
from edgehemo.monitor.judging import Judged, judged_against
from edgehemo.monitor.points import Point, Series
from edgehemo.monitor.quantities import Quantity
from edgehemo.monitor.series import Rows

# A target's mean is that of so many runs; its own error is that of `given_baseline`.
_RUNS = MIN_RUNS_ESTABLISHED
_CONTROL = Quantity(
    "control", "", "SD", 1, "", 1.0, False, 1.0, "CONTROL_DRIFTS", "CONTROL_DRIFTS",
    "one standard deviation: half way to the warning limit",
)  # fmt: skip


def controls(
    reader: Rows, since: date | None = None, until: date | None = None
) -> tuple[Judged, ...]:
    """One judged series for each slide and quantity, a point a check, against the targets that its
    newest check was judged by.
    """
    rows = reader.rows(
        "SELECT c.profile_made_at, c.slide, c.content ->> '$.established_at', "
        "substr(c.at, 1, 10), d.key, d.value "
        "FROM control c, json_each(c.content, '$.deviations') d "
        "WHERE c.kind = 'check' ORDER BY c.number"
    )
    newest: dict[str, tuple[str, str]] = {}
    for profile, slide, established, *_ in rows:
        newest[slide] = (profile, established)
    found: dict[tuple[str, str], list[Point]] = {}
    for profile, slide, established, day, quantity, deviation in rows:
        if newest[slide] == (profile, established):
            point = Point(date.fromisoformat(day), 1, float(deviation), 0.0)
            found.setdefault((slide, quantity), []).append(point)
    judged = []
    for (slide, quantity), points in sorted(found.items()):
        label = LABELS[quantity][0] if quantity in LABELS else quantity
        watched = replace(
            _CONTROL, name=f"control:{slide}:{quantity}", label=f"{label}, control slide {slide}"
        )
        series = Series(watched, tuple(points))
        shown = series.between(since, until).points
        baseline = given_baseline(points[0].day, points[0].day, _RUNS)
        judged.append(judged_against(series, baseline, shown))
    return tuple(judged)
