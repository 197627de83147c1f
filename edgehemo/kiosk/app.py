"""The page's server: one page that shows the state, one address that takes what people do.

Everything works by forms and whole pages; the script only spares the reload. A post that comes too
late, from a page that shows another state, is answered with the page of the state that is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import (
    EdgeHemoError,
    KioskBusyError,
    RecordsError,
    RecordsFullError,
    UsageError,
    place_of,
)
from edgehemo.guidance.catalogue import catalogue
from edgehemo.interop.outbox import outgoing
from edgehemo.kiosk.area import AreaPages, Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.area_table import areas_with_pages
from edgehemo.kiosk.door import Door
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.errands import Errands
from edgehemo.kiosk.events import (
    CopyToStick,
    Event,
    NewSample,
    Print,
    StopHandingOut,
    TryAgain,
    UseArea,
    person_event,
)
from edgehemo.kiosk.faults import FAULTS
from edgehemo.kiosk.flow import EventRefusedError
from edgehemo.kiosk.guarding import COOKIE, HEADERS, MAX_BODY_BYTES, Guard
from edgehemo.kiosk.jobs import Jobs
from edgehemo.kiosk.new_pins import pin_problem
from edgehemo.kiosk.offers import is_offered
from edgehemo.kiosk.pages import NO_PAGE, Facts, Look, OnArea, Pages
from edgehemo.kiosk.putting_back import Outcome, PutBack, outcome_words
from edgehemo.kiosk.result_code import code_lines, code_svg
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.state import Fault, KioskState, Sample, screen_of
from edgehemo.kiosk.supervision.people import name_problem
from edgehemo.kiosk.viewers import may_do, steers
from edgehemo.records.controls import control_mark
from edgehemo.records.results import result_of
from edgehemo.records.users import add_first_user, is_user_name, known_users
from edgehemo.words.language import Words, offered

log = logging.getLogger(__name__)

STATIC = Path(__file__).with_name("static")
LANGUAGE_COOKIE, THEME_COOKIE = "edgehemo-language", "edgehemo-theme"
THEMES = ("light", "dark")
# A connection that nothing is said to is tried after so many seconds, so that one that is gone is
# noticed; the page takes up a lost one by itself.
SIGN_OF_LIFE_S = 15.0
# How long a page waits for the next live picture before it asks again.
NEXT_PICTURE_S = 5.0
# How often the state is told that somebody works in an area.
HEARD_EVERY_S = 15.0
# What a form may hold: fields, characters of one.
MAX_FIELDS = 20


class Guarded:
    """Refuses what does not come from our own page, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                extra = [(n.encode(), v.encode()) for n, v in HEADERS if n.encode() not in known]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        if refused := self._refused(request):
            await refused(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _refused(self, request: Request) -> Response | None:
        scheme = request.scope["scheme"]
        if not self.guard.answers_to(request.headers.get("host"), scheme):
            return Response("this is not the kiosk's address\n", 421, media_type="text/plain")
        if request.method not in ("GET", "HEAD", "POST"):
            return Response("", 405, {"allow": "GET, HEAD, POST"})
        if request.method == "POST" and not self.guard.comes_from_here(
            request.headers.get("origin"), request.headers.get("sec-fetch-site"), scheme
        ):
            return Response("this did not come from the kiosk's page\n", 403)
        return None


class KioskApp:
    """The routes of one kiosk. simulated: whether its microscope is. put_back: see `Desk`. outcome:
    what became of the last one.
    """

    def __init__(
        self,
        kiosk: Kiosk,
        device: DeviceConfiguration,
        guard: Guard,
        *,
        simulated: bool,
        areas: Mapping[Area, AreaPages] | None = None,
        put_back: Callable[[PutBack], None] = lambda _: None,
        outcome: Outcome | None = None,
    ) -> None:
        self.kiosk, self.device, self.guard = kiosk, device, guard
        self.simulated = simulated
        self.pages = Pages(device)
        self.areas = areas_with_pages() if areas is None else areas
        jobs = Jobs(self._job_moved)
        self.desk = Desk(
            kiosk, device, jobs, self._take_up, self._use_camera, put_back, guard.address
        )
        # What became of a backup that was to be put back; told until somebody is signed in.
        self.outcome = outcome
        self.errands = Errands(kiosk, device, self.desk.jobs)
        # What was done on a page of an area, for the page that follows.
        self._went: dict[str, Went] = {}
        # Who was shown a live picture last, and its number.
        self._shown = ("", 0)
        # When a page on this device's own screen last said that it lives.
        self._seen_s: float | None = None

    def application(self, token: str | None = None) -> ASGIApp:
        """The whole application, guarded. token: what who comes by TLS is asked for."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await self.kiosk.start()
            try:
                yield
            finally:
                await asyncio.to_thread(self.desk.jobs.close)
                await self.kiosk.stop()

        app: ASGIApp = Starlette(
            routes=[
                Route("/", self.page),
                Route("/do", self.do, methods=["POST"]),
                Route("/pin", self.pin, methods=["POST"]),
                Route("/first", self.first_user, methods=["POST"]),
                Route("/look", self.look_at, methods=["POST"]),
                Route("/area/{area}/{path:path}", self.area, methods=["GET"]),
                Route("/area/{area}/{path:path}", self.do_in_area, methods=["POST"]),
                Route("/changes", self.changes),
                Route("/live.jpg", self.live),
                Route("/field/{number:int}.jpg", self.field),
                Route("/cell/{ref:int}/{item:int}.jpg", self.cell),
                Route("/code/{ref:int}.svg", self.code),
                Route("/screen.css", self.screen_css),
                Route("/alive", self.alive),
                Route("/seen", self.seen),
                Route("/favicon.ico", self.no_icon),
                Mount("/static", StaticFiles(directory=STATIC)),
            ],
            exception_handlers={HTTPException: self._no_such_page, Exception: self._broken},
            lifespan=lifespan,
        )
        if token is not None:
            app = Door(app, token, self._ask_token, self._token_form)
        return Guarded(app, self.guard)

    def _ask_token(self, request: Request, wait_s: int, wrong: bool) -> Response:
        html = self.pages.token_page(self._look(request), self._facts(), wait_s, wrong)
        return HTMLResponse(html, 429 if wait_s else 401)

    async def _token_form(self, request: Request) -> dict[str, str]:
        try:
            return await _form(request)
        except HTTPException:
            return {}

    # -- answers ----------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page of the state; of an area, its first page."""
        state = self.kiosk.state
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        place = screen_of(state)
        if place in self.areas and viewer is not None and steers(state, viewer):
            return RedirectResponse(f"/area/{place}/", 303)
        return self._page(request)

    def _page(
        self,
        request: Request,
        problem: str = "",
        status: int = 200,
        given: Mapping[str, str] | None = None,
    ) -> Response:
        cookie = request.cookies.get(COOKIE)
        viewer = self.guard.viewer(cookie)
        fresh = None
        if viewer is None:
            fresh = self.guard.new_viewer()
            viewer = self.guard.viewer(fresh)
            assert viewer is not None
        look, said = self._look(request), ""
        if self.outcome is not None and screen_of(self.kiosk.state) in ("sign_in", "pin"):
            said, failed = outcome_words(look.words, self.outcome)
            problem = problem or failed
        html = self.pages.render(
            self.kiosk,
            viewer,
            self.guard.token(viewer),
            look,
            self._facts(),
            problem,
            given,
            self.errands.of(self.kiosk.state.sample),
            said,
        )
        answer = HTMLResponse(html, status)
        if fresh is not None:
            secure = request.url.scheme == "https"
            answer.set_cookie(
                COOKIE, fresh, secure=secure, httponly=True, samesite="strict", path="/"
            )
        return answer

    async def do(self, request: Request) -> Response:
        """What the person who steers does."""
        viewer, form = await self._posted(request)
        seen = form.pop("screen", "")
        name = form.pop("do", "")
        if not may_do(self.kiosk.state, viewer, name):
            return self._page(request, status=409)
        if seen != screen_of(self.kiosk.state):
            return self._page(request, status=409)
        try:
            event = person_event(name, {key: value for key, value in form.items() if value != ""})
            if isinstance(event, NewSample):
                altitude_m = self.device.kiosk.altitude_m
                event = msgspec.structs.replace(event, altitude_m=altitude_m)
            if not is_offered(self.kiosk.state, event):
                raise EventRefusedError(event, "no page offers it")
            fault = self.kiosk.state.fault
            await self.kiosk.tell(event)
            self._do_beside(event, fault, self._look(request).words)
        except KioskBusyError as error:
            return self._page(request, self._failed(self._look(request).words, error), 409)
        except (EventRefusedError, UsageError) as error:
            why = error.why if isinstance(error, EventRefusedError) else str(error)
            return self._page(request, self._in_words(request, why), 409)
        except RecordsError as error:
            return self._not_stored(request, error)
        return RedirectResponse("/", 303)

    def _not_stored(self, request: Request, error: EdgeHemoError) -> Response:
        """What was done could not be stored: of a full disk the fault, or its words where nobody
        works yet; else that it may be tried again.
        """
        log.error("%s", error)
        if not isinstance(error, RecordsFullError):
            return self._page(request, self._in_words(request, "not stored"), 503)
        if self.kiosk.show_not_stored(error):
            return self._page(request, status=503)
        said = self._look(request).words.guidance("RECORDS_FULL")
        return self._page(request, f"{said.title}. {said.meaning}", 503)

    def _do_beside(self, event: Event, fault: Fault | None, words: Words) -> None:
        """What is printed or copied; KioskBusyError where something else still is."""
        if isinstance(event, Print):
            self.errands.begin("print", words)
        elif isinstance(event, CopyToStick):
            self.errands.begin("stick", words)
        elif isinstance(event, StopHandingOut):
            self.errands.stop()
        elif isinstance(event, TryAgain) and _is_of_an_errand(self.kiosk.state, fault):
            self.errands.again()

    async def code(self, request: Request) -> Response:
        """The QR code of the signed result in hand."""
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        state = self.kiosk.state
        sample = state.sample
        shown = screen_of(state) == "done" and viewer is not None and steers(state, viewer)
        if not shown or sample is None or sample.taking is None:
            return Response("", 404)
        if sample.ref != request.path_params["ref"]:
            return Response("", 404)
        picture = await asyncio.to_thread(self._code_of, sample, sample.taking)
        return Response(picture, media_type="image/svg+xml")

    def _code_of(self, sample: Sample, taking: str) -> bytes:
        result = result_of(self.kiosk.writer, taking)
        record = self.kiosk.gallery(sample).record
        head = self.kiosk.writer.head()
        marked = control_mark(self.kiosk.writer, result) is not None
        unit = self.device.kiosk.unit
        return code_svg(code_lines(result, record, head, unit, marked=marked))

    async def pin(self, request: Request) -> Response:
        """A PIN: at the page that asks for it, or at another screen that takes the kiosk over."""
        viewer, form = await self._posted(request)
        state = self.kiosk.state
        if state.session is not None:
            name = state.session.name
            allowed = state.session.locked or not steers(state, viewer)
        else:
            name = state.asked.name if state.asked is not None else ""
            allowed = state.asked is not None
        if not allowed:
            return self._page(request, status=409)
        try:
            await self.kiosk.sign_in(name, form.get("pin", ""), viewer)
            if screen_of(self.kiosk.state) not in ("sign_in", "pin"):
                self.outcome = None
        except EdgeHemoError as error:
            return self._not_stored(request, error)
        return RedirectResponse("/", 303)

    async def first_user(self, request: Request) -> Response:
        """Whoever is to supervise this device, where nobody is known to it yet."""
        _, form = await self._posted(request)
        words = self._look(request).words
        name, writer = form.get("name", "").strip(), self.kiosk.writer
        if self.kiosk.state.session is not None or known_users(writer):
            return self._page(request, status=409)
        problem = name_problem(name, [], words) or pin_problem(form, words)
        if problem:
            given = {"name": name} if is_user_name(name) else {}
            return self._page(request, problem, 409, given)
        try:
            await self.kiosk.stored(
                lambda: add_first_user(writer, name, form["pin"], by="first start")
            )
        except EdgeHemoError as error:
            return self._not_stored(request, error)
        self.kiosk.bump()
        return RedirectResponse("/", 303)

    # -- areas ------------------------------------------------------------------------------------

    async def area(self, request: Request) -> Response:
        """A page of the area that is open, or a picture on one."""
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        pages = self._open_area(request, viewer)
        if viewer is None or pages is None:
            return RedirectResponse("/", 303)
        asked = self._asked(request, dict(request.query_params))
        await self._used()
        try:
            shown = await asyncio.to_thread(pages.show, self.desk, asked)
        except EdgeHemoError as error:
            log.error("%s", error)
            went = Went(problem=self._failed(asked.words, error))
            shown = Shown(NO_PAGE, {"told": asked.words.guidance("RECORDS_REFUSED")})
        else:
            went = Went() if isinstance(shown, Sent) else self._went.pop(viewer, Went())
        if shown is None:
            raise HTTPException(404)
        if isinstance(shown, Sent):
            return Response(shown.content, media_type=shown.media_type)
        query = f"?{request.url.query}" if request.url.query else ""
        on_area = OnArea(pages.area, shown, went, f"{request.url.path}{query}")
        html = self.pages.render_area(
            self.kiosk, self.guard.token(viewer), self._look(request), self._facts(), on_area
        )
        return HTMLResponse(html)

    async def do_in_area(self, request: Request) -> Response:
        """What is done on a page of the area that is open; then the page that follows."""
        viewer, form = await self._posted(request)
        pages = self._open_area(request, viewer)
        if pages is None or form.pop("screen", "") != pages.area:
            return RedirectResponse("/", 303)
        asked = self._asked(request, form)
        await self._used()
        try:
            went = await self.kiosk.stored(lambda: pages.do(self.desk, asked))
        except EdgeHemoError as error:
            log.error("%s", error)
            went = Went(form.get("here", ""), problem=self._failed(asked.words, error))
        if went is None:
            raise HTTPException(404)
        assert isinstance(went, Went)
        self._went = {viewer: went}
        return RedirectResponse(f"/area/{pages.area}/{went.path}", 303)

    def _open_area(self, request: Request, viewer: str | None) -> AreaPages | None:
        """The area that is open, where the address names it and this viewer steers."""
        state = self.kiosk.state
        name = request.path_params["area"]
        if viewer is None or not steers(state, viewer) or screen_of(state) != name:
            return None
        return self.areas.get(name)

    def _asked(self, request: Request, values: dict[str, str]) -> Asked:
        session = self.kiosk.state.session
        assert session is not None, "an area is open"
        path = request.path_params["path"].strip("/")
        return Asked(path, values, session, self._look(request).words)

    async def _used(self) -> None:
        """Somebody is there: the session lasts. Not stored for every touch."""
        if self.kiosk.clock() - self.kiosk.state.heard_s >= HEARD_EVERY_S:
            await self.kiosk.tell_if_possible(UseArea())

    def _job_moved(self) -> None:
        """From the thread of a job: its page is another now."""
        self.errands.moved()
        self.kiosk.from_thread(self.kiosk.bump)

    def _take_up(self, device: DeviceConfiguration) -> None:
        """From any thread: the device configuration is another now."""

        def take() -> None:
            self.device = self.pages.device = device
            self.desk = replace(self.desk, device=device)
            self.errands.device = device
            if self.kiosk.work is not None:
                self.kiosk.work.take_up(device)
            self.kiosk.bump()

        self.kiosk.from_thread(take)

    def _use_camera(self, source: str) -> None:
        """From any thread: the kiosk's camera is another now."""

        def use() -> None:
            self.simulated = source.startswith("simulated:")
            if self.kiosk.work is not None:
                self.kiosk.work.use_camera(source)
            self.kiosk.bump()

        self.kiosk.from_thread(use)

    def _failed(self, words: Words, error: EdgeHemoError) -> str:
        _ = words._
        said = _("It could not be done. Nothing was changed.")
        # The code FAILED says no more than that.
        known = error.code in catalogue() and error.code != EdgeHemoError.code
        return f"{words.title(error.code)}. {said}" if known else said

    # -- how it looks -----------------------------------------------------------------------------

    async def look_at(self, request: Request) -> Response:
        """The language or the theme of this browser."""
        _, form = await self._posted(request)
        answer = RedirectResponse("/", 303)
        for cookie, name, known in (
            (LANGUAGE_COOKIE, "language", offered()),
            (THEME_COOKIE, "theme", THEMES),
        ):
            if form.get(name) in known:
                answer.set_cookie(
                    cookie, form[name], max_age=365 * 86400, httponly=True, samesite="strict"
                )
        return answer

    async def changes(self, request: Request) -> Response:
        """Server-sent events: ``state`` with its version, ``view`` with the focus and the code of
        what to do, whose words the page has.

        After a reconnect the whole state is told again, never a change of it.
        """
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        if viewer is None:
            return Response("open the page first\n", 403)
        return StreamingResponse(self._told(viewer), media_type="text/event-stream")

    async def _told(self, viewer: str) -> AsyncIterator[str]:
        kiosk = self.kiosk
        with kiosk.looking(viewer) as changes:
            if changes is None:
                yield "event: full\ndata: {}\n\n"
                return
            version, view = -1, 0
            while kiosk.still_looks(changes):
                changes.wake.clear()
                if kiosk.version != version:
                    version = kiosk.version
                    yield f"event: state\ndata: {version}\n\n"
                if kiosk.view.number != view:
                    view = kiosk.view.number
                    content = {"bar": round(kiosk.view.bar, 3), "advice": kiosk.view.advice}
                    content |= kiosk.look.facts()
                    yield f"event: view\ndata: {json.dumps(content)}\n\n"
                try:
                    await asyncio.wait_for(changes.wake.wait(), SIGN_OF_LIFE_S)
                except TimeoutError:
                    yield ": still here\n\n"

    async def live(self, request: Request) -> Response:
        """The newest live picture that this browser was not yet shown; 204 where none comes."""
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        if viewer is None or not steers(self.kiosk.state, viewer):
            return Response("", 403)
        self.kiosk.look.renew()
        # One browser steers, so one is shown pictures.
        before = self._shown[1] if self._shown[0] == viewer else 0
        view = await self.kiosk.next_view(before, NEXT_PICTURE_S)
        if view is None:
            return Response("", 204)
        self._shown = (viewer, view.number)
        return Response(view.jpeg, media_type="image/jpeg")

    async def field(self, request: Request) -> Response:
        """The small picture of a field that was just read."""
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        picture = self.kiosk.small_pictures.get(request.path_params["number"])
        if viewer is None or not steers(self.kiosk.state, viewer) or picture is None:
            return Response("", 404)
        return Response(picture, media_type="image/jpeg")

    async def cell(self, request: Request) -> Response:
        """The picture of a cell that asks for a person, of the sample that is reviewed."""
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        state = self.kiosk.state
        sample, item = state.sample, request.path_params["item"]
        shown = screen_of(state) == "review" and viewer is not None and steers(state, viewer)
        if not shown or sample is None or sample.ref != request.path_params["ref"]:
            return Response("", 404)
        try:
            gallery = await asyncio.to_thread(self.kiosk.gallery, sample)
            if item >= len(gallery.cells):
                return Response("", 404)
            picture = await asyncio.to_thread(gallery.picture, item)
        except EdgeHemoError as error:
            # The page says so in the picture's place.
            log.warning("%s", error)
            return Response("", 404)
        return Response(picture, media_type="image/jpeg")

    async def screen_css(self, request: Request) -> Response:
        """How many CSS pixels a millimetre of this screen has."""
        px_per_mm = self.device.kiosk.px_per_mm
        return Response(f":root {{ --mm: {px_per_mm:g}px; }}\n", media_type="text/css")

    async def alive(self, request: Request) -> Response:
        """For whoever watches over the server and over the browser of this device: the state's
        version, whether nobody is signed in, and how many seconds ago a page said that it lives.
        """
        ago = "never" if self._seen_s is None else f"{time.monotonic() - self._seen_s:.0f}"
        idle = "yes" if self.kiosk.state.session is None else "no"
        lines = f"{self.kiosk.version}\nidle {idle}\npage {ago}\n"
        return Response(lines, media_type="text/plain")

    async def seen(self, request: Request) -> Response:
        """A page says that it lives; of those on this device's own screen it is noted."""
        if request.scope["scheme"] == "http":
            self._seen_s = time.monotonic()
        return Response("", 204)

    async def no_icon(self, request: Request) -> Response:
        """A browser asks for one by itself."""
        return Response("", 204)

    async def _no_such_page(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        if status == 400:
            return self._page(request, status=400)
        look = self._look(request)
        title, action = look.words._("There is no such page."), look.words._("Go to the kiosk.")
        html = self.pages.problem_page(look, self._facts(), title, action)
        return HTMLResponse(html, status)

    async def _broken(self, request: Request, error: Exception) -> Response:
        log.error("no page could be made: %s at %s", type(error).__name__, place_of(error))
        return Response("the kiosk has a fault; its log says which\n", 500)

    # -- requests ---------------------------------------------------------------------------------

    async def _posted(self, request: Request) -> tuple[str, dict[str, str]]:
        """Who posts, and the fields. HTTPException for what our own page does not send."""
        viewer = self.guard.viewer(request.cookies.get(COOKIE))
        form = await _form(request)
        if viewer is None or not self.guard.knows(viewer, form.pop("token", "")):
            # A page from before a restart of the server: it gets the page of now.
            raise HTTPException(400)
        return viewer, form

    def _look(self, request: Request) -> Look:
        wanted = request.cookies.get(LANGUAGE_COOKIE)
        own = self.device.kiosk.language
        language = next((each for each in offered() if each == wanted), None)
        if language is None:
            language = own if own in offered() else "en"
        theme = request.cookies.get(THEME_COOKIE)
        return Look(
            Words(language, self.device.kiosk.unit),
            theme if theme in THEMES else self.device.kiosk.theme,
        )

    def _facts(self) -> Facts:
        folder = self.kiosk.writer.folder.path
        try:
            usage = shutil.disk_usage(folder)
            full: float | None = usage.used / usage.total if usage.total else None
        except OSError:
            full = None
        stamp = self.kiosk.writer.stamp()
        waiting = outgoing(self.kiosk.writer, self.device.receivers)
        return Facts(
            self.simulated, datetime.now().astimezone(), stamp.clock == "set", full, waiting
        )

    def _in_words(self, request: Request, why: str) -> str:
        """A refusal for the person who meets it; empty where the new page says it itself."""
        _ = self._look(request).words._
        known = {
            "no sample number": _(
                "A number has letters, digits and . _ / - and at least one digit."
            ),
            "a sample of this number waits": _("A sample with this number waits already."),
            "too many samples wait": _("Finish or give up a waiting sample first."),
            "say why": _("Say why in a few words."),
            "some cells were not looked at": _("Look at the cells of the findings first."),
            "a changed grade needs a reason": _("Say why in a few words."),
            "not stored": _("It could not be stored. Nothing was changed. Try again."),
        }
        if why in known:
            return known[why]
        if (
            "sex" in why
            or "age" in why
            or "pregnan" in why
            or "filled in" in why
            or "6 months" in why
        ):
            return _("Look at age, sex and pregnancy again: they do not fit together.")
        return ""


def _is_of_an_errand(state: KioskState, fault: Fault | None) -> bool:
    """On the page of a signed result nothing else is missing but what was asked for there."""
    return state.place == "done" and fault is not None and FAULTS[fault.code].stops == "one_thing"


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, bounded. HTTPException for anything else."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise HTTPException(415) from None
    return dict(pairs)
