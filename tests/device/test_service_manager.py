"""What the service manager is told: ready once the page answers, alive while the kiosk goes on."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehemo.device.configuration import load_profile
from edgehemo.kiosk import service_manager
from edgehemo.kiosk.app import KioskApp
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.guarding import Guard
from edgehemo.kiosk.service_manager import (
    LATE_S,
    ServiceManager,
    goes_on,
    status_of,
    watched_over,
)
from edgehemo.kiosk.serving import listening, serve
from edgehemo.kiosk.state import Answers, Fault, KioskState, Progress, Sample, SignedIn
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer

WATCHDOG_S = 0.4


class Listener:
    """What a service manager hears."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    there = Listener(str(tmp_path / "notify"))
    yield there
    there.socket.close()


def manager_at(address: Path | str, **more: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": str(address), **more})


def capturing(at_s: float, **more: object) -> KioskState:
    """A sample whose fields are being taken; the worker's last word was at ``at_s``."""
    sample = Sample(
        ref=1, owner="amina", step="capture", answers=Answers(), progress=Progress(at_s=at_s)
    )
    state = KioskState(
        place="capture",
        session=SignedIn(name="amina", role="operator", viewer="screen-1"),
        samples=(sample,),
        hand=1,
        since_s=at_s,
        heard_s=at_s,
    )
    return state.model_copy(update=more)


def test_without_a_service_manager_nothing_is_told() -> None:
    manager = ServiceManager({})
    manager.tell("READY=1")
    assert manager.watchdog_s == 0


def test_what_is_told_arrives_by_a_path_and_by_an_abstract_address(
    tmp_path: Path, listener: Listener
) -> None:
    manager_at(tmp_path / "notify").tell("READY=1", "STATUS=x")
    assert listener.heard() == ["READY=1\nSTATUS=x"]
    name = f"edgehemo-test-{os.getpid()}"
    abstract = Listener(f"\0{name}")
    manager_at(f"@{name}").tell("STOPPING=1")
    assert abstract.heard() == ["STOPPING=1"]
    abstract.socket.close()


def test_a_service_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    manager_at(tmp_path / "nobody").tell("READY=1")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_of_this_process(given: dict[str, str], seconds: float) -> None:
    assert manager_at("/run/x", **given).watchdog_s == seconds


def test_capture_goes_on_while_the_worker_speaks_or_its_silence_leads_to_something() -> None:
    assert goes_on(KioskState(), 1e9), "nobody waits for anything"
    state = capturing(1000.0)
    assert goes_on(state, 1001.0)
    # Within the deadline of the worker, and while the engine has time to act on it.
    assert goes_on(state, 1000.0 + 30.0 + LATE_S - 1)
    assert not goes_on(state, 1000.0 + 30.0 + LATE_S + 1)
    # It was noticed: the fault is shown and waits for a person, however long.
    shown = capturing(1000.0, fault=Fault(code="WORKER_GAVE_UP"))
    assert goes_on(shown, 90_000.0)
    # Who does not touch the page is no worker that hangs.
    assert goes_on(KioskState(place="home", session=state.session, heard_s=0.0), 1e6)


def test_the_status_says_nothing_of_a_patient() -> None:
    state = capturing(1.0, fault=Fault(code="LAMP_OFF"))
    assert status_of(state) == "STATUS=shows fault, LAMP_OFF, 1 samples in hand"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_manager, "ANSWER_S", 0.3)


async def until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("quick")
def test_it_is_petted_while_pages_and_records_answer_and_not_otherwise(
    tmp_path: Path, listener: Listener
) -> None:
    manager = manager_at(tmp_path / "notify", WATCHDOG_USEC=str(int(WATCHDOG_S * 1e6)))

    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer, listening(0) as at:
            kiosk = Kiosk(writer)
            port = at.getsockname()[1]
            device = load_profile("workstation")
            app = KioskApp(kiosk, device, Guard(port), simulated=True, areas={})
            served = asyncio.create_task(
                serve(
                    app.application(),
                    at,
                    kiosk.release,
                    beside=lambda: watched_over(kiosk, port, manager),
                )
            )
            heard: list[str] = []

            def petted() -> bool:
                heard.extend(listener.heard())
                return any(line.startswith("WATCHDOG=1") for line in heard)

            await until(petted)
            assert heard[0].startswith("READY=1\nSTATUS=shows sign_in")
            # The thread that writes hangs in the disk.
            stuck = threading.Event()
            hanging = asyncio.ensure_future(kiosk.stored(stuck.wait))
            await asyncio.sleep(0.5)
            listener.heard()
            await asyncio.sleep(1.0)
            assert not listener.heard()
            stuck.set()
            await hanging
            heard.clear()
            await until(petted)
            # A worker whose silence leads to nothing: as where the engine does not act any more.
            kiosk.state = capturing(kiosk.clock() - 1000.0)
            await asyncio.sleep(0.4)
            listener.heard()
            await asyncio.sleep(0.5)
            assert not listener.heard()
            kiosk.state = KioskState()
            heard.clear()
            await until(petted)
            os.kill(os.getpid(), 15)
            await served

    asyncio.run(run())


def test_a_page_says_that_it_lives(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    with Writer(RecordsFolder(tmp_path / "records")) as writer:
        app = KioskApp(
            Kiosk(writer), load_profile("workstation"), Guard(8321), simulated=True, areas={}
        )
        with TestClient(app.application(), base_url="http://127.0.0.1:8321") as browser:
            assert browser.get("/alive").text.endswith("idle yes\npage never\n")
            assert browser.get("/seen").status_code == 204
            assert browser.get("/alive").text.endswith("page 0\n")
