"""What befalls the laboratory and its kiosks, a phase each."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgehemo_laboratory.errors import StorageError
from edgehemo_laboratory.storage.own_postgres import OwnPostgres
from laboratory_load.disk import SmallDisk
from laboratory_load.kiosks import Kiosk
from laboratory_load.posting import Found, Pace
from tests.support.laboratory_process import Laboratory

_DAY_S = 86_400.0
# Phase -> its share of the run.
PHASES = {
    "undisturbed": 0.10,
    "server and PostgreSQL killed in turn": 0.15,
    "clocks jump": 0.07,
    "disk of the database full": 0.08,
    "kiosks come back after a week": 0.10,
    "undisturbed again": 0.50,
}
# Of the phase with kills so many, and none in less than this.
KILLS = 24
BETWEEN_KILLS_S = 10.0
_STARTS = 5
# A third of the kiosks each: battery empty, year mistyped, year before.
JUMPS_S = (-20_000 * _DAY_S, 400 * _DAY_S, -1000 * _DAY_S)
# The server's clock in turn, as `faketime` takes it.
SERVER_CLOCKS = ("+40d", "-1000d", "+0d")
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@dataclass
class Trouble:
    """It happens to these. disk: of the database; None where none could be mounted."""

    lab: Laboratory
    cluster: OwnPostgres
    kiosks: Sequence[Kiosk]
    found: Found
    disk: SmallDisk | None
    folder: Path
    said: Callable[[str], None]
    killed_server: int = 0
    killed_database: int = 0
    database_died: int = 0
    disk_full_s: float = 0.0
    kiosk_clocks: int = 0
    server_clocks: list[str] = field(default_factory=list)

    async def run(self, seconds: float, pace: Pace) -> None:
        """All phases, one after the other; the last ends with the pace."""
        work = dict(
            zip(
                PHASES,
                (self._nothing, self._kills, self._clocks, self._full, self._back, self._nothing),
                strict=True,
            )
        )
        for phase, share in PHASES.items():
            self.found.enter(phase)
            until = time.monotonic() + share * seconds
            self.said(f"{phase} for {share * seconds:.0f} s")
            await work[phase](until)
            while time.monotonic() < min(until, pace.until_s):
                await asyncio.sleep(0.5)
        self.found.enter("sending what was left")

    async def _nothing(self, until: float) -> None:
        """Nothing."""

    async def _kills(self, until: float) -> None:
        """End server and database in turn, as a power cut does."""
        between = max(BETWEEN_KILLS_S, (until - time.monotonic()) / KILLS)
        while time.monotonic() + between < until:
            begun = time.monotonic()
            if self.killed_server > self.killed_database:
                await asyncio.to_thread(self.cluster.kill)
                await asyncio.to_thread(self.cluster.start)
                self.killed_database += 1
            else:
                await asyncio.to_thread(self.lab.end, signal.SIGKILL)
                await self._started()
                self.killed_server += 1
            await asyncio.sleep(max(0.0, begun + between - time.monotonic()))

    async def _clocks(self, until: float) -> None:
        """The clocks of kiosks jump, and that of the server."""
        length = until - time.monotonic()
        for number, kiosk in enumerate(self.kiosks):
            kiosk.ahead_s = JUMPS_S[number % len(JUMPS_S)]
        self.kiosk_clocks = len(self.kiosks)
        if FAKETIME:
            clock = self.folder / "clock"
            clock.write_text("+0d\n")
            await self._restarted({
                "LD_PRELOAD": str(FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(clock),
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            })  # fmt: skip
            for offset in SERVER_CLOCKS:
                clock.write_text(f"{offset}\n")
                self.server_clocks.append(offset)
                await asyncio.sleep(length / (len(SERVER_CLOCKS) + 1))
            await self._restarted({})
        # Half of the kiosks are put right; the others stay as they are.
        for kiosk in self.kiosks[::2]:
            kiosk.ahead_s = 0.0

    async def _restarted(self, environment: dict[str, str]) -> None:
        try:
            await asyncio.to_thread(self.lab.end)
        except subprocess.TimeoutExpired:
            # A machine that is busy with much else.
            await asyncio.to_thread(self.lab.end, signal.SIGKILL)
        self.lab.environment = environment
        await self._started()

    async def _started(self) -> None:
        """Start the server, again where it ends at once, as a service manager does."""
        for left in reversed(range(_STARTS)):
            try:
                await asyncio.to_thread(self.lab.start)
                return
            except AssertionError:
                if not left:
                    raise
                self.said("the server did not start; it is tried again")
                await asyncio.sleep(2.0)

    async def _full(self, until: float) -> None:
        """The disk is full for two thirds of the phase; the database may end by it."""
        if self.disk is None:
            return
        begun = time.monotonic()
        taken = await asyncio.to_thread(self.disk.fill)
        self.said(f"filled with {taken / 1e6:.0f} MB")
        free_at = begun + (until - begun) * 2 / 3
        while time.monotonic() < free_at:
            await asyncio.sleep(1.0)
            # What else was freed meanwhile.
            await asyncio.to_thread(self.disk.fill)
        await asyncio.to_thread(self.disk.free)
        self.disk_full_s = round(time.monotonic() - begun, 1)
        await self.look_after_database()

    async def look_after_database(self) -> None:
        """Start it again where it ended by itself, as the system's service manager would."""
        process = self.cluster.process
        if process is None or process.poll() is None:
            return
        self.database_died += 1
        self.said("the database ended by itself; it is started again")
        try:
            await asyncio.to_thread(self.cluster.start)
        except StorageError as error:
            raise SystemExit(f"the database does not start any more: {error}") from None

    async def _back(self, until: float) -> None:
        """Kiosks come back, a few at a time in a third of the phase."""
        away = [kiosk for kiosk in self.kiosks if kiosk.away_until_s is not None]
        between = (until - time.monotonic()) / 3 / max(1, len(away))
        for number, kiosk in enumerate(away):
            kiosk.away_until_s = time.monotonic() + number * between
