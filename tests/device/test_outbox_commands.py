"""`edgehemo outbox`, as other programs call it, beside a kiosk and alone."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgehemo.cli import run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD
from edgehemo.images.frame import Frame
from edgehemo.interop.access import OwnWriter, SharedWriter, only_sender
from edgehemo.interop.asking import FOLDER
from edgehemo.interop.sending import Sender
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Store, Writer
from tests.support.receivers import device_with, receiver, signed_results
from tests.support.schemas import validate
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file, stored

FAKES = TruthFinder()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder that the device's one receiver is."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def data(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device with one receiver, a folder."""
    file = device_file(tmp_path / "data")
    lines = [
        "[[receivers]]",
        'name = "usb"',
        'kind = "folder"',
        f"address = {json.dumps(str(out))}",
    ]
    file.write_text(file.read_text() + "\n".join([*lines, "simulated = true", ""]))
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(file))
    return tmp_path / "data"


@pytest.fixture
def name(data: Path, frames: list[Frame]) -> str:
    """A result that was signed."""
    with Writer(RecordsFolder.below(data)) as writer:
        usb = receiver("usb", kind="folder", address="/x")
        return signed_results(writer, [usb], frames, FAKES, 1)[0]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The JSON of a command, held against its schema."""

    def read(*command: str, code: int = EXIT_DONE) -> dict[str, Any]:
        capsys.readouterr()
        assert run([*command, "--json", "-"]) == code, capsys.readouterr().err
        value: dict[str, Any] = json.loads(capsys.readouterr().out)
        validate(value)
        return value

    return read


def test_a_result_that_is_signed_is_noted_here_and_then_received_there(
    data: Path, out: Path, frames: list[Frame], told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with Writer(RecordsFolder.below(data)) as writer:
        done = stored(writer, frames, FAKES)
        assert done is not None
    name = done.result_id
    assert told("outbox", "list")["messages"] == []
    assert run(["records", "sign", name, "--by", "mwangi"]) == EXIT_DONE
    (noted,) = told("outbox", "list")["messages"]
    assert (noted["state"], noted["whereabouts"]) == ("noted", "noted here")
    assert list(out.iterdir()) == []
    sent = told("outbox", "send", "--once")
    assert sent["receivers"] == [
        {"receiver": "usb", "delivered": 1, "refused": 0, "failed": 0, "waiting": 0}
    ]
    (received,) = told("outbox", "show", name[:6])["messages"]
    assert (received["state"], received["whereabouts"]) == ("delivered", "received there")
    (file,) = out.iterdir()
    assert json.loads(file.read_bytes())["id"] == name
    for change in (
        ["correct", name, "--by", "m", "--reason", "r", "--comment", "c"],
        ["hold", name, "--by", "m", "--reason", "r"],
        ["release", name, "--by", "m", "--reason", "r"],
        ["withdraw", name, "--by", "m", "--reason", "r"],
    ):
        assert run(["records", *change]) == EXIT_DONE
    assert told("outbox", "list", "--open")["found"] == 4
    told("outbox", "send", "--once")
    states = [json.loads(path.read_bytes())["state"] for path in sorted(out.iterdir())]
    assert sorted(states) == ["corrected", "corrected", "held", "signed", "withdrawn"]
    assert told("records", "verify")["whole"]


def test_what_waits_says_why_and_what_to_do(
    name: str, out: Path, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out.rmdir()
    told("outbox", "send", "--once", code=EXIT_WITHHELD)
    shown = told("outbox", "show", name)
    (message,) = shown["messages"]
    assert (message["state"], message["code"]) == ("retrying", "FOLDER_ABSENT")
    assert "Plug in the stick" in shown["actions"][str(message["number"])]
    assert run(["outbox", "show", name]) == EXIT_DONE
    said = capsys.readouterr().out
    assert "Plug in the stick" in said and "is not there" in said and "noted here" in said
    out.mkdir()
    # Its five seconds are not over.
    told("outbox", "send", "--once", code=EXIT_WITHHELD)
    assert told("outbox", "retry", name)["numbers"] == [message["number"]]
    told("outbox", "send", "--once")
    assert len(list(out.iterdir())) == 1
    assert told("outbox", "retry", "--all")["numbers"] == []
    again = told("outbox", "retry", name)
    assert again["numbers"] == [] and not again["by_sender"]


def test_a_message_is_read_by_its_owner_and_that_is_noted(
    name: str, told: Any, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["outbox", "show", "1", "--message", str(tmp_path / "m")]) == EXIT_BAD_INPUT
    assert "was not made yet" in capsys.readouterr().err
    told("outbox", "send", "--once")
    target = tmp_path / "message.json"
    told("outbox", "show", "1", "--message", str(target))
    assert json.loads(target.read_bytes())["id"] == name
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with Store.below(data).reader() as reader:
        (entry,) = reader.rows("SELECT subject FROM audit WHERE action = 'message viewed'")
        delivered = reader.rows(
            "SELECT subject, actor, details FROM audit WHERE action = 'message delivered'"
        )
    assert entry[0] == name
    assert (delivered[0][0], delivered[0][1]) == (name, "edgehemo outbox")
    assert set(json.loads(delivered[0][2])) == {"receiver", "version", "sha256"}


def test_receivers_that_are_no_longer_configured_are_told_and_get_nothing(
    name: str, data: Path, out: Path, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = device_file(data / "other")
    text = other.read_text().replace(str(data / "other"), str(data))
    other.write_text(
        text + '[[receivers]]\nname = "lab"\nkind = "laboratory"\n'
        'address = "https://l.example"\ncredentials = "/nowhere"\n'
    )
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(other))
    told("outbox", "send", "--once")
    assert list(out.iterdir()) == []
    lab, usb = told("outbox", "list")["receivers"]
    assert lab["configured"] and "No such file" in lab["problems"][0]
    assert not usb["configured"] and usb["messages"]["noted"] == 1


def test_wrong_use_is_told_in_one_line(
    data: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (
        ["list", "--open", "--state", "noted"],
        ["show", "77"],
        ["show", "zzzz"],
        ["retry"],
        ["retry", "1", "--all"],
        ["retry", "1", "--receiver", "usb"],
        ["send", "--json", "-"],
    ):
        assert run(["outbox", *command]) == EXIT_BAD_INPUT, command
        said = capsys.readouterr()
        assert said.err.count("\n") == 1 and "Traceback" not in said.err
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device_file(data / "none")))
    assert run(["outbox", "list"]) == EXIT_DONE
    assert "no receivers" in capsys.readouterr().out
    assert run(["outbox", "send", "--once"]) == EXIT_BAD_INPUT
    assert "no receivers" in capsys.readouterr().err


# -- beside a kiosk ---------------------------------------------------------------------------


@pytest.fixture
def kiosk(data: Path) -> Iterator[Writer]:
    with Writer(RecordsFolder.below(data)) as writer:
        yield writer


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)


def test_the_kiosks_sender_sends_what_is_signed_while_it_runs(
    data: Path, out: Path, frames: list[Frame], kiosk: Writer, told: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    usb = receiver("usb", kind="folder", address=str(out))
    sender = Sender(device_with(usb), SharedWriter(kiosk))
    sender.start()
    try:
        signed_results(kiosk, [usb], frames, FAKES, 2)
        until(lambda: len(list(out.iterdir())) == 2)
        # Another process sees how far it is, and leaves the sending to it.
        until(lambda: told("outbox", "list")["receivers"][0]["messages"]["delivered"] == 2)
        assert run(["outbox", "send", "--once"]) == EXIT_BAD_INPUT
        said = capsys.readouterr().err
        assert "sends by itself" in said and said.count("\n") == 1
    finally:
        sender.stop()
    with only_sender(kiosk.folder) as alone:
        assert alone


def test_retry_beside_a_kiosk_is_done_by_its_sender(
    data: Path, out: Path, frames: list[Frame], kiosk: Writer, told: Any
) -> None:
    usb = receiver("usb", kind="folder", address=str(out))
    out.rmdir()
    sender = Sender(device_with(usb), SharedWriter(kiosk))
    sender.start()
    try:
        signed_results(kiosk, [usb], frames, FAKES, 1)
        until(lambda: told("outbox", "list")["messages"][0]["state"] == "retrying")
        out.mkdir()
        asked_at = time.monotonic()
        assert told("outbox", "retry", "--all")["by_sender"]
        until(lambda: len(list(out.iterdir())) == 1)
        until(lambda: told("outbox", "list")["messages"][0]["state"] == "delivered")
        assert time.monotonic() - asked_at < 15
    finally:
        sender.stop()
    assert list((kiosk.folder.path / FOLDER).iterdir()) == []
    assert kiosk.rows("SELECT 1 FROM audit WHERE action = 'message asked for again'")


def test_a_request_that_cannot_be_read_harms_nothing(
    data: Path, out: Path, frames: list[Frame], kiosk: Writer
) -> None:
    usb = receiver("usb", kind="folder", address=str(out))
    (kiosk.folder.path / FOLDER).mkdir()
    for number, text in enumerate(["", "[]", '{"numbers": [99], "by": "x"}', '{"numbers": "x"}']):
        (kiosk.folder.path / FOLDER / f"{number}.json").write_text(text)
    sender = Sender(device_with(usb), SharedWriter(kiosk))
    sender.start()
    try:
        until(lambda: list((kiosk.folder.path / FOLDER).iterdir()) == [])
        signed_results(kiosk, [usb], frames, FAKES, 1)
        until(lambda: len(list(out.iterdir())) == 1)
    finally:
        sender.stop()


def test_two_senders_never_send_at_once_and_the_second_takes_over(
    data: Path, out: Path, frames: list[Frame], kiosk: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgehemo.interop import sending

    monkeypatch.setattr(sending, "_TAKE_OVER_EVERY_S", 0.1)
    usb = receiver("usb", kind="folder", address=str(out))
    sender = Sender(device_with(usb), SharedWriter(kiosk))
    with only_sender(kiosk.folder) as alone:
        assert alone
        sender.start()
        signed_results(kiosk, [usb], frames, FAKES, 1)
        time.sleep(0.5)
        assert list(out.iterdir()) == []
    until(lambda: len(list(out.iterdir())) == 1)
    sender.stop()


def test_a_sender_alone_waits_for_a_command_that_writes(
    data: Path, out: Path, name: str, frames: list[Frame]
) -> None:
    waits: list[str] = []
    access = OwnWriter(Store.below(data), lambda error: waits.append(str(error)))
    usb = receiver("usb", kind="folder", address=str(out))
    sender = Sender(device_with(usb), access)
    with Writer(RecordsFolder.below(data)):
        sender.start()
        until(lambda: bool(waits))
        assert list(out.iterdir()) == []
    until(lambda: len(list(out.iterdir())) == 1)
    sender.stop()
    # Between its turns others write.
    with Writer(RecordsFolder.below(data)):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sending_until_a_signal_comes(
    number: signal.Signals, name: str, out: Path, data: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgehemo", "outbox", "send"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "sending to usb\n"
    until(lambda: len(list(out.iterdir())) == 1, 60)
    process.send_signal(number)
    assert process.wait(20) == EXIT_DONE
    process.stdout.close()
    assert threading.active_count() >= 1
