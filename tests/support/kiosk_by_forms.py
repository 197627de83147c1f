"""A kiosk's page as a browser without a script uses it: forms and whole pages, over the wire."""

from __future__ import annotations

import re
import time
from types import TracebackType
from typing import Protocol, Self

import httpx

from tests.support.kiosk_by_touch import PIN


class Kiosk(Protocol):
    """Where a kiosk's page is served."""

    @property
    def url(self) -> str: ...


class KioskForms:
    """One browser. page: the last page that came. transport: the way to it, the network as usual.
    patience: a factor on how long is waited, for a kiosk that is emulated. who: name and PIN of who
    signs in.
    """

    def __init__(
        self,
        kiosk: Kiosk,
        *,
        transport: httpx.BaseTransport | None = None,
        patience: float = 1.0,
        who: tuple[str, str] = ("Amina", PIN),
    ) -> None:
        self.kiosk = kiosk
        self.who = who
        self.patience = patience
        self.page = ""
        self.statuses: list[int] = []
        self._client = httpx.Client(
            timeout=20.0 * patience, follow_redirects=True, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    # -- what is seen -----------------------------------------------------------------------------

    def look(self) -> str:
        """Load the page; which screen it is."""
        return self._seen(self._client.get(self.kiosk.url))

    def get(self, path: str) -> str:
        """Load another page, below the address; what is on it. Empty where nobody answers."""
        try:
            self._seen(self._client.get(self.kiosk.url + path))
        except httpx.TransportError:
            return ""
        return self.page

    def _seen(self, answer: httpx.Response) -> str:
        self.statuses.append(answer.status_code)
        self.page = answer.text
        return self.screen

    @property
    def screen(self) -> str:
        found = re.search(r'data-screen="([a-z_]+)"', self.page)
        return "" if found is None else found[1]

    @property
    def fault(self) -> str:
        """The code of the fault that is shown, empty without one."""
        if self.screen != "fault":
            return ""
        found = re.search(r'<div class="sign">.*?<p>(.*?)</p>', self.page, re.DOTALL)
        return "" if found is None else found[1].replace("<wbr>", "")

    def wait(self, *screens: str, timeout_s: float = 60.0, fault: str = "") -> str:
        """Look until one of these screens is there (and of a fault, this one)."""
        ends = time.monotonic() + timeout_s * self.patience
        while self.look() not in screens or (fault and self.fault != fault):
            if time.monotonic() > ends:
                raise AssertionError(f"{self.screen} {self.fault} and never {screens} {fault}")
            time.sleep(0.1 * self.patience)
        return self.screen

    def picture(self) -> bytes:
        """The next live picture, empty where none comes."""
        return self._client.get(f"{self.kiosk.url}live.jpg").content

    # -- what is done -----------------------------------------------------------------------------

    def post(self, path: str, **values: str) -> str:
        token = re.search(r'name="token" value="([0-9a-f]{64})"', self.page)
        assert token is not None, self.page[:500]
        origin = self.kiosk.url.rstrip("/")
        answer = self._client.post(
            f"{origin}{path}", data={"token": token[1], **values}, headers={"origin": origin}
        )
        return self._seen(answer)

    def do(self, what: str, **values: str) -> str:
        return self.post("/do", screen=self.screen, do=what, **values)

    def first_user(self) -> None:
        """Whoever signs in becomes the supervisor of a device that knows nobody."""
        self.look()
        name, pin = self.who
        self.post("/first", name=name, pin=pin, again=pin)

    def sign_in(self, name: str = "", pin: str = "") -> None:
        self.look()
        self.do("chooseuser", name=name or self.who[0])
        self.give_pin(pin or self.who[1])

    def give_pin(self, pin: str = PIN) -> str:
        return self.post("/pin", pin=pin)

    def to_person(self, number: str = "1234") -> None:
        self.sign_in()
        self.do("newsample")
        self.do("givenumber", number=number)

    def to_check(self, number: str = "1234") -> None:
        """Up to a self-check that has answered."""
        self.to_person(number)
        self.do("giveperson", age_years="32", sex="female", pregnant="0", smokes="false")
        self.checked()

    def checked(self) -> None:
        """Look until the self-check has answered."""
        ends = time.monotonic() + 60 * self.patience
        while self.look() != "check" or '<li class="' not in self.page.partition("<main>")[2]:
            assert time.monotonic() < ends, f"the self-check does not answer: {self.screen}"
            time.sleep(0.1 * self.patience)

    def to_capture(self, number: str = "1234") -> None:
        self.to_check(number)
        assert self.do("startcapture") in ("capture", "analysis", "result"), self.page[:2000]

    def review_all(self) -> None:
        """From the result to the last page."""
        if 'value="openreview"' in self.page and 'value="opensignoff"' not in self.page:
            self.do("openreview")
        for _ in range(40):
            confirm = re.search(
                r'value="confirmpage">\s*<input type="hidden" name="page" value="(\d+)"', self.page
            )
            if confirm is None:
                break
            self.do("confirmpage", page=confirm[1])
        self.do("opensignoff")

    def sign(self) -> None:
        self.do("sign")
        self.wait("done")
