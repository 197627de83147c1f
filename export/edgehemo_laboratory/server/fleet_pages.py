"""Kiosks beside each other, and beside analysers, as pages."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edgehemo.kiosk.supervision.chart import ThemedChart, number_marks
from edgehemo.pages.plots import widened
from edgehemo_laboratory.clock import now
from edgehemo_laboratory.enrolment.kiosks import kiosks
from edgehemo_laboratory.errors import LaboratoryError, StorageError
from edgehemo_laboratory.people import Person
from edgehemo_laboratory.seeing.agreement import MOST_SHOWN, Agreed, Pair, agreed, by, pairs_of
from edgehemo_laboratory.seeing.filters import Chosen
from edgehemo_laboratory.seeing.judging import FEWEST_KIOSKS
from edgehemo_laboratory.seeing.watching import Watch
from edgehemo_laboratory.server.people_pages import Desk


class FleetPages:
    """What is unlike the rest, and the agreement with analysers."""

    def __init__(self, desk: Desk, watch: Watch) -> None:
        self._desk, self._watch = desk, watch

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/outliers", self._desk.seen_by("operator", self.outliers)),
            Route("/agreement", self._desk.seen_by("operator", self.agreement)),
        ]

    async def outliers(self, request: Request, person: Person) -> Response:
        found, at = await self._watch.judged()
        kinds = (
            ("drift", "Unlike themselves before"),
            ("beside", "Unlike the other kiosks"),
            ("site", "Sites unlike the others"),
        )
        parts = [
            (title, [each for each in found.outliers if each.kind == kind]) for kind, title in kinds
        ]
        return self._desk.page(
            request, "outliers.html.j2", person, found=found, parts=parts,
            at=f"{at:%Y-%m-%d %H:%M}", fewest=FEWEST_KIOSKS,
        )  # fmt: skip

    async def agreement(self, request: Request, person: Person) -> Response:
        storage = self._desk.storage
        problem, today = "", now().date()
        try:
            chosen = Chosen.asked({"from": "", **request.query_params}, today)
        except StorageError:
            raise
        except LaboratoryError as error:
            problem, chosen = str(error), Chosen()
        pairs = await pairs_of(storage, chosen)
        whole = agreed("all", pairs)
        known = await kiosks(storage)
        return self._desk.page(
            request, "agreement.html.j2", person, status=400 if problem else 200, problem=problem,
            chosen=chosen, whole=whole, sites=by(pairs, "site"), kiosks=by(pairs, "kiosk"),
            chart=_chart(pairs, whole) if whole.found is not None else "",
            every_site=sorted({each.site for each in known}), shown=min(len(pairs), MOST_SHOWN),
        )  # fmt: skip


def _chart(pairs: Sequence[Pair], whole: Agreed) -> str:
    found = whole.found
    assert found is not None
    step = max(1, -(-len(pairs) // MOST_SHOWN))
    points = [(fmean((each.device, each.analyser)), each.difference) for each in pairs[::step]]
    edges = [found.agree_low - whole.limit_half, found.agree_high + whole.limit_half, 0.0]
    x_range = widened([x for x, _ in points], 0.05)
    y_range = widened([*edges, *(y for _, y in points)], 0.05)
    chart = ThemedChart(
        "Difference of kiosk and analyser over their mean, g/L",
        x_range,
        y_range,
        number_marks(x_range, 0),
        number_marks(y_range, 0),
        width=760,
        height=300,
    )
    for limit in (found.agree_low, found.agree_high):
        chart.band(limit - whole.limit_half, limit + whole.limit_half, "soon")
    chart.band(found.low, found.high, "good")
    chart.level(0.0, "middle")
    chart.level(found.mean, "mean")
    chart.level(found.agree_low, "limit")
    chart.level(found.agree_high, "limit")
    for x, y in points:
        inside = found.agree_low <= y <= found.agree_high
        chart.point(x, y, "good" if inside else "soon", f"{y:+.0f} g/L at {x:.0f}")
    return chart.svg()
