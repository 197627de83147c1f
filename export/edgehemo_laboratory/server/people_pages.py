"""What all pages share, and signing in. Other modules add theirs to the table of places."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from edgehemo.pages.environment import page_environment
from edgehemo.records.users import Role
from edgehemo_laboratory.clock import length_of, moment_of
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.overview import spans_text
from edgehemo_laboratory.people import (
    NotSignedInError,
    Person,
    form_token,
    people,
    sign_in,
    sign_out,
    signed_in,
)
from edgehemo_laboratory.seeing import told
from edgehemo_laboratory.server.bodies import body_of
from edgehemo_laboratory.storage.interface import Storage

if TYPE_CHECKING:
    from jinja2 import Environment

# Only ever sent by TLS, to this host alone.
COOKIE = "__Host-edgehemo-laboratory"
MAX_FORM_BYTES = 20_000
_NOT_OURS = "this did not come from a page of the laboratory"


@dataclass(frozen=True, slots=True)
class Place:
    """A page of the menu. role: who may see it."""

    path: str
    name: str
    role: Role = "operator"


# The menu, in its order.
PLACES: tuple[Place, ...] = (
    Place("/", "Kiosks"),
    Place("/results", "Results"),
    Place("/outliers", "Outliers"),
    Place("/agreement", "Agreement"),
    Place("/publications", "Publications", "engineer"),
)


@functools.cache
def environment() -> Environment:
    """Of all pages that people see here."""
    return page_environment(
        "edgehemo_laboratory.server",
        length_of=length_of,
        spans=spans_text,
        silence=told.silence,
        backup=told.backup,
        control=told.control,
        moment=moment_of,
        capitalize_first=_capitalized,
    )


def _capitalized(text: str) -> str:
    """Words as a sentence begins, the rest as they are."""
    return text[:1].upper() + text[1:]


class Desk:
    """What a page needs: who asks, the forms they send, the look."""

    def __init__(self, storage: Storage, certificates: Certificates) -> None:
        self.storage, self.certificates = storage, certificates

    def page(
        self,
        request: Request,
        template: str,
        person: Person | None,
        *,
        status: int = 200,
        **values: Any,
    ) -> Response:
        """A page. values: what its template uses, beside those that all have."""
        cookie = request.cookies.get(COOKIE, "")
        shown = [(each.path, each.name) for each in PLACES if person and person.may(each.role)]
        given = {"problem": "", "done": "", **values}
        html = (
            environment()
            .get_template(template)
            .render(
                person=person,
                places=shown,
                here=request.url.path,
                token=form_token(cookie),
                **given,
            )
        )
        return HTMLResponse(html, status)

    def seen_by(
        self, role: Role, work: Callable[[Request, Person], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """A page for those who are signed in and may see it; others are asked to sign in."""

        async def answer(request: Request) -> Response:
            person = await signed_in(self.storage, request.cookies.get(COOKIE))
            if person is None:
                return RedirectResponse("/sign-in", 303)
            if not person.may(role):
                return self.page(request, "refused.html.j2", person, status=403, role=role)
            return await work(request, person)

        return answer

    async def form(self, request: Request) -> dict[str, str]:
        """The fields of a form that one of our pages of this session sent; 403 for any other."""
        fields = await self.fields(request)
        self.must_be_of_session(request, fields.pop("token", ""))
        return fields

    async def fields(self, request: Request) -> dict[str, str]:
        """The fields of a form; 403 where another site's page sent it."""
        self.must_be_ours(request)
        data = await body_of(request, MAX_FORM_BYTES)
        return dict(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True))

    @staticmethod
    def must_be_ours(request: Request) -> None:
        """403 for what another site's page sent."""
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        own = f"https://{request.headers.get('host', '')}"
        if (origin is not None and origin != own) or (origin is None and site != "same-origin"):
            raise HTTPException(403, _NOT_OURS)

    @staticmethod
    def must_be_of_session(request: Request, token: str) -> None:
        """403 for a form of a page that this session was not given."""
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or token != form_token(cookie):
            raise HTTPException(403, _NOT_OURS)


class PeoplePages:
    """Sign in and out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/sign-in", self.ask),
            Route("/sign-in", self.take, methods=["POST"]),
            Route("/sign-out", self.leave, methods=["POST"]),
            Route("/look.css", self.look),
        ]

    async def ask(self, request: Request) -> Response:
        return await self._asked(request)

    async def _asked(
        self, request: Request, problem: str = "", name: str = "", status: int = 200
    ) -> Response:
        nobody = not await people(self._desk.storage)
        return self._desk.page(
            request, "sign_in.html.j2", None, status=status, problem=problem, name=name,
            nobody=nobody,
        )  # fmt: skip

    async def take(self, request: Request) -> Response:
        fields = await self._desk.fields(request)
        name = fields.get("name", "").strip()
        try:
            _, cookie = await sign_in(self._desk.storage, name, fields.get("passphrase", ""))
        except NotSignedInError as error:
            status = 429 if error.wait_s else 401
            return await self._asked(request, str(error), name[:64], status)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, cookie, secure=True, httponly=True, samesite="strict", path="/")
        return answer

    async def leave(self, request: Request) -> Response:
        await self._desk.form(request)
        await sign_out(self._desk.storage, request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def look(self, _: Request) -> Response:
        return Response(_look(), media_type="text/css")


@functools.cache
def _look() -> str:
    shared = resources.files("edgehemo.pages").joinpath("templates/look.css").read_text("utf-8")
    own = resources.files("edgehemo_laboratory.server").joinpath("static/laboratory.css")
    return f"{shared}\n{own.read_text('utf-8')}"
