"""What engineers see of publications: to publish, advance, halt, resume and roll back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from edgehemo.bundle.signatures import PrivateKey
from edgehemo_laboratory.enrolment.kiosks import kiosks
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.people import Person
from edgehemo_laboratory.server.people_pages import Desk
from edgehemo_laboratory.steering.changing import advance, halt, resume, roll_back
from edgehemo_laboratory.steering.kept import Publication, publication
from edgehemo_laboratory.steering.overview import entry_of, overview
from edgehemo_laboratory.steering.publishing import (
    Plan,
    Prepared,
    next_serial,
    prepared_bundle,
    prepared_package,
    publish,
    settings_content,
    signing_key,
    words_content,
)
from edgehemo_laboratory.steering.stages import STAGES, stages_of

# What a browser may send to be published.
MAX_UPLOAD_BYTES = 400_000_000
KINDS = ("bundle", "language", "settings")
# Of the form, beside the file.
FIELDS = ("kind", "stages", "site", "kiosks", "by_itself")
# What can be done with a publication: its name in the address, and what the page says.
DEEDS: Mapping[str, tuple[str, str]] = {
    "advance": ("Begin the next stage", "More kiosks are offered it from their next visit on."),
    "halt": ("Halt", "It is offered to nobody from now on. Kiosks that use it go on with it."),
    "resume": (
        "Resume",
        "It is offered again, in the stage that it was in. What was found until now halts it no "
        "more.",
    ),
    "rollback": (
        "Roll back",
        "It is halted. What was before it is signed again under a higher serial, and offered at "
        "once to each kiosk that may have taken it.",
    ),
}


class PublicationPages:
    """The routes. key: with which words, settings and rollbacks are signed here; asked each time,
    LaboratoryError where this server has none.
    """

    def __init__(
        self, desk: Desk, key: Callable[[], PrivateKey] = lambda: signing_key(None)
    ) -> None:
        self._desk, self._key = desk, key
        # Looking at a bundle takes memory and a minute: one at a time.
        self._looking = asyncio.Lock()

    @property
    def routes(self) -> Sequence[BaseRoute]:
        seen = self._desk.seen_by
        return [
            Route("/publications", seen("engineer", self.all), methods=["GET"]),
            Route("/publications/new", seen("engineer", self.new), methods=["GET"]),
            Route("/publications/new", seen("engineer", self.publish), methods=["POST"]),
            Route("/publications/{number:int}", seen("engineer", self.one), methods=["GET"]),
            Route("/publications/{number:int}/{deed}", seen("engineer", self.ask)),
            Route("/publications/{number:int}/{deed}", seen("engineer", self.do), methods=["POST"]),
        ]

    async def all(self, request: Request, person: Person) -> Response:
        """Everything that is published, and what runs where."""
        found = await overview(self._desk.storage)
        return self._desk.page(
            request,
            "publications.html.j2",
            person,
            publications=found.publications,
            running=found.running,
            untold=found.untold,
        )

    async def one(self, request: Request, person: Person) -> Response:
        return await self._one(request, person)

    async def _one(
        self, request: Request, person: Person, *, problem: str = "", status: int = 200
    ) -> Response:
        kept = await self._named(request)
        return self._desk.page(
            request,
            "publication.html.j2",
            person,
            status=status,
            each=await entry_of(self._desk.storage, kept),
            deeds=[(name, DEEDS[name][0]) for name in _deeds(kept)],
            problem=problem,
        )

    async def ask(self, request: Request, person: Person) -> Response:
        """Whether it is meant: what is done to hundreds of kiosks is not done by one click."""
        kept, deed = await self._named(request), self._deed(request)
        if deed not in _deeds(kept):
            raise HTTPException(404)
        entry = await entry_of(self._desk.storage, kept)
        return self._desk.page(
            request,
            "publication_deed.html.j2",
            person,
            each=entry,
            deed=deed,
            name=DEEDS[deed][0],
            meaning=DEEDS[deed][1],
            unsigned=self._unsigned() if deed == "rollback" else "",
        )

    async def do(self, request: Request, person: Person) -> Response:
        """Do it; refused, the page of the publication says why."""
        fields = await self._desk.form(request)
        kept, deed = await self._named(request), self._deed(request)
        storage, reason, by = self._desk.storage, fields.get("reason", "").strip(), person.name
        does: Mapping[str, Callable[[], Awaitable[Publication]]] = {
            "advance": lambda: advance(storage, kept.number, by=by, anyway=reason),
            "halt": lambda: halt(storage, kept.number, reason, by=by),
            "resume": lambda: resume(storage, kept.number, reason, by=by),
            "rollback": lambda: self._rolled_back(kept, reason, by),
        }
        try:
            made = await does[deed]()
        except LaboratoryError as error:
            return await self._one(request, person, problem=str(error), status=409)
        return RedirectResponse(f"/publications/{made.number}", 303)

    async def _rolled_back(self, kept: Publication, reason: str, by: str) -> Publication:
        async with self._looking:
            return await roll_back(self._desk.storage, kept.number, self._key(), reason, by=by)

    async def new(self, request: Request, person: Person) -> Response:
        return await self._new(request, person)

    async def _new(
        self,
        request: Request,
        person: Person,
        *,
        problem: str = "",
        given: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        known = [each for each in await kiosks(self._desk.storage) if each.revoked_at is None]
        return self._desk.page(
            request,
            "publication_new.html.j2",
            person,
            status=status,
            kinds=KINDS,
            sites=sorted({each.site for each in known}),
            stages=_stages_text(),
            unsigned=self._unsigned(),
            problem=problem,
            given={**dict.fromkeys(FIELDS, ""), **(given or {})},
        )

    async def publish(self, request: Request, person: Person) -> Response:
        """A file of the browser is published, once it was looked at as a kiosk would."""
        self._desk.must_be_ours(request)
        try:
            size = int(request.headers.get("content-length", ""))
        except ValueError:
            raise HTTPException(411) from None
        if size > MAX_UPLOAD_BYTES:
            raise HTTPException(413, "this is too large to be published")
        async with request.form(max_files=1, max_fields=20) as form:
            fields = {name: each for name, each in form.items() if isinstance(each, str)}
            upload = form.get("file")
            self._desk.must_be_of_session(request, fields.pop("token", ""))
            try:
                if not isinstance(upload, UploadFile) or not upload.filename:
                    raise LaboratoryError("choose the file that is to be published")
                file = await self._prepared(fields.get("kind", ""), upload)
                made = await publish(self._desk.storage, file, _plan(fields), by=person.name)
            except LaboratoryError as error:
                return await self._new(
                    request, person, problem=str(error), given=fields, status=422
                )
        return RedirectResponse(f"/publications/{made.number}", 303)

    async def _prepared(self, kind: str, upload: UploadFile) -> Prepared:
        name = Path(upload.filename or "").name
        with tempfile.TemporaryDirectory(prefix="edgehemo-publish-") as scratch:
            source = Path(scratch) / name
            await asyncio.to_thread(_written, source, upload)
            if kind == "bundle":
                async with self._looking:
                    return await asyncio.to_thread(prepared_bundle, source)
            key = self._key()
            if kind == "language":
                called, content = await asyncio.to_thread(words_content, source)
                serial = await next_serial(self._desk.storage, "language", called)
                return prepared_package("language", called, serial, content, key)
            if kind == "settings":
                called, content = settings_content(source)
                serial = await next_serial(self._desk.storage, "settings", called)
                return prepared_package("settings", called, serial, content, key)
        raise LaboratoryError("choose what is to be published")

    def _unsigned(self) -> str:
        """Why nothing can be signed here; empty where it can."""
        try:
            self._key()
        except LaboratoryError as error:
            return str(error)
        return ""

    async def _named(self, request: Request) -> Publication:
        try:
            return await publication(self._desk.storage, request.path_params["number"])
        except LaboratoryError:
            raise HTTPException(404) from None

    @staticmethod
    def _deed(request: Request) -> str:
        deed: str = request.path_params["deed"]
        if deed not in DEEDS:
            raise HTTPException(404)
        return deed


def _deeds(kept: Publication) -> list[str]:
    """What can be done with it now."""
    if kept.state == "halted":
        return ["resume", "rollback"]
    return [*([] if kept.is_last else ["advance"]), "halt", "rollback"]


def _plan(fields: Mapping[str, str]) -> Plan:
    text = fields.get("stages", "").strip()
    return Plan(
        stages=stages_of(text) if text else STAGES,
        sites=tuple(filter(None, [fields.get("site", "")])),
        kiosks=tuple(each.strip() for each in fields.get("kiosks", "").split(",") if each.strip()),
        by_itself=fields.get("by_itself") == "yes",
    )


def _stages_text() -> str:
    return ",".join(
        f"{each.share * 100:g}%" + (f"/{each.wait_s // 3600}h" if each.wait_s else "")
        for each in STAGES
    )


def _written(target: Path, upload: UploadFile) -> None:
    left = MAX_UPLOAD_BYTES
    with target.open("wb") as file:
        while block := upload.file.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise LaboratoryError("this is too large to be published")
            file.write(block)
