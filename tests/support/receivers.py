"""Receivers for tests: processes that are started, killed and looked into; results to be sent."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.receivers import Receiver
from edgehemo.images.frame import Frame
from edgehemo.interop.outbox import noting
from edgehemo.interop.receivers.door import Kiosk, Parcel
from edgehemo.interop.states import Answer, Stored
from edgehemo.records.store import Writer
from edgehemo.records.versions import change
from tests.support.screening_fakes import TruthFinder
from tests.support.stored import stored

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class StubProcess:
    """A receiver in a process of its own; see `tests.support.receiver_stub` for its options."""

    kind: str
    store: Path
    options: Sequence[str] = ()
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; after a kill on the port it had."""
        command = [
            sys.executable, "-m", "tests.support.receiver_stub", self.kind,
            "--store", str(self.store), "--port", str(self.port), *self.options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        """As a power cut ends it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    @property
    def address(self) -> str:
        secure = "--certificate" in self.options
        if self.kind == "mllp":
            return f"{'mllps' if secure else 'mllp'}://localhost:{self.port}"
        path = "/fhir" if self.kind == "fhir" else ""
        return f"{'https' if secure else 'http'}://localhost:{self.port}{path}"

    def rows(self) -> list[tuple[str, int | None, str, int]]:
        """(identity, sequence, sha256, how often it came) of what is stored, in that order."""
        with contextlib.closing(sqlite3.connect(self.store)) as connection:
            return connection.execute(
                "SELECT identity, sequence, sha256, came FROM stored ORDER BY number"
            ).fetchall()


@contextlib.contextmanager
def running(kind: str, store: Path, *options: str) -> Iterator[StubProcess]:
    stub = StubProcess(kind, store, options)
    stub.start()
    try:
        yield stub
    finally:
        stub.kill()


def receiver(name: str = "lab", **given: Any) -> Receiver:
    """A receiver that takes simulated results."""
    values = {
        "kind": "laboratory", "address": "https://laboratory.example", "simulated": True, **given
    }  # fmt: skip
    return Receiver.model_validate({"name": name, **values})


def device_with(*receivers: Receiver) -> DeviceConfiguration:
    """A device that has these receivers."""
    return DeviceConfiguration(
        schema="edgehemo.device/1", name="kiosk", board="workstation", receivers=receivers
    )


@dataclass
class ScriptedDoor:
    """A door that answers as it is told, and notes what came and from whom. answers: one list a
    call, which may end before the messages do; afterwards everything is stored. missed: numbers
    that it says once never came.
    """

    answers: list[list[Answer]] = field(default_factory=list)
    came: list[Parcel] = field(default_factory=list)
    kiosks: list[Kiosk] = field(default_factory=list)
    missed: list[tuple[int, int]] = field(default_factory=list)
    closed: int = 0

    def open(self, receiver: Receiver, kiosk: Kiosk) -> ScriptedDoor:
        self.kiosks.append(kiosk)
        return self

    def send(self, parcels: Sequence[Parcel]) -> list[Answer]:
        answers: list[Answer] = self.answers.pop(0) if self.answers else []
        answers = answers or [Stored("ok")] * len(parcels)
        self.came += parcels[: len(answers)]
        return answers

    def missing(self) -> Sequence[tuple[int, int]]:
        told, self.missed = self.missed, []
        return told

    def close(self) -> None:
        self.closed += 1


def signed_results(
    writer: Writer,
    receivers: Sequence[Receiver],
    frames: list[Frame],
    finder: TruthFinder,
    count: int,
) -> list[str]:
    """Results that were stored and signed, noted for the receivers; what they are called."""
    names = []
    for number in range(count):
        done = stored(writer, frames, finder, sample=f"S-{number + 1}")
        assert done is not None
        change(writer, done.result_id, "signed", by="sup", hooks=noting(receivers))
        names.append(done.result_id)
    return names


def self_signed(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A certificate of this machine's own and its key, by openssl."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
         f"subjectAltName=DNS:{name},IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def signed_by_another(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate of this machine, its key, and that of the authority that signed it."""
    authority, authority_key = self_signed(folder, "authority")
    certificate, key, request = (folder / f"leaf.{each}" for each in ("pem", "key", "csr"))
    extra = folder / "leaf.cnf"
    extra.write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    for command in (
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(request)],
        ["x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(authority_key),
         "-CAcreateserial", "-days", "2", "-extfile", str(extra), "-out", str(certificate)],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return certificate, key, authority
