"""A laboratory as a process, and devices with records of their own that report to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.interop.access import OwnWriter
from edgehemo.interop.enrolling import enrol
from edgehemo.interop.lane import Lane
from edgehemo.interop.outbox import listed
from edgehemo.interop.pairing import read_code
from edgehemo.interop.visiting import Visits
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Store, Writer
from edgehemo_laboratory.storage.interface import Storage
from tests.support.laboratory import with_storage
from tests.support.receivers import ROOT, signed_results
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file

FAKES = TruthFinder()


@dataclass
class Laboratory:
    """One as a process. folder: its own. storage: postgresql://..., else SQLite in the folder.
    environment: variables over those of this process. settings: more lines of its laboratory.toml.
    """

    folder: Path
    port: int = 0
    storage: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    settings: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "laboratory.toml").write_text(
            'schema = "edgehemo.laboratory/1"\nnames = ["localhost"]\nlisten = "127.0.0.1"\n'
            + (f"storage = {json.dumps(self.storage)}\n" if self.storage else "")
            + self.settings
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgehemo", "laboratory", "serve", "--data", str(self.folder),
             "--port", str(self.port)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **self.environment},
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.match(r"laboratory: https://localhost:(\d+) with ", line)
        assert found, line
        self.port = int(found[1])

    def metrics_address(self) -> str:
        """Where its metrics are, as its lines after the first say; once after a start."""
        assert self.process is not None and self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, "it named no metrics"
            if line.startswith("metrics: "):
                return line.removeprefix("metrics: ").strip()

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None and self.process.stdout is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process.stdout.close()
        self.process = None
        return code

    @property
    def _where(self) -> str:
        return self.storage or str(self.folder / "laboratory.sqlite3")

    @property
    def address(self) -> str:
        return f"https://localhost:{self.port}"

    def says(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "edgehemo", "laboratory", *arguments, "--data",
             str(self.folder)],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    def code(self, kiosk: str = "clinic-1", *options: str) -> str:
        said = self.says("enrol", kiosk, "--site", "north", "--json", "-", *options)
        return str(json.loads(said)["code"])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async def work(storage: Storage) -> list[tuple[Any, ...]]:
            return await storage.rows(sql)

        return with_storage(self._where, work)

    def do(self, sql: str) -> None:
        async def work(storage: Storage) -> int:
            return await storage.do(sql)

        with_storage(self._where, work)


@contextmanager
def laboratory(folder: Path, storage: str = "", settings: str = "") -> Iterator[Laboratory]:
    made = Laboratory(folder, storage=storage, settings=settings)
    made.start()
    try:
        yield made
    finally:
        if made.process is not None:
            assert made.end() == 0


@dataclass
class KioskAt:
    """A device with records of its own."""

    data: Path

    def __post_init__(self) -> None:
        self.file = device_file(self.data)

    @property
    def device(self) -> DeviceConfiguration:
        return load_device(self.file)

    def signed(self, count: int) -> None:
        frames = simulated_frames(FAKES, count=1)
        with Writer(RecordsFolder.below(self.data)) as writer:
            signed_results(writer, self.device.receivers, frames, FAKES, count)

    def hurries(self) -> None:
        """What waits after a failure is due now."""
        with self.access().writing() as writer:
            writer.connection.execute("UPDATE outbox SET next_at_s = 0")

    def access(self) -> OwnWriter:
        return OwnWriter(Store.below(self.data), lambda _: None)

    def sends(self) -> None:
        (receiver,) = self.device.receivers
        lane = Lane(receiver, self.access(), self.device.name, jitter=lambda: 0.0)
        while lane.turn() == 0.0:
            pass
        lane.close()

    def visits(self) -> None:
        (receiver,) = self.device.receivers
        device = self.device
        Visits(receiver, self.access(), device.name, configuration=device).turn()

    def states(self) -> list[tuple[str, str | None, str]]:
        with Store.below(self.data).reader() as reader:
            return [
                (row.standing.state, row.standing.code, row.standing.said)
                for row in reversed(listed(reader))
            ]


def come(kiosk: KioskAt, lab: Laboratory, *options: str, **given: Any) -> None:
    """Enrol a device as clinic-1. options: of `edgehemo laboratory enrol`."""
    enrol(kiosk.device, lab.address, read_code(lab.code("clinic-1", *options)), **given)
