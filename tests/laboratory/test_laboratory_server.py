"""The laboratory's server: what kiosks ask over HTTP, and what people see."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgehemo.interop.laboratory import (
    ENROLMENT_PATH,
    MAX_BATCH_BYTES,
    MAX_PICTURE_BYTES,
    PATH,
    PICTURES_PATH,
    VISIT_PATH,
    Batch,
    Visit,
    packed_batch,
    receipt_of,
)
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.enrolment.kiosks import Kiosk, add_kiosk, kiosk_named, revoke
from edgehemo_laboratory.errors import StorageBusyError, StorageFullError
from edgehemo_laboratory.people import add_person, remove_person
from edgehemo_laboratory.pictures.keeping import ask_for
from edgehemo_laboratory.pictures.store import open_pictures
from edgehemo_laboratory.server.app import application
from edgehemo_laboratory.server.people_pages import COOKIE, Desk
from edgehemo_laboratory.server.shown import with_certificate
from edgehemo_laboratory.server.starting import pages_of
from edgehemo_laboratory.storage import open_storage
from edgehemo_laboratory.storage.interface import Storage, Taken
from tests.support.laboratory import (
    STORE,
    batch,
    certificates,
    enrolled,
    enrolment,
    item,
    result,
)

PASSPHRASE = "correct horse battery"


class Server:
    """An application with a storage of its own, asked without a network."""

    def __init__(self, storage: Storage, made: Certificates, folder: Path) -> None:
        self.storage, self.certificates = storage, made
        pages = pages_of(Desk(storage, made))
        self.app = application(storage, made, open_pictures(str(folder / "pictures")), pages)

    def client(self, shown: str | None = None) -> httpx.AsyncClient:
        app: Any = self.app if shown is None else with_certificate(self.app, shown)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="https://lab.example"
        )

    async def kiosk(self, name: str = "clinic-1", **policy: Any) -> tuple[Kiosk, str]:
        kiosk = await enrolled(self.storage, self.certificates, name, **policy)
        ((digest,),) = await self.storage.rows(
            "SELECT digest FROM certificate WHERE kiosk = $1 AND ended_at IS NULL", kiosk.number
        )
        return kiosk, digest


def served(folder: Path, work: Callable[[Server], Awaitable[None]]) -> None:
    async def run() -> None:
        storage = await open_storage(str(folder / "lab.sqlite3"))
        try:
            await work(Server(storage, certificates(folder / "certificates"), folder))
        finally:
            await storage.close()

    asyncio.run(run())


async def post(client: httpx.AsyncClient, said: Batch) -> httpx.Response:
    return await client.post(PATH, content=packed_batch(said), headers={"content-encoding": "gzip"})


def test_results_are_taken_from_whom_the_laboratory_knows(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        _, digest = await server.kiosk()
        said = batch(item(1, result(1)))
        assert (await post(server.client(), said)).status_code == 403
        assert (await post(server.client("0" * 64), said)).status_code == 403
        answer = await post(server.client(digest), said)
        assert answer.status_code == 200
        assert receipt_of(answer.content).items[0].sha256 == said.items[0].sha256
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        await revoke(server.storage, "clinic-1", "lost", by="grace")
        refused = await post(server.client(digest), said)
        assert refused.status_code == 403 and "revoked" in refused.text

    served(tmp_path, work)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(b"x" * (MAX_BATCH_BYTES + 1)), 422),
        (gzip.compress(b"{}")[:-3], 422),
        (b"no gzip", 422),
        (gzip.compress(b"[" * 100_000), 422),
        (gzip.compress(b'{"schema": "edgehemo.batch/1"}'), 422),
    ],
)
def test_what_is_no_batch_is_refused_whole(tmp_path: Path, body: bytes, status: int) -> None:
    async def work(server: Server) -> None:
        _, digest = await server.kiosk()
        client = server.client(digest)
        answer = await client.post(PATH, content=body, headers={"content-encoding": "gzip"})
        assert answer.status_code == status and "no batch" in answer.text
        assert await server.storage.rows("SELECT count(*) FROM arrival") == [(0,)]

    served(tmp_path, work)


@pytest.mark.parametrize(
    ("fault", "status"), [(StorageBusyError("away"), 503), (StorageFullError("full"), 507)]
)
def test_a_storage_that_fails_is_an_answer_that_kiosks_wait_by(
    tmp_path: Path, fault: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(server: Server) -> None:
        _, digest = await server.kiosk()

        async def fails(_: Taken) -> dict[str, str]:
            raise fault

        monkeypatch.setattr(server.storage, "take", fails)
        assert (await post(server.client(digest), batch(item(1, result(1))))).status_code == status

    served(tmp_path, work)


def test_a_code_is_hashed_ends_after_days_and_does_not_survive_a_revocation(
    tmp_path: Path,
) -> None:
    async def work(server: Server) -> None:
        code = await add_kiosk(server.storage, server.certificates, "k", "north", by="grace")
        rows = await server.storage.rows("SELECT code FROM pairing")
        assert code.secret not in str(rows)
        late = await add_kiosk(server.storage, server.certificates, "k", "north", by="grace")
        await server.storage.do(
            "UPDATE pairing SET until_s = $1 WHERE code = $2", seconds_of(now()), late.secret_digest
        )
        client = server.client()
        said = enrolment(late).model_dump()
        assert (await client.post(ENROLMENT_PATH, json=said)).status_code == 403
        # Whoever has another's public key proves nothing with it.
        stolen = {
            **enrolment(code).model_dump(), "public_key": enrolment(code).public_key,
        }  # fmt: skip
        assert (await client.post(ENROLMENT_PATH, json=stolen)).status_code == 403
        await revoke(server.storage, "k", "never came", by="grace")
        said = enrolment(code).model_dump()
        assert (await client.post(ENROLMENT_PATH, json=said)).status_code == 403
        assert (await kiosk_named(server.storage, "k")).enrolled_at is None

    served(tmp_path, work)


def visit(**given: Any) -> dict[str, Any]:
    values = {
        "store": STORE, "device": "kiosk", "software_version": "0.1.0", "sent_at": "1970-01-01",
        "noted": 0, "pictures": True, **given,
    }  # fmt: skip
    return Visit(**values).model_dump()


def test_a_visit_tells_what_is_missing_to_the_last_number_and_ends_silence(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        kiosk, digest = await server.kiosk()
        client = server.client(digest)
        assert (await client.post(VISIT_PATH, json=visit(noted=4))).json()["missing"] == []
        await post(client, batch(item(2, result(1)), item(3, result(2))))
        await server.storage.do("UPDATE kiosk SET heard_at_s = 5")
        told = (await client.post(VISIT_PATH, json=visit(noted=6))).json()
        assert told["missing"] == [[1, 1], [4, 6]]
        heard = (await kiosk_named(server.storage, kiosk.name)).heard_at_s
        assert heard is not None and abs(heard - seconds_of(now())) < 60
        _, other = await server.kiosk("clinic-2")
        refused = await server.client(other).post(VISIT_PATH, json=visit())
        assert refused.status_code == 403

    served(tmp_path, work)


def test_a_picture_comes_only_where_it_is_wanted_and_is_what_its_digest_says(
    tmp_path: Path,
) -> None:
    async def work(server: Server) -> None:
        _, digest = await server.kiosk(pictures="asked")
        client = server.client(digest)
        await post(client, batch(item(1, result(1))))
        name = result(1)["id"]
        data = b"\x89PNG picture"
        sha256 = hashlib.sha256(data).hexdigest()
        place = f"{PICTURES_PATH}/{STORE}/{name}/0"

        async def put(shown: httpx.AsyncClient = client, **query: str) -> httpx.Response:
            return await shown.put(place, content=data, params={"sha256": sha256, **query})

        assert "nobody asked" in (await put()).text
        assert (await client.post(VISIT_PATH, json=visit(noted=1))).json()["pictures"] == []
        await ask_for(server.storage, name, by="grace")
        assert (await client.post(VISIT_PATH, json=visit(noted=1))).json()["pictures"] == [name]
        asleep = visit(noted=1, pictures=False)
        assert (await client.post(VISIT_PATH, json=asleep)).json()["pictures"] == []
        assert (await put(sha256="0" * 64)).status_code == 422
        _, other = await server.kiosk("clinic-2", pictures="all")
        assert "no such result" in (await put(server.client(other))).text
        assert [(await put()).status_code, (await put()).status_code] == [201, 200]
        assert (await client.post(f"{PICTURES_PATH}/{STORE}/{name}")).status_code == 200
        assert (await client.post(VISIT_PATH, json=visit(noted=1))).json()["pictures"] == []
        assert (await server.storage.rows("SELECT position, sha256 FROM picture")) == [(0, sha256)]
        large = {"content-length": str(MAX_PICTURE_BYTES + 1)}
        too_much = await client.put(place, content=b"x", headers=large)
        assert too_much.status_code == 413

    served(tmp_path, work)


# -- people -----------------------------------------------------------------------------------


async def signed_in(server: Server, name: str = "Grace", passphrase: str = PASSPHRASE) -> Any:
    client = server.client()
    client.headers["origin"] = "https://lab.example"
    answer = await client.post("/sign-in", data={"name": name, "passphrase": passphrase})
    return client, answer


def test_the_kiosks_are_shown_to_whom_is_signed_in(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        anonymous = await server.client().get("/")
        assert anonymous.status_code == 303 and anonymous.headers["location"] == "/sign-in"
        assert "people add" in (await server.client().get("/sign-in")).text
        await add_person(server.storage, "Grace", "supervisor", PASSPHRASE, by="root")
        _, digest = await server.kiosk("clinic-1", site="north")
        await post(server.client(digest), batch(item(1, result(1)), item(4, result(2))))
        client, answer = await signed_in(server)
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"))
        page = (await client.get("/")).text
        assert "clinic-1" in page and "missing: 2 to 3" in page
        token = re.search(r'name="token" value="(\w+)"', page)
        assert token is not None
        assert (await client.post("/sign-out", data={"token": "x"})).status_code == 403
        assert (await client.post("/sign-out", data={"token": token[1]})).status_code == 303
        client.cookies.set(COOKIE, cookie.partition("=")[2].partition(";")[0])
        assert (await client.get("/")).status_code == 303
        assert (await client.get("/look.css")).status_code == 200

    served(tmp_path, work)


def test_wrong_passphrases_are_answered_by_a_pause_and_other_sites_by_nothing(
    tmp_path: Path,
) -> None:
    async def work(server: Server) -> None:
        await add_person(server.storage, "Grace", "operator", PASSPHRASE, by="root")
        for status in (401, 401, 429):
            _, answer = await signed_in(server, passphrase="wrong passphrase")
            assert answer.status_code == status
        _, answer = await signed_in(server)
        assert answer.status_code == 429 and "wait" in answer.text
        _, answer = await signed_in(server, name="Nobody")
        assert answer.status_code == 401
        await server.storage.do("UPDATE person SET wrong_at_s = 0")
        client, answer = await signed_in(server)
        assert answer.status_code == 303
        evil = await client.post(
            "/sign-in", data={"name": "Grace", "passphrase": PASSPHRASE},
            headers={"origin": "https://evil.example"},
        )  # fmt: skip
        assert evil.status_code == 403
        await remove_person(server.storage, "Grace", by="root")
        assert (await client.get("/")).status_code == 303
        _, answer = await signed_in(server)
        assert answer.status_code == 401
        deeds = [row[0] for row in await server.storage.rows("SELECT action FROM audit")]
        assert deeds.count("wrong passphrase") == 5 and "signed in" in deeds

    served(tmp_path, work)
