"""A small laboratory on one machine: its storage, its server, and simulated kiosks that report to
it by the device's own code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgehemo.files.atomic import write_text_atomically
from edgehemo_laboratory.clock import now
from edgehemo_laboratory.enrolment.kiosks import add_kiosk
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.output import DemoOutput
from edgehemo_laboratory.overview import kiosk_entries
from edgehemo_laboratory.people import add_person, people, reset_passphrase
from edgehemo_laboratory.pictures.store import open_pictures
from edgehemo_laboratory.settings import FILE, Setup, setup_of
from edgehemo_laboratory.simulated.fleet import example, fill
from edgehemo_laboratory.simulated.kiosk import SimulatedKiosk
from edgehemo_laboratory.simulated.staging import staged_over
from edgehemo_laboratory.steering.output import StagedOutput
from edgehemo_laboratory.storage import open_storage
from edgehemo_laboratory.storage.interface import Engine, Storage
from edgehemo_laboratory.storage.own_postgres import own_postgres, programs
from edgehemo_laboratory.verifying import verify

T = TypeVar("T")
DEFAULT_FOLDER = Path("edgehemo-laboratory-demo")
_SITES = ("north", "south", "hills")
_BY = "demonstration"
_PERSON = "demo"
_STOPS_WITHIN_S = 30
# Slides of one kiosk lie so far from those of the next.
_SEEDS = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """How the demonstration tells of itself. said: a line for people. advance: one more sample is
    screened.
    """

    said: Callable[[str], None]
    advance: Callable[[], None]


def run(
    out: Path,
    *,
    kiosks: int,
    results: int,
    engine: Engine | None,
    told: Told,
    staged: int = 0,
    fleet: int = 0,
    stay: Callable[[str], None] | None = None,
) -> DemoOutput:
    """Run it in a folder. engine: None for PostgreSQL where it is installed, else SQLite. staged:
    so many more kiosks, over which a bundle is staged. fleet: so many besides that are drawn into
    the storage, with faults that are known. stay: called at the end with the address, and
    everything goes on until it returns.
    """
    chosen: Engine = engine or ("postgresql" if programs() is not None else "sqlite")
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _storage(out, chosen) as setup, _server(setup) as address:
        _keep_port(setup, address)
        told.said(f"laboratory: {address} with {chosen}")
        simulated = [
            SimulatedKiosk(out / "kiosks" / f"kiosk-{number + 1}", f"kiosk-{number + 1}",
                           seed=_SEEDS * (number + 1))
            for number in range(kiosks)
        ]  # fmt: skip
        for number, kiosk in enumerate(simulated):
            _come(setup, kiosk, address, _SITES[number % len(_SITES)])
        told.said(f"{kiosks} simulated kiosks are enrolled by their pairing codes")
        for kiosk in simulated:
            _report(kiosk, results, told)
        came = None
        if staged:
            came = staged_over(
                lambda work: _with(setup, work), setup.certificates, address, out / "staged",
                staged, told.said,
            )  # fmt: skip
        if fleet:
            drawn = _with(setup, lambda storage: _drawn(storage, fleet))
            told.said(f"{drawn} SIMULATED results of drawn kiosks, some at fault, are stored")
        output = _with(setup, lambda storage: _looked_at(storage, setup, chosen, address, came))
        if stay is not None:
            passphrase = _with(setup, _somebody)
            told.said(f"sign in as {_PERSON} with the passphrase {passphrase}")
            stay(address)
        return output


def _report(kiosk: SimulatedKiosk, results: int, told: Told) -> None:
    names = []
    first = kiosk.screened()
    for number in range(first, first + results):
        names.append(kiosk.screen(number))
        told.advance()
    if len(names) > 1:
        kiosk.correct(names[0])
        kiosk.withdraw(names[-1])
    sent = kiosk.send()
    kiosk.visit()
    told.said(
        f"{kiosk.name}: {sent.delivered} messages received there, {sent.waiting} wait, "
        f"{sent.refused} refused"
    )


def _come(setup: Setup, kiosk: SimulatedKiosk, address: str, site: str) -> None:
    certificates = setup.certificates
    kiosk.set_up()
    if kiosk.is_enrolled():
        return
    code = _with(
        setup,
        lambda storage: add_kiosk(storage, certificates, kiosk.name, site, pictures="all", by=_BY),
    )
    kiosk.enrol(address, code)


async def _looked_at(
    storage: Storage, setup: Setup, engine: Engine, address: str, staged: StagedOutput | None
) -> DemoOutput:
    entries = await kiosk_entries(storage, setup.certificates)
    where = setup.pictures
    pictures = None if where is None else open_pictures(where)
    checked = await verify(storage, pictures, by=_BY)
    ((results,),) = await storage.rows("SELECT count(*) FROM result")
    return DemoOutput(
        address=address,
        engine=engine,
        folder=str(setup.folder),
        kiosks=entries,
        results=results,
        versions=checked.versions,
        pictures=checked.pictures,
        staged=staged,
        faults=checked.faults,
    )


async def _drawn(storage: Storage, kiosks: int) -> int:
    """Draw a fleet into the storage, where none was drawn in an earlier run; its results."""
    fleet = example(kiosks)
    if not await storage.rows("SELECT 1 FROM kiosk WHERE name = $1", fleet.name(0)):
        await fill(storage, fleet, now())
    ((results,),) = await storage.rows(
        "SELECT coalesce(sum(d.results), 0) FROM result_day d JOIN records s ON s.store = d.store "
        "JOIN kiosk k ON k.number = s.kiosk WHERE k.name LIKE $1",
        fleet.name(0).replace("001", "%"),
    )
    return int(results)


async def _somebody(storage: Storage) -> str:
    """Somebody who may look at the pages, with a fresh passphrase."""
    passphrase = "-".join(secrets.token_hex(2) for _ in range(4))
    if any(each.name == _PERSON and each.removed_at is None for each in await people(storage)):
        await reset_passphrase(storage, _PERSON, passphrase, by=_BY)
    else:
        await add_person(storage, _PERSON, "engineer", passphrase, by=_BY)
    return passphrase


@contextlib.contextmanager
def _storage(out: Path, engine: Engine) -> Iterator[Setup]:
    if engine == "sqlite":
        yield _settled(out, None)
        return
    with own_postgres(out) as cluster:
        yield _settled(out, cluster.url)


def _settled(out: Path, storage: str | None) -> Setup:
    # The kiosks of an earlier run know the port that it had.
    port = setup_of(out).settings.port if (out / FILE).exists() else 0
    lines = [
        'schema = "edgehemo.laboratory/1"', 'names = ["localhost", "127.0.0.1"]',
        'listen = "127.0.0.1"', f"port = {port}",
    ]  # fmt: skip
    if storage is not None:
        lines.append(f"storage = {json.dumps(storage)}")
    write_text_atomically(out / FILE, "\n".join(lines) + "\n")
    return setup_of(out)


def _keep_port(setup: Setup, address: str) -> None:
    file = setup.folder / FILE
    port = address.rpartition(":")[2]
    text = re.sub(r"^port = \d+$", f"port = {port}", file.read_text("utf-8"), flags=re.MULTILINE)
    write_text_atomically(file, text)


@contextlib.contextmanager
def _server(setup: Setup) -> Iterator[str]:
    """The real command in a process of its own; its address."""
    command = [
        sys.executable, "-m", "edgehemo", "laboratory", "serve", "--data", str(setup.folder),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.match(r"laboratory: (https://\S+)", line)
        if found is None:
            raise LaboratoryError("the laboratory's server did not start; it said why above")
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _with(setup: Setup, work: Callable[[Storage], Awaitable[T]]) -> T:
    async def go() -> T:
        storage = await open_storage(setup.storage)
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(go())
