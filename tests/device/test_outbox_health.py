"""What a broker is told: how the device is, and that it is silent; losing it loses nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgehemo.device.receiver_files import ReceiverFileError
from edgehemo.errors import RecordsError
from edgehemo.images.frame import Frame
from edgehemo.interop import sending
from edgehemo.interop.access import SharedWriter
from edgehemo.interop.health import health_of, topic_of
from edgehemo.interop.laboratory import DeviceState
from edgehemo.interop.receivers.mqtt_health import MqttTeller
from edgehemo.interop.sending import Sender
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from tests.support.broker import Broker, needs_broker, until
from tests.support.broker import broker as running_broker
from tests.support.receivers import ROOT, device_with, receiver, signed_results
from tests.support.schemas import validate
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file

FAKES = TruthFinder()
STORE = "ab" * 16


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with Writer(RecordsFolder.below(tmp_path)) as opened:
        yield opened


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as made:
        yield made


def word(broker: Broker) -> dict[str, Any]:
    """What a broker has kept of the only device; empty where nothing is."""
    kept = list(broker.retained().values())
    return kept[0] if kept else {}


def test_health_is_counts_and_dates_and_nothing_of_a_patient(
    writer: Writer, frames: list[Frame]
) -> None:
    lab = receiver()
    empty = health_of(writer, device_with(lab), "now")
    assert (empty.results, empty.last_result_at, empty.last_backup_at) == (0, None, None)
    signed_results(writer, [lab], frames, FAKES, 2)
    health = health_of(writer, device_with(lab), "now")
    assert (health.online, health.results, health.waiting, health.refused) == (True, 2, 2, 0)
    state = DeviceState(results=2, control="due", blocked="CONTROL_DUE")
    told = health_of(writer, device_with(lab), "now", state=state, fault="LAMP_OFF")
    assert (told.control, told.blocked, told.fault) == ("due", "CONTROL_DUE", "LAMP_OFF")
    text = told.model_dump_json()
    validate(json.loads(text))
    assert "S-1" not in text
    assert topic_of(writer.id) == f"edgehemo/edgehemo/{writer.id[:12]}/health"
    assert topic_of(writer.id, "clinic-7") == f"edgehemo/clinic-7/{writer.id[:12]}/health"
    assert topic_of(writer.id, "a/#") == topic_of(writer.id)
    with pytest.raises(RecordsError):
        topic_of("a/#")


@needs_broker
def test_a_kiosk_that_is_killed_is_silent_for_everybody(
    broker: Broker, tmp_path: Path, frames: list[Frame]
) -> None:
    data = tmp_path / "data"
    with Writer(RecordsFolder.below(data)):
        pass
    file = device_file(data)
    file.write_text(
        file.read_text() + '[[receivers]]\nname = "health"\nkind = "mqtt"\n'
        f'address = "mqtt://127.0.0.1:{broker.port}"\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "edgehemo", "outbox", "send"], cwd=ROOT,
        stdout=subprocess.DEVNULL, env={**os.environ, "EDGEHEMO_DEVICE": str(file)},
    )  # fmt: skip
    try:
        until(lambda: word(broker).get("online") is True, 30)
        validate(word(broker))
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: word(broker).get("online") is False)
        validate(word(broker))
    finally:
        process.kill()
        process.wait()


@needs_broker
def test_a_device_that_ends_in_order_says_so_and_a_broker_that_comes_back_is_told_again(
    broker: Broker, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgehemo.interop.receivers import mqtt_health

    monkeypatch.setattr(mqtt_health, "_RETRY_FROM_S", 1)
    monkeypatch.setattr(mqtt_health, "_RETRY_TO_S", 1)
    health = receiver("health", kind="mqtt", address=f"mqtt://127.0.0.1:{broker.port}")
    sender = Sender(device_with(health), SharedWriter(writer))
    sender.start()
    until(lambda: word(broker).get("online") is True)
    broker.kill()
    # It keeps nothing on its disk: what it knows afterwards was told anew.
    broker.start()
    until(lambda: word(broker).get("online") is True)
    sender.stop()
    assert word(broker)["online"] is False


def test_a_broker_that_is_not_there_costs_no_result(
    writer: Writer, frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOLD_EVERY_S", 0.1)
    out = tmp_path / "out"
    out.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    usb = receiver("usb", kind="folder", address=str(out))
    nowhere = receiver("health", kind="mqtt", address=f"mqtt://127.0.0.1:{port}")
    unusable = receiver("other", kind="mqtt", address="mqtt://localhost", credentials="/nowhere")
    sender = Sender(device_with(usb, nowhere, unusable), SharedWriter(writer))
    sender.start()
    signed_results(writer, [usb], frames, FAKES, 1)
    until(lambda: len(list(out.iterdir())) == 1)
    began = time.monotonic()
    sender.stop()
    assert time.monotonic() - began < 5


def test_a_teller_without_its_files_is_not_made() -> None:
    unusable = receiver("other", kind="mqtt", address="mqtt://localhost", credentials="/nowhere")
    with pytest.raises(ReceiverFileError):
        MqttTeller(unusable, STORE, "kiosk")


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a library for proxies happens to be installed."""
    from types import SimpleNamespace

    from paho.mqtt import client as library

    monkeypatch.setattr(library, "socks", SimpleNamespace(HTTP=3, SOCKS5=2))
    monkeypatch.setenv("mqtt_proxy", "http://127.0.0.1:9")
    teller = MqttTeller(receiver("h", kind="mqtt", address="mqtt://localhost:1"), STORE, "kiosk")
    assert teller._client._get_proxy() is None
    teller.close()


def test_a_kiosk_tells_what_stops_it() -> None:
    from edgehemo.kiosk.running import fault_of
    from edgehemo.kiosk.state import Fault, KioskState

    assert fault_of(KioskState()) is None
    assert fault_of(KioskState(fault=Fault(code="LAMP_OFF"))) == "LAMP_OFF"
