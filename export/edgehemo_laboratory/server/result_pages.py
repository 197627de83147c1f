"""Results as pages: by day and site, as a list, each by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from edgehemo.measurands import MEASURAND_FACTS
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.clock import now
from edgehemo_laboratory.enrolment.kiosks import kiosks
from edgehemo_laboratory.errors import LaboratoryError, StorageError
from edgehemo_laboratory.exporting.formats import FORMATS
from edgehemo_laboratory.people import Person
from edgehemo_laboratory.pictures.keeping import ask
from edgehemo_laboratory.seeing.charts import Bar, stacked
from edgehemo_laboratory.seeing.filters import GRADES, OUTCOMES, Chosen
from edgehemo_laboratory.seeing.results import listed, summed, whole_result
from edgehemo_laboratory.server.kiosk_pages import DAY_PARTS
from edgehemo_laboratory.server.people_pages import Desk

# Days of the table below the chart; the chart shows all.
TABLE_DAYS = 31


class ResultPages:
    """Lists and sums of results, and one of them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def routes(self) -> Sequence[BaseRoute]:
        one = "/results/{store}/{result_id}"
        return [
            Route("/results", self._desk.seen_by("operator", self.all)),
            Route(one, self._desk.seen_by("operator", self.one)),
            Route(f"{one}/pictures", self._desk.seen_by("supervisor", self.want), methods=["POST"]),
        ]

    async def all(self, request: Request, person: Person) -> Response:
        storage = self._desk.storage
        today = now().date()
        problem = ""
        try:
            chosen = Chosen.asked(request.query_params, today)
            rows, following = await listed(storage, chosen, request.query_params.get("after", ""))
        except StorageError:
            raise
        except LaboratoryError as error:
            problem = str(error)
            chosen = Chosen.asked({}, today)
            rows, following = await listed(storage, chosen)
        sums = await summed(storage, chosen)
        bars = [
            Bar(day, (s.given, s.withheld, s.held, s.withdrawn)) for day, s in sums.days.items()
        ]
        known = await kiosks(storage)
        return self._desk.page(
            request, "results.html.j2", person, status=400 if problem else 200, problem=problem,
            chosen=chosen, rows=rows, following=following, sums=sums, grades=GRADES,
            outcomes=OUTCOMES, chart=stacked("Results a day", bars, DAY_PARTS) if bars else "",
            days=list(sums.days.items())[: -TABLE_DAYS - 1 : -1],
            every_site=sorted({each.site for each in known}),
            every_kiosk=[each.name for each in known], first=not request.query_params.get("after"),
            may_export=person.may("supervisor"), formats=tuple(FORMATS.values()),
        )  # fmt: skip

    async def one(self, request: Request, person: Person) -> Response:
        storage = self._desk.storage
        place = request.path_params
        try:
            found = await whole_result(storage, place["store"], place["result_id"])
        except StorageError:
            raise
        except LaboratoryError as error:
            return self._desk.page(
                request, "nothing.html.j2", person, status=404, problem=str(error)
            )
        subject = f"{place['store'][:12]} {place['result_id']}"
        await storage.change(lambda change: note(change, "result viewed", subject, by=person.name))
        versions = [
            (each, json.dumps(each.said, indent=1, ensure_ascii=False)) for each in found.versions
        ]
        return self._desk.page(
            request, "result.html.j2", person, found=found, versions=versions,
            facts=MEASURAND_FACTS, may_ask=person.may("supervisor"),
        )  # fmt: skip

    async def want(self, request: Request, person: Person) -> Response:
        """Ask for its pictures."""
        await self._desk.form(request)
        place = request.path_params
        try:
            await ask(self._desk.storage, place["store"], place["result_id"], by=person.name)
        except StorageError:
            raise
        except LaboratoryError as error:
            return self._desk.page(
                request, "nothing.html.j2", person, status=400, problem=str(error)
            )
        return RedirectResponse(f"/results/{place['store']}/{place['result_id']}", 303)
