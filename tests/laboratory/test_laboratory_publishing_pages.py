"""The engineer's pages of publications: what they show, what they ask, and whom they refuse."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from edgehemo.bundle.signatures import PrivateKey
from edgehemo.published.reports import PublicationOutcome
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.people import add_person
from edgehemo_laboratory.server.app import application
from edgehemo_laboratory.server.people_pages import Desk, PeoplePages
from edgehemo_laboratory.server.publication_pages import PublicationPages
from edgehemo_laboratory.steering.kept import publications
from edgehemo_laboratory.steering.offering import heard
from edgehemo_laboratory.storage import open_storage
from tests.support.bundle_makers import signing_key
from tests.support.laboratory import certificates, enrolled, with_storage
from tests.support.publications import changed_words, own_words, running

PASSPHRASE = "correct horse battery"
HOST = "https://lab.example"


class Pages:
    def __init__(self, storage: Any, folder: Path, key: Callable[[], PrivateKey]) -> None:
        self.storage, self.made = storage, certificates(folder / "certificates")
        desk = Desk(storage, self.made)
        pages = [*PeoplePages(desk).routes, *PublicationPages(desk, key).routes]
        self.app = application(storage, self.made, None, pages)

    async def client(self, role: Any) -> httpx.AsyncClient:
        await add_person(self.storage, role, role, PASSPHRASE, by="root")
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url=HOST, headers={"origin": HOST}
        )
        await client.post("/sign-in", data={"name": role, "passphrase": PASSPHRASE})
        return client


def shown(
    folder: Path, work: Callable[[Pages], Awaitable[None]], key: Callable[[], PrivateKey]
) -> None:
    async def run() -> None:
        storage = await open_storage(str(folder / "lab.sqlite3"))
        try:
            await work(Pages(storage, folder, key))
        finally:
            await storage.close()

    asyncio.run(run())


def token_of(page: str) -> str:
    found = re.search(r'name="token" value="(\w+)"', page)
    assert found is not None
    return found[1]


async def upload(
    client: httpx.AsyncClient, name: str, content: bytes, **fields: str
) -> httpx.Response:
    page = (await client.get("/publications/new")).text
    given = {"token": token_of(page), "kind": "language", "stages": "50%/0h,100%", **fields}
    return await client.post("/publications/new", data=given, files={"file": (name, content)})


def test_an_engineer_publishes_halts_resumes_and_rolls_back(tmp_path: Path) -> None:
    key = signing_key()
    words = changed_words("Se déconnecter", "Se deconnecter ")

    async def work(at: Pages) -> None:
        client = await at.client("engineer")
        assert "Nothing is published yet" in (await client.get("/publications")).text
        kiosk = await enrolled(at.storage, at.made, "clinic-1")
        ran = running(keys=(key.public.identifier,))
        await heard(at.storage, kiosk, ran)
        refused = await upload(client, "fr.mo", words[:100])
        assert refused.status_code == 422 and "is no .mo file" in refused.text
        assert (await upload(client, "fr.mo", words, stages="5")).status_code == 422
        made = await upload(client, "fr.mo", words)
        assert made.status_code == 303 and made.headers["location"] == "/publications/1"
        page = (await client.get("/publications/1")).text
        assert "Language fr 1" in page and "0 of 1 kiosks use it" in page
        listed = (await client.get("/publications")).text
        assert "language fr 1" in listed and "clinic-1" in listed
        await heard(at.storage, kiosk, ran)
        (kept,) = await publications(at.storage)
        outcome = PublicationOutcome(publication=kept.sha256, kind="language", standing="in use")
        await heard(at.storage, kiosk, ran.model_copy(update={"outcomes": (outcome,)}))

        asked = (await client.get("/publications/1/halt")).text
        assert "offered to nobody" in asked
        for given in ({"reason": "x"}, {"reason": "x", "token": "wrong"}):
            assert (await client.post("/publications/1/halt", data=given)).status_code == 403
        empty = await client.post("/publications/1/halt", data={"token": token_of(asked)})
        assert empty.status_code == 409 and "say why" in empty.text
        does = {"token": token_of(asked), "reason": "<b>odd</b> words"}
        assert (await client.post("/publications/1/halt", data=does)).status_code == 303
        page = (await client.get("/publications/1")).text
        assert "Halted: &lt;b&gt;odd" in page and "/publications/1/resume" in page
        assert (await client.get("/publications/1/advance")).status_code == 404
        assert (await client.post("/publications/1/resume", data=does)).status_code == 303
        assert (await client.post("/publications/1/advance", data=does)).status_code == 303
        late = await client.post("/publications/1/advance", data=does)
        assert late.status_code == 409 and "no stage follows" in late.text
        back = await client.post("/publications/1/rollback", data=does)
        assert back.headers["location"] == "/publications/2"
        assert (await publications(at.storage))[0].serial == 2
        assert (await client.get("/publications/99")).status_code == 404
        assert (await client.get("/publications/1/burn")).status_code == 404
        actors = await at.storage.rows("SELECT DISTINCT actor FROM audit WHERE action LIKE 'pub%'")
        assert ("engineer",) in actors

    shown(tmp_path, work, lambda: key)


def test_who_is_no_engineer_publishes_nothing(tmp_path: Path) -> None:
    async def work(at: Pages) -> None:
        client = await at.client("supervisor")
        for place in ("/publications", "/publications/new", "/publications/1"):
            assert (await client.get(place)).status_code == 403
        assert "Publications" not in (await client.get("/")).text
        sent = await client.post(
            "/publications/new", data={"kind": "language"}, files={"file": ("fr.mo", own_words())}
        )
        assert sent.status_code == 403
        assert await publications(at.storage) == []

    shown(tmp_path, work, signing_key)


def test_a_server_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    def none() -> PrivateKey:
        raise LaboratoryError("there is no key to sign with: make one.")

    async def work(at: Pages) -> None:
        client = await at.client("engineer")
        assert "there is no key to sign with" in (await client.get("/publications/new")).text
        sent = await upload(client, "fr.mo", own_words())
        assert sent.status_code == 422 and "no key" in sent.text
        evil = await client.post(
            "/publications/new", data={"token": "x"}, headers={"origin": "https://evil.example"},
            files={"file": ("fr.mo", b"x")},
        )  # fmt: skip
        assert evil.status_code == 403

    shown(tmp_path, work, none)
    assert with_storage(tmp_path / "lab.sqlite3", publications) == []
