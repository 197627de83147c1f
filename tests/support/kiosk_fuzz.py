"""Requests that no page of the kiosk sends, against the kiosk at each of its screens.

An answer of 500 or more is a fault; so is an exception that reaches the server, and an answer that
does not come. 503 is the kiosk's own word for a disk that cannot be written, which here it can.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from starlette.types import ASGIApp, Message

from edgehemo.device.configuration import load_profile
from edgehemo.kiosk import app as kiosk_app
from edgehemo.kiosk import events
from edgehemo.kiosk.app import LANGUAGE_COOKIE, THEME_COOKIE, KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.events import PERSON_EVENTS, Event
from edgehemo.kiosk.guarding import COOKIE, Guard
from edgehemo.kiosk.screens import AREAS, RULES, SCREENS
from edgehemo.kiosk.state import KioskState, screen_of
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import Role
from tests.support.kiosk_by_touch import USERS, add_all

PORT = 8321
VIEWER = "v" * 43
ANSWER_S = 10.0
NAMES = tuple(name for name, _, _ in USERS)
PINS = tuple(pin for _, _, pin in USERS)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. body: bytes as they come. known: as the browser that steers."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    known: bool = True


# -- what is sent ---------------------------------------------------------------------------------

_TEXT = st.text(max_size=30)
_NUMBERS = st.sampled_from(
    ("0", "1", "7", "-1", "999999999999999999999", "1e309", "nan", "2.5", "٣", "0x10", " 1", "")
)
_WORDS = st.sampled_from((
    *NAMES, *PINS, "female", "male", "true", "false", "26-0417", "typed", "scanned", "mild", "none",
    "measured", "other", "poor_smear", "uncertain", "not_a_cell", "normal", "fr", "sw", "dark",
    "operator", "supervisor", *AREAS,
))  # fmt: skip
VALUES = st.one_of(_WORDS, _NUMBERS, _TEXT, st.just("x" * 5000))
FIELDS = st.one_of(
    st.sampled_from((
        "name", "number", "how", "age_years", "sex", "pregnant", "smokes", "ref", "item", "type",
        "page", "grade", "because", "reason", "words", "practice", "altitude_m", "area", "result",
        "pin", "again", "role", "language", "theme", "viewer", "code", "until", "sort", "note",
    )),
    _TEXT,
)  # fmt: skip
EVENT_NAMES = tuple(kind.__name__.lower() for kind in PERSON_EVENTS)
GET_PATHS = st.one_of(
    st.sampled_from((
        "/", "/live.jpg", "/changes", "/screen.css", "/alive", "/favicon.ico", "/do", "/static/",
        "/static/kiosk.js", "/static/../app.py", "/static/%2e%2e/app.py", "/token", "/first",
    )),
    st.builds("/field/{}.jpg".format, st.one_of(_NUMBERS, _TEXT)),
    st.builds("/cell/{}/{}.jpg".format, st.one_of(_NUMBERS, _TEXT), _NUMBERS),
    st.builds("/area/{}/{}".format, st.one_of(st.sampled_from(AREAS), _TEXT), _TEXT),
    st.builds("/{}".format, _TEXT),
)  # fmt: skip
POST_PATHS = st.one_of(
    st.sampled_from(("/do", "/do", "/do", "/pin", "/look", "/first", "/", "/token", "/changes")),
    st.builds("/area/{}/{}".format, st.sampled_from(AREAS), st.one_of(_WORDS, _TEXT)),
)
HEADER_VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from((
            "origin", "sec-fetch-site", "host", "cookie", "content-type", "content-length", "range",
            "accept-language", "if-modified-since", "if-none-match", "x-forwarded-proto", "accept",
            "x-forwarded-host", "referer", "connection", "transfer-encoding",
        )),
        HEADER_VALUES,
    ),
    max_size=2,
)  # fmt: skip


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """A form as our page sends it, nearly."""
    fields = {"token": "TOKEN", "screen": draw(st.sampled_from(("NOW", "NOW", "NOW", *SCREENS)))}
    fields["do"] = draw(st.one_of(st.sampled_from(EVENT_NAMES), _TEXT))
    fields.update(draw(st.dictionaries(FIELDS, VALUES, max_size=5)))
    if draw(st.integers(0, 9)) == 0:
        fields["token"] = draw(_TEXT)
    return urlencode(fields, errors="surrogatepass").encode()


BODIES = st.one_of(
    forms(),
    forms(),
    forms(),
    st.binary(max_size=300),
    st.just(b"a=" + b"x" * 20_000),
    st.just(b"&".join(b"a%d=1" % number for number in range(100))),
)
REQUESTS = st.one_of(
    st.builds(Sent, st.just("POST"), POST_PATHS, st.just(""), st.just(()), BODIES),
    st.builds(Sent, st.just("POST"), POST_PATHS, st.just(""), HEADERS.map(tuple), BODIES,
              st.booleans()),
    st.builds(
        Sent, st.sampled_from(("GET", "GET", "HEAD", "PUT", "OPTIONS", "TRACE", "BREW")),
        GET_PATHS, _TEXT, HEADERS.map(tuple), st.just(b""), st.booleans(),
    ),
)  # fmt: skip


# -- to whom --------------------------------------------------------------------------------------


@dataclass
class Target:
    """A kiosk, and where each of its screens is come to from."""

    kiosk: Kiosk
    app: KioskApp
    asgi: ASGIApp
    viewer: str

    async def at(self, role: Role, events_after: tuple[Event, ...]) -> None:
        """Bring it to a screen from the very beginning; what does not fit is let go."""
        self.kiosk.state = KioskState(next_ref=self.kiosk.state.next_ref)
        name = next(name for name, has, _ in USERS if has == role)
        for event in (events.ChooseUser(name), *events_after):
            if isinstance(event, events.SignIn):
                event = events.SignIn(name, role, self.viewer)
            await self.kiosk.tell_if_possible(event)

    async def send(self, sent: Sent) -> int:
        """The status of the answer."""
        headers = {
            "host": f"127.0.0.1:{PORT}",
            "origin": f"http://127.0.0.1:{PORT}",
            "content-type": "application/x-www-form-urlencoded",
        }
        if sent.known:
            headers["cookie"] = f"{COOKIE}={VIEWER}; {LANGUAGE_COOKIE}=fr; {THEME_COOKIE}=dark"
        headers.update(sent.headers)
        token, now = self.app.guard.token(self.viewer), screen_of(self.kiosk.state)
        body = sent.body.replace(b"=TOKEN", f"={token}".encode()).replace(
            b"=NOW", f"={now}".encode()
        )
        return await answered(self.asgi, sent, headers, body)


async def answered(
    app: ASGIApp, sent: Sent, headers: Mapping[str, str], body: bytes, scheme: str = "http"
) -> int:
    """Send a request as a server does and read the answer; the browser leaves a long one."""
    path = sent.path.encode("utf-8", "replace").decode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": sent.method,
        "scheme": scheme,
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": sent.query.encode("utf-8", "replace"),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", PORT),
    }
    status = 0
    parts = [body[:5000], body[5000:]]
    left = asyncio.Event()

    async def receive() -> Message:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            kind = dict(message["headers"]).get(b"content-type", b"")
            if kind.startswith(b"text/event-stream"):
                left.set()

    async with asyncio.timeout(ANSWER_S):
        await app(scope, receive, send)
    return status


_TO_PERSON: tuple[Event, ...] = (
    events.SignIn("", "operator", ""), events.NewSample(), events.GiveNumber("26-0417"),
)  # fmt: skip
_TO_CHECK = (*_TO_PERSON, events.GivePerson(40, "female", 0))
_TO_CAPTURE = (*_TO_CHECK, events.SelfChecked(()), events.StartCapture())
# Where a run of requests begins.
BEGINNINGS: Mapping[str, tuple[Role, tuple[Event, ...]]] = {
    "pin": ("operator", ()),
    "home": ("operator", _TO_PERSON[:1]),
    "number": ("operator", _TO_PERSON[:2]),
    "person": ("operator", _TO_PERSON),
    "check": ("operator", (*_TO_CHECK, events.SelfChecked(()))),
    "capture": ("operator", _TO_CAPTURE),
    "fault": ("operator", (*_TO_CAPTURE, events.FaultSeen("CAMERA_DARK"))),
    "abandon": ("operator", (*_TO_CAPTURE, events.AskAbandon())),
    "practice": ("operator", (*_TO_PERSON[:1], events.OpenPractice(), events.NewSample("good"))),
    "supervisor": ("supervisor", _TO_PERSON[:1]),
    "engineer": ("engineer", _TO_PERSON[:1]),
    **{
        area: (min(RULES[area].roles), (*_TO_PERSON[:1], events.OpenArea(area)))
        for area in AREAS
    },
}  # fmt: skip


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    """A kiosk without a camera, whose clock runs so fast that no wrong PIN makes it wait."""
    began = time.time()
    clock: Callable[[], float] = lambda: began + (time.time() - began) * 1000  # noqa: E731
    with Writer(RecordsFolder(folder)) as writer:
        add_all(writer)
        kiosk = Kiosk(writer, clock=clock)
        app = KioskApp(kiosk, load_profile("workstation"), Guard(PORT), simulated=True)
        viewer = app.guard.viewer(VIEWER)
        assert viewer is not None
        await kiosk.start()
        try:
            yield Target(kiosk, app, app.application(), viewer)
        finally:
            await kiosk.stop()


async def fuzzed(
    to: Target, beginning: str, requests: list[Sent], answers: Counter[int] | None = None
) -> list[tuple[int, Sent]]:
    """Send them; those whose answer is a fault. answers: counts all, by their status. `hurried` was
    called before.
    """
    role, before = BEGINNINGS[beginning]
    await to.at(role, before)
    faults = []
    for sent in requests:
        status = await to.send(sent)
        if answers is not None:
            answers[status] += 1
        if status >= 500 or status < 100:
            faults.append((status, sent))
    return faults


def hurried(set_attribute: Callable[[Any, str, Any], None]) -> None:
    """Wait for no live picture, of which there are none."""
    set_attribute(kiosk_app, "NEXT_PICTURE_S", 0.01)
