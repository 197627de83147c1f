"""The kiosks as pages: all of them by site, and each by itself."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from edgehemo_laboratory.enrolment.kiosks import kiosk_named
from edgehemo_laboratory.errors import LaboratoryError, StorageError
from edgehemo_laboratory.output import KioskEntry
from edgehemo_laboratory.overview import kiosk_entries
from edgehemo_laboratory.people import Person
from edgehemo_laboratory.seeing.charts import Bar, over_days, stacked
from edgehemo_laboratory.seeing.judging import Beside
from edgehemo_laboratory.seeing.kiosks import (
    KioskDay,
    doubled_of,
    kiosk_days,
    newest_bundles,
    refused_of,
    wanted_of,
)
from edgehemo_laboratory.seeing.quantities import COMPARED
from edgehemo_laboratory.seeing.told import asks_for_a_look, beside_fleet
from edgehemo_laboratory.seeing.watching import Watch
from edgehemo_laboratory.server.people_pages import Desk

# Parts of a day's bar: class of the stylesheet, and name.
DAY_PARTS = (
    ("given", "given"), ("withheld", "withheld"), ("held", "held"), ("withdrawn", "withdrawn"),
)  # fmt: skip
# Days of which a check's chart says anything.
_FEWEST_DAYS = 2


class KioskPages:
    """The list of kiosks, and a page of each."""

    def __init__(self, desk: Desk, watch: Watch) -> None:
        self._desk, self._watch = desk, watch

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/", self._desk.seen_by("operator", self.all)),
            Route("/kiosks/{name}", self._desk.seen_by("operator", self.one)),
        ]

    async def all(self, request: Request, person: Person) -> Response:
        storage = self._desk.storage
        found = await kiosk_entries(storage, self._desk.certificates)
        bundles = await newest_bundles(storage)
        judged, _ = await self._watch.judged()
        site = request.query_params.get("site", "")
        only = request.query_params.get("only", "")
        shown = [
            each
            for each in found
            if site in ("", each.site) and (only != "look" or asks_for_a_look(each, judged))
        ]
        shown.sort(key=lambda each: (each.site, each.name))
        sites = [(name, list(them)) for name, them in itertools.groupby(shown, lambda k: k.site)]
        return self._desk.page(
            request, "kiosks.html.j2", person, total=len(found), shown=len(shown), sites=sites,
            every_site=sorted({each.site for each in found}), site=site, only=only,
            look=sum(asks_for_a_look(each, judged) for each in found),
            drift={each.name: beside_fleet(each.name, judged) for each in shown},
            bundle_of={each.name: _bundles(each, bundles) for each in shown},
        )  # fmt: skip

    async def one(self, request: Request, person: Person) -> Response:
        storage = self._desk.storage
        name = request.path_params["name"]
        try:
            kiosk = await kiosk_named(storage, name)
        except StorageError:
            raise
        except LaboratoryError as error:
            return self._desk.page(
                request, "nothing.html.j2", person, status=404, problem=str(error)
            )
        (entry,) = await kiosk_entries(storage, self._desk.certificates, only=kiosk)
        stores = [each.store for each in entry.records]
        days = await kiosk_days(storage, stores)
        judged, _ = await self._watch.judged()
        return self._desk.page(
            request, "kiosk.html.j2", person, kiosk=entry, days=days[::-1],
            bundles=_bundles(entry, await newest_bundles(storage)),
            chart=_day_chart(days), charts=_check_charts(days, judged.levels.get(name, {})),
            drift=beside_fleet(name, judged), outliers=judged.of(name),
            refused=await refused_of(storage, stores), wanted=await wanted_of(storage, stores),
            doubled={store: await doubled_of(storage, store) for store in stores},
        )  # fmt: skip


def _bundles(entry: KioskEntry, newest: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(newest[each.store] for each in entry.records if each.store in newest))


def _day_chart(days: Sequence[KioskDay]) -> str:
    bars = [Bar(each.day, (each.given, each.withheld, each.held, each.withdrawn)) for each in days]
    return stacked("Results a day", bars, DAY_PARTS) if bars else ""


def _check_charts(days: Sequence[KioskDay], beside: Mapping[str, Beside]) -> list[tuple[str, str]]:
    """What the results of each day say of light, sharpness, stain: label and drawing. beside: in
    what most kiosks lie.
    """
    charts = []
    for each in COMPARED:
        points = [
            (day.day, value)
            for day in days
            for value in [day.hgb if each.name == "hgb" else day.means.get(each.name)]
            if value is not None
        ]
        if len(points) >= _FEWEST_DAYS:
            label = f"{each.label}{f', {each.unit}' if each.unit else ''}"
            fleet = beside.get(each.name)
            band = None if fleet is None else (fleet.low, fleet.high)
            drawn = over_days(f"{label}, mean of each day", points, each.decimals, band=band)
            charts.append((label, drawn))
    return charts
