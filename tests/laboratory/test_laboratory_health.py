"""What kiosks say of their health is judged, kept by our clock, and shown; nothing is believed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edgehemo.files.strict import RecordError
from edgehemo.interop.health import MAX_HEALTH_BYTES, Health, silence_of, topic_of
from edgehemo_laboratory.enrolment.kiosks import revoke
from edgehemo_laboratory.errors import StorageBusyError
from edgehemo_laboratory.health.inbox import Inbox
from edgehemo_laboratory.health.keeping import keep, keep_on
from edgehemo_laboratory.health.live import LIVE_S, live_kiosks
from edgehemo_laboratory.health.told import FATES, Told, judged
from edgehemo_laboratory.intake.taking import taken
from edgehemo_laboratory.overview import kiosk_entries
from edgehemo_laboratory.settings import HealthSettings
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

OTHER = "0123456789abcdef" * 2
AT_S = 1_800_000_000


def health(store: str = STORE, **given: Any) -> Health:
    values = {
        "online": True, "store": store, "device": "kiosk", "at": "2026-11-27T10:00:00+00:00",
        "software_version": "0.1.0", "results": 3, "free_mb": 12_000.0, "space": "enough",
        "last_backup_at": "2026-11-27T09:00:00+00:00", "control": "passed", **given,
    }  # fmt: skip
    return Health.model_validate(values)


def told(said: Health, user: str = "edgehemo", at_s: int = AT_S, *, retained: bool = False) -> Told:
    found = judged(
        topic_of(said.store, user), said.model_dump_json().encode(), came_at_s=at_s,
        retained=retained,
    )  # fmt: skip
    assert isinstance(found, Told)
    return found


async def two_kiosks(storage: Storage, tmp_path: Path) -> tuple[int, int]:
    """clinic-1, whose records are known, and clinic-2, which sent nothing yet."""
    made = certificates(tmp_path / "certificates")
    first = await enrolled(storage, made)
    await taken(storage, first, batch(item(1, result(1))))
    second = await enrolled(storage, made, "clinic-2", site="south")
    return first.number, second.number


def here(tmp_path: Path, work: Callable[[Storage], Awaitable[None]]) -> None:
    with_storage(tmp_path / "laboratory.sqlite3", work)


@pytest.mark.parametrize(
    ("topic", "payload", "fate"),
    [
        (topic_of(STORE), b"x" * (MAX_HEALTH_BYTES + 1), "too large"),
        (topic_of(STORE), b"", "garbage"),
        (topic_of(STORE), b"\xff\xfe", "garbage"),
        (topic_of(STORE), b"[" * 4000, "garbage"),
        (topic_of(STORE), b'{"a":' * 800, "garbage"),
        (topic_of(STORE), b"[]", "garbage"),
        (topic_of(STORE), b'{"online":"yes"}', "garbage"),
        (topic_of(STORE), health().model_dump_json().replace("enough", "<b>").encode(), "garbage"),
        (topic_of(STORE), b'{"online":true,"store":"' + STORE.encode() + b'","device":"k",'
         b'"celsius":1e999}', "garbage"),
        (topic_of(OTHER), health().model_dump_json().encode(), "foreign"),
        ("edgehemo/health", health().model_dump_json().encode(), "garbage"),
    ],
)  # fmt: skip
def test_what_is_no_health_is_told_apart(topic: str, payload: bytes, fate: str) -> None:
    assert judged(topic, payload, came_at_s=AT_S, retained=False) == fate


def test_a_newer_device_may_say_more() -> None:
    said = {**health().model_dump(), "lamp_hours": 12}
    found = judged(topic_of(STORE), json.dumps(said).encode(), came_at_s=AT_S, retained=False)
    assert isinstance(found, Told) and found.health == health()


def test_the_last_word_of_each_kiosk_is_kept_by_our_clock(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        first, second = await two_kiosks(storage, tmp_path)
        # The first is known by its records, the second by its name at the broker.
        said = [told(health()), told(health(OTHER, free_mb=1.0), "clinic-2", AT_S + 5)]
        assert await keep(storage, said) == ["taken", "taken"]
        live = await live_kiosks(storage, now_s=AT_S + 60)
        assert {kiosk: each.word for kiosk, each in live.items()} == {first: "live", second: "live"}
        assert (live[first].since_s, live[second].since_s) == (60, 55)
        # An hour by the kiosk's clock, a minute since by ours.
        assert live[first].backup_age_s == 3660
        assert live[first].worth_a_look == ()
        await keep(storage, [told(silence_of(STORE, "kiosk"), at_s=AT_S + 100)])
        live = await live_kiosks(storage, now_s=AT_S + 5 + int(LIVE_S) + 1)
        assert (live[first].word, live[second].word) == ("gone", "silent")
        # What it said before it went is still there.
        assert live[first].told_s == int(LIVE_S) + 6 and live[first].free_mb == 12_000.0

    here(tmp_path, work)


def test_what_the_broker_says_again_makes_nobody_younger(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        first, _ = await two_kiosks(storage, tmp_path)
        await keep(storage, [told(health())])
        await keep(storage, [told(health(), at_s=AT_S + 9000, retained=True)])
        assert (await live_kiosks(storage, now_s=AT_S + 9000))[first].since_s == 9000
        gone = silence_of(STORE, "kiosk")
        for at_s in (AT_S + 9100, AT_S + 9900):
            await keep(storage, [told(gone, at_s=at_s, retained=True)])
        assert (await live_kiosks(storage, now_s=AT_S + 10_000))[first].since_s == 900

    here(tmp_path, work)


def test_no_kiosk_speaks_for_another(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        first, _ = await two_kiosks(storage, tmp_path)
        said = [
            told(health(), "clinic-2"),
            told(health(OTHER), "stranger"),
            told(health(OTHER)),
        ]
        assert await keep(storage, said) == ["foreign", "unknown", "unknown"]
        assert await live_kiosks(storage, now_s=AT_S) == {}
        await revoke(storage, "clinic-1", "stolen", by="grace")
        assert await keep(storage, [told(health())]) == ["unknown"]
        assert first not in await live_kiosks(storage, now_s=AT_S)

    here(tmp_path, work)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fault": "CAMERA_UNPLUGGED"}, "stopped: CAMERA_UNPLUGGED"),
        ({"blocked": "CONTROL_DUE"}, "gives no results: CONTROL_DUE"),
        ({"camera": "missing"}, "its camera is not plugged in"),
        ({"free_mb": 400.0, "space": "too little"}, "0.4 GB left"),
        ({"last_backup_at": "2026-11-20T10:00:00+00:00"}, "no backup for 7 days"),
        ({"last_backup_at": None}, "never backed up"),
        ({"refused": 2}, "2 messages refused"),
        ({"celsius": 84.6}, "hot: 85 °C"),
    ],
)
def test_what_is_worth_a_look_is_said(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        first, _ = await two_kiosks(storage, tmp_path)
        await keep(storage, [told(health(**given))])
        assert (await live_kiosks(storage, now_s=AT_S))[first].worth_a_look == (words,)

    here(tmp_path, work)


def test_a_clock_that_is_wrong_makes_no_age(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        first, _ = await two_kiosks(storage, tmp_path)
        for at in ("yesterday", "1970-01-01T00:00:00+00:00", "2026-11-27T10:00:00", None):
            await keep(storage, [told(health(at=at))])
            age_s = (await live_kiosks(storage, now_s=AT_S))[first].backup_age_s
            assert age_s in (None, 0)

    here(tmp_path, work)


def test_the_list_of_kiosks_shows_it(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        await two_kiosks(storage, tmp_path)
        await keep(storage, [told(health(control="due"))])
        made = certificates(tmp_path / "certificates")
        first, second = await kiosk_entries(storage, made)
        assert first.live is not None and first.live.control == "due"
        assert second.live is None
        first.model_dump_json()

    here(tmp_path, work)


def test_the_inbox_holds_the_last_of_each_and_so_many() -> None:
    inbox = Inbox(most=2)
    for store, free in ((STORE, 1.0), (OTHER, 2.0), (STORE, 3.0), ("ef" * 16, 4.0)):
        said = health(store, free_mb=free).model_dump_json().encode()
        inbox.put(topic_of(store), said, came_at_s=AT_S, retained=False)
    inbox.put("edgehemo/a/b/health", b"nonsense", came_at_s=AT_S, retained=False)
    held = inbox.take()
    assert [each.health.free_mb for each in held] == [3.0, 2.0]
    assert inbox.take() == []
    said = health(free_mb=9.0).model_dump_json().encode()
    inbox.put(topic_of(STORE), said, came_at_s=AT_S, retained=False)
    inbox.put_back(held)
    assert sorted(each.health.free_mb or 0 for each in inbox.take()) == [2.0, 9.0]
    wanted = dict.fromkeys(FATES, 0) | {"crowded out": 1, "garbage": 1}
    assert inbox.fates == wanted


def test_a_storage_that_is_away_costs_nothing(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        first, _ = await two_kiosks(storage, tmp_path)
        inbox, tries = Inbox(), []

        class Away:
            """The first two times the storage is away, the third something else is wrong."""

            async def change(self, work: Any) -> Any:
                tries.append(1)
                if len(tries) <= 2:
                    raise StorageBusyError("cannot be reached")
                if len(tries) == 3:
                    raise RuntimeError("a fault of ours")
                return await storage.change(work)

        def came() -> None:
            said = health().model_dump_json().encode()
            inbox.put(topic_of(STORE), said, came_at_s=AT_S, retained=False)

        came()
        keeping = asyncio.create_task(keep_on(Away(), inbox, 0.01))  # type: ignore[arg-type]
        while len(tries) < 3:
            await asyncio.sleep(0.01)
        came()
        while not inbox.fates["taken"]:
            await asyncio.sleep(0.01)
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        assert first in await live_kiosks(storage, now_s=AT_S)

    here(tmp_path, work)


def test_settings_of_a_broker_are_as_a_kiosk_has_them(tmp_path: Path) -> None:
    good = HealthSettings(broker="mqtts://laboratory.example", certificate="/etc/ca.pem")
    assert (good.as_receiver().port, good.as_receiver().encrypted) == (8883, True)
    for wrong in ("mqtt://laboratory.example", "https://laboratory.example", "mqtts://u:p@x"):
        with pytest.raises(RecordError, match="broker"):
            HealthSettings(broker=wrong)
