"""What kiosks say of themselves, and the pages of kiosks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgehemo.errors import UsageError
from edgehemo.interop.laboratory import (
    PAIRED_PATH,
    VISIT_PATH,
    ControlStanding,
    DeviceState,
    Paired,
    PairedTaken,
    PairedValue,
    Visit,
    message_of,
)
from edgehemo_laboratory.enrolment.kiosks import kiosk_named
from edgehemo_laboratory.intake.pairs import keep_paired
from edgehemo_laboratory.intake.taking import taken
from edgehemo_laboratory.output import KioskEntry, RecordsEntry
from edgehemo_laboratory.overview import kiosk_entries
from edgehemo_laboratory.seeing.told import (
    BACKUP_FAIL_S,
    BACKUP_WARN_S,
    asks_for_a_look,
    backup,
    control,
    silence,
)
from edgehemo_laboratory.server.app import application
from edgehemo_laboratory.server.shown import with_certificate
from edgehemo_laboratory.simulated.fleet import Fault, Fleet, fill
from edgehemo_laboratory.storage.interface import Storage
from tests.support.laboratory import (
    STORE,
    batch,
    certificates,
    enrolled,
    item,
    result,
    with_storage,
)
from tests.support.laboratory_pages import seen

MONTH = "2026-11-01T00:00:00+00:00"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def entry(**given: Any) -> KioskEntry:
    values = {
        "name": "clinic-1", "site": "north", "standing": "in service", "why": "",
        "identified": True, "pictures": "asked", "device": "kiosk", "software_version": "0.1.0",
        "silent_s": 60, "renewal_waits": False, "records": [], "state": None, "state_age_s": None,
    }  # fmt: skip
    return KioskEntry(**{**values, **given})


def state(**given: Any) -> DeviceState:
    values = {
        "results": 10, "backup_age_s": 3600, "backed_up": 10, "control": "passed",
        "control_age_s": 7200, "profile": True,
    }  # fmt: skip
    return DeviceState(**{**values, **given})


def test_what_is_not_known_is_said_so() -> None:
    assert "not known" in backup(entry()).words
    assert "not known" in control(entry()).words
    assert silence(entry(silent_s=None)).words == "never heard"


@pytest.mark.parametrize(
    ("age_s", "since_s", "level"),
    [
        (0, 0, "pass"),
        (BACKUP_WARN_S - 10, 9, "pass"),
        (BACKUP_WARN_S - 10, 10, "warn"),
        (0, BACKUP_FAIL_S, "fail"),
        (None, 0, "fail"),
    ],
)
def test_a_backup_grows_old_while_its_kiosk_is_silent(
    age_s: int | None, since_s: int, level: str
) -> None:
    said = entry(state=state(backup_age_s=age_s), state_age_s=since_s)
    assert backup(said).level == level


def test_a_backup_says_how_many_results_it_lacks() -> None:
    told = backup(entry(state=state(backed_up=7), state_age_s=0))
    assert told.meaning == "3 results are not in it"


@pytest.mark.parametrize(
    ("standing", "level"),
    [("passed", "pass"), ("due", "warn"), ("missing", "warn"), ("failed", "fail"),
     ("unreadable", "fail"), ("none", "soft")],
)  # fmt: skip
def test_each_standing_of_control_slides_has_words(standing: ControlStanding, level: str) -> None:
    told = control(entry(state=state(control=standing), state_age_s=3600))
    assert told.level == level
    assert told.words.endswith(", 3 h ago")


def test_only_kiosks_in_service_ask_for_a_look() -> None:
    whole = entry(state=state(), state_age_s=0)
    assert not asks_for_a_look(whole)
    late = {"silent_s": 90_000, "state": state(), "state_age_s": 90_000}
    assert asks_for_a_look(entry(**late))
    assert not asks_for_a_look(entry(**late, standing="revoked"))
    gap = RecordsEntry(store=STORE, results=3, missing=[(2, 2)], refused=0, doubled=0)
    assert asks_for_a_look(entry(state=state(), state_age_s=0, records=[gap]))


def test_a_visit_says_how_the_kiosk_is_and_an_old_kiosk_says_nothing(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        await enrolled(storage, made)
        ((digest,),) = await storage.rows("SELECT digest FROM certificate")
        app: Any = with_certificate(application(storage, made, None), digest)
        transport = httpx.ASGITransport(app=app)
        said: dict[str, Any] = {
            "store": STORE, "device": "kiosk", "software_version": "0.1.0",
            "sent_at": "2026-11-27T09:00:00+00:00", "noted": 0,
        }  # fmt: skip
        async with httpx.AsyncClient(transport=transport, base_url="https://lab") as client:
            old = {"schema": "edgehemo.visit/1", **said}
            assert (await client.post(VISIT_PATH, json=old)).status_code == 200
            (seen,) = await kiosk_entries(storage, made)
            assert seen.state is None
            visit = Visit(**said, state=state(control="failed"))
            answer = await client.post(VISIT_PATH, content=visit.model_dump_json())
            assert answer.status_code == 200
        (seen,) = await kiosk_entries(storage, made)
        assert seen.state == state(control="failed")
        assert seen.state_age_s is not None and seen.state_age_s < 60

    with_storage(tmp_path / "lab.sqlite3", work)


def value(number: int, **given: Any) -> PairedValue:
    said = {
        "number": number, "sample": f"S-{number}", "measurand": "hgb_g_per_l", "value": 120.0,
        "analyser": "analyser", "at": "2026-11-20T09:30:00+00:00",
    }  # fmt: skip
    return PairedValue(**{**said, **given})


def test_analyser_values_are_kept_once_in_any_order_of_answers(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        first = Paired(store=STORE, values=(value(1), value(2)))
        assert await keep_paired(storage, kiosk, first) == 0  # nothing of the records came yet
        await taken(storage, kiosk, batch(item(1, result(1))))
        assert await keep_paired(storage, kiosk, first) == 2
        again = Paired(store=STORE, values=(value(2), value(3, value=99.0)))
        assert await keep_paired(storage, kiosk, again) == 3
        assert await keep_paired(storage, kiosk, Paired(store=STORE)) == 3
        rows = await storage.rows("SELECT number, value FROM paired ORDER BY number")
        assert rows == [(1, 120.0), (2, 120.0), (3, 99.0)]

    with_storage(tmp_path / "lab.sqlite3", work)


@pytest.mark.parametrize(
    "given",
    [{"value": 1.2}, {"sample": "S-0123456789ab", "at": MONTH},
     {"analyser": None, "sample": "S-7", "at": MONTH},
     {"analyser": None, "sample": "S-0123456789ab"}],
)  # fmt: skip
def test_impossible_and_named_analyser_values_are_refused(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made, identified=False)
        with pytest.raises(UsageError):
            await keep_paired(storage, kiosk, Paired(store=STORE, values=(value(1, **given),)))

    with_storage(tmp_path / "lab.sqlite3", work)


def test_the_route_of_analyser_values_answers_with_the_highest(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        await taken(storage, kiosk, batch(item(1, result(1))))
        ((digest,),) = await storage.rows("SELECT digest FROM certificate")
        app: Any = with_certificate(application(storage, made, None), digest)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://lab") as client:
            said = Paired(store=STORE, values=(value(1),))
            answer = await client.post(PAIRED_PATH, content=said.model_dump_json())
        assert message_of(PairedTaken, answer.content).upto == 1

    with_storage(tmp_path / "lab.sqlite3", work)


FLEET = Fleet(
    4, ("north", "south"), 8, 3.0,
    faults=(Fault("no backup", "simulated-001"), Fault("control failed", "simulated-002"),
            Fault("missing", "simulated-003"), Fault("refused items", "simulated-004")),
)  # fmt: skip


def test_the_list_says_what_each_kiosk_lacks(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        page = (await client.get("/")).text
        assert "4 kiosks" in page and "4 ask for a look" in page
        assert "a broken card would lose all its records" in page
        assert "it gives no results before the cause was found" in page
        assert "missing:" in page and "1 refused" in page
        south = (await client.get("/?site=south")).text
        assert "simulated-002" in south and "simulated-001" not in south
        nothing = (await client.get("/?site=nowhere")).text
        assert "No kiosk is like this" in nothing

    seen(tmp_path, FLEET, work)


def test_the_page_of_a_kiosk_has_its_days_checks_and_refusals(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        page = (await client.get("/kiosks/simulated-004")).text
        ((results,),) = await storage.rows(
            "SELECT count(*) FROM result r JOIN records s ON s.store = r.store "
            "JOIN kiosk k ON k.number = s.kiosk WHERE k.name = 'simulated-004'"
        )
        assert f'class="number">{results}</td>' in page
        assert page.count("<svg") == 9  # the days, seven checks, haemoglobin
        assert "SIMULATED: it comes with names" in page
        lost = await client.get("/kiosks/nobody")
        assert lost.status_code == 404 and "there is no kiosk" in lost.text

    seen(tmp_path, FLEET, work)


def test_pages_of_an_empty_laboratory(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, _: Storage) -> None:
        assert "No kiosk yet" in (await client.get("/")).text

    seen(tmp_path, None, work)


def test_a_kiosk_that_was_only_added_has_a_page(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        await enrolled(storage, made, "new-1")
        page = (await client.get("/kiosks/new-1")).text
        assert "Nothing came of it yet" in page and "not known: it has not said yet" in page

    seen(tmp_path, None, work)


def test_names_of_kiosks_and_sites_are_text(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        await storage.do(
            "INSERT INTO kiosk (name, site, made_at) VALUES ('<b>x', 'a\"><script>', '2026')"
        )
        page = (await client.get("/")).text
        assert "<script>" not in page and "<b>x" not in page

    seen(tmp_path, None, work)


def test_days_say_what_the_results_say_whatever_the_order(tmp_path: Path) -> None:
    """The row of a day against the results themselves, after corrections and withdrawals."""
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        items = [
            item(1, result(1)), item(2, result(2)), item(3, result(2, 3, change="withdrawn")),
            item(4, result(3, 3)), item(5, result(3)),
        ]  # fmt: skip
        for each in reversed(items):
            await taken(storage, kiosk, batch(each))
        ((results, given, withdrawn, corrected, hgb_n, hgb_sum),) = await storage.rows(
            "SELECT results, given, withdrawn, corrected, hgb_n, hgb_sum FROM result_day"
        )
        assert (results, given, withdrawn, corrected, hgb_n) == (3, 2, 1, 1, 2)
        ((total,),) = await storage.rows(
            "SELECT sum(hgb_g_per_l) FROM result WHERE state <> 'withdrawn'"
        )
        assert hgb_sum == total

    with_storage(tmp_path / "lab.sqlite3", work)


def test_a_day_that_cannot_be_is_not_believed(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    today = datetime.now(UTC).date().isoformat()

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        ahead = result(1, made_at="2099-01-01T10:00:00+00:00")
        unset = result(2, clock="unset")
        await taken(storage, kiosk, batch(item(1, ahead), item(2, unset), item(3, result(3))))
        rows = await storage.rows("SELECT result_id, counted_day FROM result ORDER BY 1")
        assert [day for _, day in rows] == [today, today, "2026-11-20"]

    with_storage(tmp_path / "lab.sqlite3", work)


def test_a_number_that_came_twice_is_counted_once(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        for said in (result(1), result(2), result(2)):
            await taken(storage, kiosk, batch(item(1, said)))
        (found,) = await kiosk_entries(storage, made)
        assert [each.doubled for each in found.records] == [1]

    with_storage(tmp_path / "lab.sqlite3", work)


def test_results_from_before_there_were_days_get_them(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    place = tmp_path / "lab.sqlite3"

    async def first(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        await taken(storage, kiosk, batch(item(1, result(1)), item(2, result(2))))
        await storage.do("DELETE FROM result_day")

    async def then(storage: Storage) -> None:
        assert await storage.rows("SELECT results FROM result_day") == [(2,)]
        assert (await kiosk_named(storage, "clinic-1")).state is None

    with_storage(place, first)
    with_storage(place, then)


def test_the_simulated_fleet_is_the_same_each_time(tmp_path: Path) -> None:
    async def digests(storage: Storage) -> list[tuple[Any, ...]]:
        await fill(storage, FLEET, NOW)
        return await storage.rows("SELECT identity FROM version ORDER BY identity")

    first = with_storage(tmp_path / "a.sqlite3", digests)
    assert first == with_storage(tmp_path / "b.sqlite3", digests)
    assert len(first) > 50
