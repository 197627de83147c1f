"""The process that captures: one that hangs is ended and another started; the page never waits."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgehemo.device.configuration import DeviceConfiguration, load_profile
from edgehemo.kiosk import effects, events
from edgehemo.kiosk.effects import Effect
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.messages import CaptureOrder, Order, StopOrder
from edgehemo.kiosk.state import KioskState, screen_of
from edgehemo.kiosk.work import WorkerProcess
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.screening.sample import UnreadableImage

# What must come comes at once; a machine that does much else at the same time may need longer.
PATIENCE_S = 120.0


@asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[tuple[Kiosk, WorkerProcess]]:
    """A kiosk with its process, which is ended with it."""
    with Writer(RecordsFolder(folder / "records")) as writer:
        kiosk = Kiosk(writer)
        kiosk.work = work = WorkerProcess(kiosk, load_profile("workstation"), "simulated:")
        await kiosk.start()
        try:
            yield kiosk, work
        finally:
            await kiosk.stop()


class Noted:
    """Work that is only noted down."""

    def __init__(self) -> None:
        self.begun: list[Effect] = []

    def begin(self, effect: Effect, state: KioskState) -> None:
        self.begun.append(effect)

    def take_up(self, device: DeviceConfiguration) -> None:
        pass

    def use_camera(self, source: str) -> None:
        pass

    def close(self) -> None:
        pass


async def to_check(kiosk: Kiosk) -> None:
    for event in (
        events.ChooseUser("amina"),
        events.SignIn("amina", "operator", "screen-1"),
        events.OpenPractice(),
        events.NewSample(slide="good"),
        events.GivePerson(40, "female", 0),
    ):
        await kiosk.tell(event)


async def to_capture(kiosk: Kiosk) -> None:
    await to_check(kiosk)
    await kiosk.tell(events.SelfChecked(()))
    await kiosk.tell(events.StartCapture())


def test_the_watch_finds_a_silent_worker_without_a_touch(tmp_path: Path) -> None:
    async def run() -> None:
        ahead_s = 0.0
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            work = Noted()
            kiosk = Kiosk(writer, clock=lambda: time.time() + ahead_s, work=work)
            await kiosk.start()
            try:
                await to_capture(kiosk)
                # As if half a minute had gone by; the watch looks at the clock again by itself, and
                # here at once.
                ahead_s = 31.0
                kiosk._moved.set()
                async with asyncio.timeout(PATIENCE_S):
                    while kiosk.state.fault is None:
                        await asyncio.sleep(0.02)
                assert kiosk.state.fault.code == "WORKER_SILENT"
                assert kiosk.state.fault.trying
                assert work.begun[-1] == effects.RestartWorker(1)
            finally:
                await kiosk.stop()

    asyncio.run(run())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_hangs_holds_up_nothing_and_is_replaced(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as (kiosk, work):
            await to_capture(kiosk)
            first = work.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)
            # More than a pipe holds: whoever sends it waits.
            many = tuple(UnreadableImage("x" * 1000, "y") for _ in range(2000))
            begun = time.monotonic()
            orders: list[Order] = [CaptureOrder(1, 1, "simulated:", None, many), StopOrder()]
            for order in orders:
                work._order(order)
            # Whoever waits for it waits without end.
            assert time.monotonic() - begun < PATIENCE_S
            await kiosk.tell(events.WorkerSilent())
            async with asyncio.timeout(PATIENCE_S):
                while work.pid in (None, first) or is_alive(first):
                    await asyncio.sleep(0.05)
                while kiosk.state.fault is not None:
                    await asyncio.sleep(0.05)
            assert screen_of(kiosk.state) == "capture"
            # Its end was wanted: it counts once, as the silence.
            assert len(kiosk.state.ended) == 1
        assert work.pid is None

    asyncio.run(run())


def test_another_camera_is_used_at_once_by_another_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with at_work(tmp_path) as (kiosk, work):
            await to_check(kiosk)
            async with asyncio.timeout(PATIENCE_S):
                while work._circumstances is None:
                    await asyncio.sleep(0.05)
            first, other = work.pid, "simulated:?seed=9"
            work.use_camera(other)
            assert work._circumstances is None
            assert (work.source, kiosk.look.source) == (other, other)
            async with asyncio.timeout(PATIENCE_S):
                # It says of its own camera what it stands on.
                while work._circumstances is None or work.pid in (None, first):
                    await asyncio.sleep(0.05)
            assert kiosk.state.fault is None
            assert kiosk.state.ended == ()

    asyncio.run(run())


def test_where_no_process_can_be_started_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("edgehemo.kiosk.work.ProcessLink", refused)

    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            kiosk = Kiosk(writer)
            kiosk.work = WorkerProcess(kiosk, load_profile("workstation"), "simulated:")
            await kiosk.start()
            try:
                await to_check(kiosk)
                async with asyncio.timeout(10):
                    while kiosk.state.fault is None or kiosk.state.fault.code != "WORKER_GAVE_UP":
                        await asyncio.sleep(0.02)
                assert screen_of(kiosk.state) == "fault"
            finally:
                await kiosk.stop()

    asyncio.run(run())


def test_a_sample_that_waits_for_the_equipment_is_begun_once_and_holds_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart at the live picture the process is not known yet."""
    begun: list[int] = []

    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            kiosk = Kiosk(writer)
            work = WorkerProcess(kiosk, load_profile("workstation"), "simulated:")
            monkeypatch.setattr(work, "_started", lambda: None)
            monkeypatch.setattr(work, "_capture", lambda sample: begun.append(sample.ref))
            await kiosk.start()
            try:
                for event in (
                    events.ChooseUser("amina"),
                    events.SignIn("amina", "operator", "screen-1"),
                    events.NewSample(),
                    events.GiveNumber("26-0417"),
                    events.GivePerson(40, "female", 0),
                    events.SelfChecked(()),
                    events.StartCapture(),
                ):
                    await kiosk.tell(event)
                waiting = [asyncio.create_task(work._capture_when_known(1)) for _ in range(3)]
                await asyncio.sleep(0.05)
                assert begun == []
                work._known.set()
                await asyncio.gather(*waiting)
                assert begun == [1]
                # Nobody answers any more: the kiosk ends all the same, at once.
                kiosk.do(work._capture_when_known(1))
                await asyncio.sleep(0.05)
                kiosk.work = work
            finally:
                async with asyncio.timeout(5):
                    await kiosk.stop()
            assert begun == [1]

    asyncio.run(run())


def test_what_waits_for_ever_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """As what looks whether a stick was plugged in."""

    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            kiosk = Kiosk(writer)
            await kiosk.start()
            kiosk.do(asyncio.Event().wait())
            async with asyncio.timeout(10):
                await kiosk.stop()

    asyncio.run(run())
