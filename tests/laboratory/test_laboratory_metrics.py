"""What Prometheus is told: each figure follows what happened; few series, an address of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families

from edgehemo.files.strict import RecordError
from edgehemo.interop.health import topic_of
from edgehemo.interop.laboratory import PATH, packed_batch
from edgehemo_laboratory.errors import LaboratoryError, StorageBusyError, StorageFullError
from edgehemo_laboratory.health.inbox import Inbox
from edgehemo_laboratory.health.keeping import keep
from edgehemo_laboratory.health.live import LiveEntry
from edgehemo_laboratory.metrics import MOST_KIOSKS, MOST_SITES, OTHER_SITES, Metrics
from edgehemo_laboratory.output import KioskEntry, RecordsEntry
from edgehemo_laboratory.server.app import application
from edgehemo_laboratory.server.looking_after import looked_after
from edgehemo_laboratory.server.metrics_page import metrics_application, token_of
from edgehemo_laboratory.server.shown import with_certificate
from edgehemo_laboratory.settings import LaboratorySettings, Setup
from edgehemo_laboratory.storage.interface import Storage
from tests.laboratory.test_laboratory_health import health, told
from tests.support.laboratory import (
    STORE,
    batch,
    certificates,
    enrolled,
    item,
    result,
    with_storage,
)

TOKEN = "a-token-of-twenty-signs-or-more"


def here(tmp_path: Path, work: Callable[[Storage], Awaitable[None]]) -> None:
    with_storage(tmp_path / "laboratory.sqlite3", work)


def asked(app: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://here")


async def values_of(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    async with asked(metrics_application(metrics.registry, None)) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())):
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }  # fmt: skip


async def digest_of_kiosk(storage: Storage) -> str:
    ((digest,),) = await storage.rows("SELECT digest FROM certificate")
    return str(digest)


def test_batches_are_counted_and_timed(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        await enrolled(storage, made, identified=False)
        metrics = Metrics()
        app = application(storage, made, None, metrics=metrics)
        known = with_certificate(app, await digest_of_kiosk(storage))
        # The second one holds a name, and is refused.
        said = [result(1, identified=False, sample="P-1", operator=None), result(2)]
        body = packed_batch(batch(*(item(at, one) for at, one in enumerate(said, 1))))
        async with asked(known) as client, asked(app) as nobody:
            answer = await client.post(PATH, content=body, headers={"content-encoding": "gzip"})
            assert answer.status_code == 200
            outcomes = [each["outcome"] for each in json.loads(answer.content)["items"]]
            assert (await nobody.post(PATH, content=body)).status_code == 403
            assert (await nobody.get("/no-such-page")).status_code == 404
        found = await values_of(metrics)
        name = "edgehemo_laboratory_"
        for outcome in ("stored", "refused", "later"):
            number = outcomes.count(outcome)
            assert found[f"{name}results_total outcome={outcome}"] == number
        assert outcomes.count("refused") >= 1
        assert found[f"{name}requests_total route=results status=200"] == 1
        assert found[f"{name}requests_total route=results status=403"] == 1
        assert found[f"{name}requests_total route=pages status=404"] == 1
        assert found[f"{name}batch_duration_seconds_count"] == 2
        assert found[f"{name}batches_in_progress"] == 0
        assert found["process_resident_memory_bytes"] > 0

    here(tmp_path, work)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(StorageFullError("no space"), "full"), (StorageBusyError("cannot be reached"), "away")],
)
def test_what_the_storage_fails_is_counted(error: Exception, kind: str, tmp_path: Path) -> None:
    class Failing:
        async def rows(self, *_: object) -> list[tuple[object, ...]]:
            raise error

    metrics = Metrics()
    made = certificates(tmp_path / "certificates")
    app = application(Failing(), made, None, metrics=metrics)  # type: ignore[arg-type]

    async def work() -> None:
        async with asked(with_certificate(app, "ab" * 32)) as client:
            await client.post(PATH, content=b"{}")
        found = await values_of(metrics)
        assert found[f"edgehemo_laboratory_storage_errors_total kind={kind}"] == 1

    asyncio.run(work())


def test_kiosks_are_told_as_the_list_has_them(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        first = await enrolled(storage, made)
        from edgehemo_laboratory.intake.taking import taken

        # Number 2 never came.
        await taken(storage, first, batch(item(1, result(1)), item(3, result(3))))
        said = health(free_mb=1500.0, fault="LAMP_OFF", blocked="NOT_A_CODE", celsius=51.0)
        await keep(storage, [told(said)])
        inbox = Inbox()
        inbox.put(topic_of(STORE), b"nonsense", came_at_s=1, retained=False)
        metrics = Metrics(broker=lambda: True, fates=lambda: inbox.fates)
        before = await values_of(metrics)
        assert before["edgehemo_laboratory_storage_up"] == 0
        assert not any("kiosk" in name for name in before)
        looking = asyncio.create_task(metrics.look_on(storage, made, 0.01))
        while not (found := await values_of(metrics))["edgehemo_laboratory_storage_up"]:
            await asyncio.sleep(0.01)
        looking.cancel()
        of = " kiosk=clinic-1 site=north"
        assert found["edgehemo_laboratory_kiosks site=north standing=in service"] == 1
        assert 0 <= found[f"edgehemo_laboratory_kiosk_silence_seconds{of}"] < 60
        assert found[f"edgehemo_laboratory_kiosk_missing_numbers{of}"] == 1
        assert found[f"edgehemo_laboratory_kiosk_free_bytes{of}"] == 1.5e9
        assert found[f"edgehemo_laboratory_kiosk_temperature_celsius{of}"] == 51
        assert found["edgehemo_laboratory_kiosk_fault code=LAMP_OFF kiosk=clinic-1 site=north"] == 1
        # No series for what a kiosk makes up.
        assert found["edgehemo_laboratory_kiosk_blocked code=other kiosk=clinic-1 site=north"] == 1
        assert found["edgehemo_laboratory_stored_results"] == 2
        assert found["edgehemo_laboratory_broker_up"] == 1
        assert found["edgehemo_laboratory_health_messages_total fate=garbage"] == 1

    here(tmp_path, work)


async def published(
    storage: Storage, serial: int, state: str, standings: Mapping[int, str]
) -> None:
    """A bundle that was published. standings: number of a kiosk -> what it says of it."""
    await storage.do(
        "INSERT INTO publication (sha256, kind, name, serial, digest, signed_by, key, size, "
        "expected, stages, limits, sites, kiosks, made_at, made_at_s, by_whom) "
        "VALUES ($1, 'bundle', 'screen', $2, '', '', '', 1, '', '[]', '{}', '[]', '[]', '', 1, '')",
        f"{serial:064d}", serial,
    )  # fmt: skip
    ((number,),) = await storage.rows("SELECT number FROM publication WHERE serial = $1", serial)
    await storage.do(
        "INSERT INTO publication_standing (publication, state, stage, since_s, counted_from_s, "
        "by_itself) VALUES ($1, $2, 0, 1, 1, 1)",
        number, state,
    )  # fmt: skip
    for kiosk, standing in standings.items():
        await storage.do(
            "INSERT INTO publication_kiosk (publication, kiosk, stage, chosen_at_s, standing) "
            "VALUES ($1, $2, 0, 1, $3)",
            number, kiosk, standing,
        )  # fmt: skip


def test_what_is_published_is_told_the_newest_alone(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        first = await enrolled(storage, made)
        second = await enrolled(storage, made, "clinic-2")
        await published(storage, 1, "halted", {first.number: "refused"})
        await published(storage, 2, "staged", {first.number: "in use", second.number: ""})
        metrics = Metrics()
        await metrics.look(storage, made)
        found = await values_of(metrics)
        name = "edgehemo_laboratory_publication"
        assert {key: value for key, value in found.items() if key.startswith(name)} == {
            f"{name}s kind=bundle state=staged": 1,
            f"{name}_kiosks kind=bundle standing=in use": 1,
            f"{name}_kiosks kind=bundle standing=not said yet": 1,
        }

    here(tmp_path, work)


def entry(number: int) -> KioskEntry:
    return KioskEntry(
        name=f"kiosk-{number}", site=f"site {number % 200}", standing="in service", why="",
        identified=False, pictures="asked", device="kiosk", software_version="0.1.0",
        silent_s=number, renewal_waits=False,
        records=[RecordsEntry(store=STORE, results=10, missing=[], refused=0, doubled=0)],
        live=LiveEntry(
            word="live", since_s=1, told_s=1, free_mb=1.0, waiting=0, backup_age_s=1,
            result_age_s=1, celsius=50.0, fault="LAMP_OFF", blocked="CONTROL_DUE",
        ),
    )  # fmt: skip


def test_series_stay_few_however_many_kiosks_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgehemo_laboratory import metrics as module

    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        counts = {}
        for kiosks in (500, 5000):
            entries = [entry(number) for number in range(kiosks)]

            async def these(*_: object, found: list[KioskEntry] = entries) -> list[KioskEntry]:
                return found

            monkeypatch.setattr(module, "kiosk_entries", these)
            metrics = Metrics()
            await metrics.look(storage, made)
            found = await values_of(metrics)
            counts[kiosks] = len(found)
            sites = {name.partition(" site=")[2] for name in found if "_kiosks site=" in name}
            assert len(sites) == MOST_SITES + 1
            assert any(OTHER_SITES in site for site in sites)
        left = "edgehemo_laboratory_kiosks_left_out"
        assert found[left] == 5000 - MOST_KIOSKS
        # The one that is silent for longest is among those that are shown.
        assert any("kiosk=kiosk-4999 " in name for name in found)
        assert counts[500] < 6000 and counts[5000] < 12_000

    here(tmp_path, work)


def test_names_keep_the_conventions(tmp_path: Path) -> None:
    """Base units in the names, _total of counters alone, help for each."""

    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        await enrolled(storage, made)
        metrics = Metrics(broker=lambda: False)
        await metrics.look(storage, made)
        latest: Any = exposition.generate_latest
        strictly: Any = parser.text_string_to_metric_families
        text = latest(metrics.registry).decode()
        families = [each for each in strictly(text) if each.name.startswith("edgehemo_")]
        assert len(families) > 15
        for family in families:
            assert family.documentation.endswith("."), family.name
            assert not family.name.endswith(("_total", "_count", "_ms", "_mb", "_minutes")), family
        kinds = {family.type for family in families}
        assert kinds == {"counter", "gauge", "histogram"}

    here(tmp_path, work)


def test_beyond_this_machine_nobody_asks_without_a_token() -> None:
    good = {"schema": "edgehemo.laboratory/1"}
    assert LaboratorySettings.model_validate(good).metrics_at == ("127.0.0.1", 9464)
    assert LaboratorySettings.model_validate({**good, "metrics": "none"}).metrics_at is None
    assert LaboratorySettings.model_validate({**good, "metrics": "[::1]:0"}).metrics_at == (
        "::1",
        0,
    )
    for wrong in ("0.0.0.0:9464", "laboratory.example:9464", "9464", "127.0.0.1:99999", "x:y"):
        with pytest.raises(RecordError, match="metrics"):
            LaboratorySettings.model_validate({**good, "metrics": wrong})


def test_the_token_is_asked_for(tmp_path: Path) -> None:
    async def work() -> None:
        async with asked(metrics_application(Metrics().registry, TOKEN)) as client:
            for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
                assert (await client.get("/metrics", headers=header)).status_code == 401
            header = {"authorization": f"Bearer {TOKEN}"}
            assert (await client.get("/metrics", headers=header)).status_code == 200
            assert (await client.get("/", headers=header)).status_code == 404

    asyncio.run(work())
    file = tmp_path / "token"
    with pytest.raises(LaboratoryError, match="holds no token"):
        token_of(str(file))
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o640)
    with pytest.raises(LaboratoryError, match="chmod 600"):
        token_of(str(file))
    file.chmod(0o600)
    assert token_of(str(file)) == TOKEN
    for wrong in ("short", "x" * 1001, "a\nb" * 20):
        file.write_text(wrong)
        with pytest.raises(LaboratoryError):
            token_of(str(file))


def test_what_is_wrong_with_looking_after_is_said_and_stops_nothing(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        said: list[str] = []
        settings = {
            "schema": "edgehemo.laboratory/1", "metrics": "127.0.0.1:0",
            "health": {"broker": "mqtt://localhost:1", "credentials": str(tmp_path / "none")},
        }  # fmt: skip
        setup = Setup(tmp_path, LaboratorySettings.model_validate(settings))
        async with looked_after(setup, storage, made, said=said.append):
            assert "not listened to" in said[0]
            found = said[1].removeprefix("metrics: ")
            async with httpx.AsyncClient(trust_env=False) as client:
                while True:
                    with contextlib.suppress(httpx.HTTPError):
                        answer = await client.get(found)
                        break
                    await asyncio.sleep(0.05)
            assert "edgehemo_laboratory_build_info" in answer.text
            # The same port again.
            port = found.partition("127.0.0.1:")[2].partition("/")[0]
            taken = LaboratorySettings.model_validate(
                {"schema": "edgehemo.laboratory/1", "metrics": f"127.0.0.1:{port}"}
            )
            async with looked_after(Setup(tmp_path, taken), storage, made, said=said.append):
                assert "there are no metrics" in said[-1]

    here(tmp_path, work)
