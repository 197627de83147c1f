"""A laboratory on a real PostgreSQL and a real server of S3, which are killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehemo.interop.laboratory import Receipt
from edgehemo_laboratory.chain import faults_of
from edgehemo_laboratory.errors import StorageBusyError, StorageError
from edgehemo_laboratory.intake.taking import taken
from edgehemo_laboratory.pictures.store import open_pictures
from edgehemo_laboratory.storage import open_storage
from edgehemo_laboratory.storage.interface import Storage
from edgehemo_laboratory.storage.own_postgres import OwnPostgres, own_postgres, programs
from edgehemo_laboratory.verifying import verify
from tests.laboratory.test_laboratory_intake import NOTED, RESULTS
from tests.support.laboratory import batch, certificates, enrolled, item, result, with_storage
from tests.support.laboratory_process import KioskAt, come, laboratory
from tests.support.s3_server import s3_server

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
_DATABASES = itertools.count()


@contextlib.contextmanager
def own_cluster() -> Iterator[OwnPostgres]:
    """One in a folder that its user can reach: pytest's own are shut to everybody else."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with (
        tempfile.TemporaryDirectory(prefix="edgehemo-cluster-") as folder,
        own_postgres(Path(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[OwnPostgres]:
    with own_cluster() as running:
        yield running


def database(cluster: OwnPostgres) -> str:
    """The address of a new database of the cluster."""
    name = f"lab{next(_DATABASES)}"

    async def make() -> None:
        connection = await asyncpg.connect(cluster.url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return cluster.url.replace("/postgres?", f"/{name}?")


def held(where: str, folder: Path, batches: list[list[int]]) -> dict[str, Any]:
    async def work(storage: Storage) -> dict[str, Any]:
        kiosk = await enrolled(storage, certificates(folder))
        for places in batches:
            receipt = await taken(storage, kiosk, batch(*(NOTED[at] for at in places)))
            assert {each.outcome for each in receipt.items} == {"stored"}
        assert receipt.missing == ()
        return {
            "results": await storage.rows(RESULTS),
            "versions": await storage.rows("SELECT identity, sha256 FROM version ORDER BY 1"),
            "faults": await faults_of(storage, kiosk.chain),
        }

    return with_storage(where, work)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_both_engines_end_in_the_same_table_whatever_the_order(
    cluster: OwnPostgres, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("order")
    again = data.draw(st.lists(st.integers(0, len(NOTED) - 1), max_size=6))
    mixed = data.draw(st.permutations([*range(len(NOTED)), *again]))
    size = data.draw(st.integers(1, 6))
    batches = [list(mixed[at : at + size]) for at in range(0, len(mixed), size)]
    in_order = held(str(folder / "lab.sqlite3"), folder / "c", [list(range(len(NOTED)))])
    assert held(database(cluster), folder / "c", batches) == in_order
    assert in_order["faults"] == []


def test_the_same_batches_at_once_are_stored_once(cluster: OwnPostgres, tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, certificates(tmp_path / "c"))
        batches = [
            batch(*(item(10 * n + i + 1, result(10 * n + i + 1)) for i in range(10)))
            for n in range(6)
        ]
        sent = [taken(storage, kiosk, each) for each in batches * 4]
        random.Random(3).shuffle(sent)
        done = await asyncio.gather(*sent, return_exceptions=True)
        # A chain that grows too fast makes a batch come again, and loses nothing.
        assert all(isinstance(each, Receipt | StorageError) for each in done)
        for each in batches:
            receipt = await taken(storage, kiosk, each)
            assert {one.outcome for one in receipt.items} == {"stored"}
        assert await storage.rows("SELECT count(*), count(DISTINCT identity) FROM version") == [
            (60, 60)
        ]
        assert await storage.rows("SELECT count(*) FROM result") == [(60,)]
        assert receipt.missing == ()
        assert (await verify(storage, None, by="test")).faults == []

    with_storage(database(cluster), work)


def test_nothing_acknowledged_is_lost_when_server_and_postgresql_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    kiosk = KioskAt(tmp_path / "kiosk")
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(kiosk.file))
    with (
        own_cluster() as cluster,
        laboratory(tmp_path / "lab", cluster.url) as lab,
    ):
        come(kiosk, lab, "--identified", simulated=True)
        killed = 0
        for round_ in range(4):
            kiosk.signed(6)
            kiosk.hurries()
            sender = threading.Thread(target=kiosk.sends)
            sender.start()
            time.sleep(chance.uniform(0.0, 0.4))
            if round_ % 2:
                cluster.kill()
            else:
                lab.end(signal.SIGKILL)
            killed += 1
            sender.join()
            if cluster.process is None:
                cluster.start()
            if lab.process is None:
                lab.start()
            delivered = sum(state == "delivered" for state, *_ in kiosk.states())
            ((stored, distinct),) = lab.rows(
                "SELECT count(*), count(DISTINCT identity) FROM version"
            )
            assert stored == distinct >= delivered
        for _ in range(20):
            kiosk.hurries()
            kiosk.sends()
            if {state for state, *_ in kiosk.states()} == {"delivered"}:
                break
            time.sleep(0.5)
        assert [state for state, *_ in kiosk.states()] == ["delivered"] * 24
        assert lab.rows("SELECT count(*) FROM version") == [(24,)]
        assert "all is well" in lab.says("verify")
        assert killed == 4


def test_a_postgresql_that_is_away_is_told_so(cluster: OwnPostgres, tmp_path: Path) -> None:
    gone = cluster.url.partition("?host=")[0] + f"?host={tmp_path}"
    with pytest.raises(StorageBusyError, match="cannot be reached"):
        asyncio.run(open_storage(gone))


# -- S3 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3"), "pictures-of-ours") as address:
        yield address


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_picture_is_made_once_and_never_written_over(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "s3":
        address = request.getfixturevalue("s3")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        where = f"s3://pictures-of-ours/lab?endpoint={address}&region=us-east-1"
    else:
        where = str(tmp_path / "pictures")
    pictures = open_pictures(where)
    data = os.urandom(200_000)
    digest = hashlib.sha256(data).hexdigest()

    async def work() -> None:
        assert await pictures.get(digest) is None
        made = await asyncio.gather(*(pictures.put(data, digest) for _ in range(4)))
        assert made.count(True) >= 1 and await pictures.put(data, digest) is False
        assert await pictures.get(digest) == data
        # What is there under another digest is damaged: it is found, and not written over.
        other = hashlib.sha256(b"other").hexdigest()
        assert await pictures.put(b"not it", other) is True
        assert await pictures.get(other) is None
        with pytest.raises(StorageError, match="damaged"):
            await pictures.put(b"other", other)

    asyncio.run(work())


def test_a_server_of_s3_that_is_away_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    pictures = open_pictures("s3://nowhere/x?endpoint=http://127.0.0.1:1&region=us-east-1")
    with pytest.raises(StorageError, match="s3://nowhere"):
        asyncio.run(asyncio.wait_for(pictures.put(b"x", "0" * 64), 120))
