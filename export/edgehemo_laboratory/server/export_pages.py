"""Exports from the page of results."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from edgehemo.errors import EdgeHemoError
from edgehemo_laboratory.clock import now
from edgehemo_laboratory.errors import LaboratoryError, StorageError
from edgehemo_laboratory.exporting.formats import FORMATS, write_export
from edgehemo_laboratory.exporting.rows import Asked
from edgehemo_laboratory.people import Person
from edgehemo_laboratory.seeing.filters import Chosen
from edgehemo_laboratory.server.people_pages import Desk


class ExportPages:
    """A file of what the page of results shows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/export", self._desk.seen_by("supervisor", self.export), methods=["POST"]),
        ]

    async def export(self, request: Request, person: Person) -> Response:
        fields = await self._desk.form(request)
        try:
            kind = FORMATS.get(fields.get("format", ""))
            if kind is None:
                raise LaboratoryError(f"choose a format: {', '.join(FORMATS)}")
            asked = Asked(
                Chosen.asked(fields), names="names" in fields, withdrawn="withdrawn" in fields
            )
            # A file first: whatever fails is told before anything is handed out.
            with tempfile.NamedTemporaryFile(prefix="edgehemo-export-", delete=False) as made:
                place = Path(made.name)
            try:
                await write_export(self._desk.storage, kind, asked, place, by=person.name)
            except BaseException:
                place.unlink(missing_ok=True)
                raise
        except StorageError:
            raise
        except EdgeHemoError as error:
            return self._desk.page(
                request, "nothing.html.j2", person, status=400, problem=str(error)
            )
        return FileResponse(
            place,
            media_type=kind.media_type,
            filename=f"edgehemo-results-{now():%Y-%m-%d}{kind.ending}",
            background=BackgroundTask(place.unlink, missing_ok=True),
        )
