"""Kiosks post to a laboratory for a while: how long a batch takes, and whether anything is lost.

    PYTHONPATH=. python benchmarks/laboratory_intake.py --kiosks 500 --seconds 3600 --out FILE

Each kiosk is a coroutine with a certificate of its own that posts batches over TLS as the outbox
does: in order, again under the same identity where an answer was lost. Answers are lost on
purpose, corrections and withdrawals among them; the server and PostgreSQL are killed (`kill -9`)
and started again. At the end everything that was acknowledged is looked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import ssl
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from edgehemo.files.atomic import write_json_atomically
from edgehemo.interop.laboratory import ENROLMENT_PATH, PATH, Item, packed_batch, receipt_of
from edgehemo.interop.own_key import OwnKey
from edgehemo_laboratory.enrolment.kiosks import add_kiosk
from edgehemo_laboratory.settings import setup_of
from edgehemo_laboratory.storage import open_storage
from edgehemo_laboratory.storage.own_postgres import OwnPostgres, own_postgres, programs
from tests.support.laboratory import batch, enrolment, item, result
from tests.support.laboratory_process import Laboratory, laboratory

# Of the posts, so many lose their answer.
LOST = 0.05
PAUSE_S = (0.2, 2.0)


@dataclass
class Kiosk:
    """One. waiting: what it has noted and the laboratory has not acknowledged, oldest first."""

    name: str
    store: str
    chance: random.Random
    sequence: int = 0
    results: int = 0
    waiting: list[Item] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)

    def note(self) -> None:
        """A result is signed; one in ten is corrected or withdrawn after that."""
        self.results += 1
        versions = [("signed", 2)]
        if self.chance.random() < 0.1:
            versions.append((self.chance.choice(["corrected", "withdrawn"]), 3))
        for what, version in versions:
            self.sequence += 1
            said = result(self.results, version, change=what, store=self.store)
            self.waiting.append(item(self.sequence, said))

    def next_batch(self, most: int) -> list[Item]:
        """What goes next: of each result one version, as the outbox has it."""
        chosen: list[Item] = []
        seen: set[str] = set()
        for each in self.waiting:
            called = json.loads(bytes(each.result))["id"]
            if called not in seen and len(chosen) < most:
                chosen.append(each)
            seen.add(called)
        return chosen


@dataclass
class Found:
    """What was measured. took_s: of each batch that was answered."""

    patience_s: float = 300.0
    took_s: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    lost_answers: int = 0
    killed: int = 0


async def posts(kiosk: Kiosk, client: httpx.AsyncClient, until: float, found: Found) -> None:
    """A kiosk at work; then it sends what is left."""
    while True:
        working = time.monotonic() < until
        if working:
            for _ in range(kiosk.chance.randint(1, 5)):
                kiosk.note()
        elif not kiosk.waiting or time.monotonic() > until + found.patience_s:
            return
        items = kiosk.next_batch(50)
        begun = time.monotonic()
        try:
            answer = await client.post(
                PATH,
                content=packed_batch(batch(*items, store=kiosk.store)),
                headers={"content-encoding": "gzip"},
            )
        except httpx.HTTPError as error:
            found.failed[type(error).__name__] += 1
            await asyncio.sleep(1.0)
            continue
        if answer.status_code != 200:
            found.failed[str(answer.status_code)] += 1
            await asyncio.sleep(1.0)
            continue
        found.took_s.append(time.monotonic() - begun)
        if kiosk.chance.random() < LOST:
            found.lost_answers += 1
        else:
            receipt = receipt_of(answer.content)
            stored = {each.identity for each in receipt.items if each.outcome == "stored"}
            kiosk.acknowledged |= stored
            kiosk.waiting = [each for each in kiosk.waiting if each.identity not in stored]
        if working:
            await asyncio.sleep(kiosk.chance.uniform(*PAUSE_S))


async def kills(lab: Laboratory, cluster: OwnPostgres, until: float, found: Found) -> None:
    """End server and database in turn, as a power cut does."""
    while time.monotonic() + 20 < until:
        await asyncio.sleep(20)
        if found.killed % 2:
            await asyncio.to_thread(cluster.kill)
            await asyncio.to_thread(cluster.start)
        else:
            await asyncio.to_thread(lab.end, signal.SIGKILL)
            await asyncio.to_thread(lab.start)
        found.killed += 1


async def clients(lab: Laboratory, kiosks: list[Kiosk], folder: Path) -> list[httpx.AsyncClient]:
    """A connection of its own for each, with the certificate that it was given."""
    setup = setup_of(lab.folder)
    certificates = setup.certificates
    trusted = folder / "trusted.pem"
    trusted.write_text(certificates.server.pem)
    storage = await open_storage(setup.storage)
    made = []
    try:
        for kiosk in kiosks:
            code = await add_kiosk(
                storage, certificates, kiosk.name, "north", identified=True, by="benchmark"
            )
            key = OwnKey.new()
            plain = ssl.create_default_context(cafile=str(trusted))
            plain.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            asked = enrolment(code).model_copy(
                update={
                    "public_key": key.public,
                    "proof": key.proof(b"edgehemo enrolment\0" + code.secret.encode()),
                }
            )
            async with httpx.AsyncClient(
                verify=plain, base_url=lab.address, trust_env=False, timeout=60
            ) as first:
                given = (await first.post(ENROLMENT_PATH, json=asked.model_dump())).json()
            own = folder / f"{kiosk.name}.pem"
            key.keep(own, given["certificate"])
            context = ssl.create_default_context(cafile=str(trusted))
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_cert_chain(own)
            made.append(
                httpx.AsyncClient(verify=context, base_url=lab.address, trust_env=False, timeout=30)
            )
    finally:
        await storage.close()
    return made


async def measured(
    lab: Laboratory, cluster: OwnPostgres, kiosks: int, seconds: float, folder: Path
) -> dict[str, Any]:
    """Let them post, then count."""
    made = [
        Kiosk(f"kiosk-{number}", f"{number:032x}", random.Random(number))
        for number in range(kiosks)
    ]
    ways = await clients(lab, made, folder)
    found = Found()
    until = time.monotonic() + seconds
    await asyncio.gather(
        *(posts(kiosk, way, until, found) for kiosk, way in zip(made, ways, strict=True)),
        kills(lab, cluster, until, found),
    )
    for way in ways:
        await way.aclose()
    acknowledged = {name for kiosk in made for name in kiosk.acknowledged}
    stored = await asyncio.to_thread(lab.rows, "SELECT identity FROM version")
    there = {row[0] for row in stored}
    cuts = quantiles(found.took_s, n=100)
    return {
        "kiosks": kiosks,
        "seconds": seconds,
        "versions_noted": sum(kiosk.sequence for kiosk in made),
        "versions_acknowledged": len(acknowledged),
        "acknowledged_and_lost": len(acknowledged - there),
        "stored_twice": len(stored) - len(there),
        "not_arrived": sum(len(kiosk.waiting) for kiosk in made),
        "batches": len(found.took_s),
        "batches_failed": dict(found.failed),
        "answers_lost": found.lost_answers,
        "killed": found.killed,
        "batch_median_ms": round(1000 * cuts[49], 1),
        "batch_p95_ms": round(1000 * cuts[94], 1),
        "well": "all is well" in await asyncio.to_thread(lab.says, "verify"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kiosks", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if programs() is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    with (
        tempfile.TemporaryDirectory(prefix="edgehemo-intake-") as name,
        own_postgres(Path(name) / "cluster") as cluster,
        laboratory(Path(name) / "lab", cluster.url) as lab,
    ):
        said = asyncio.run(measured(lab, cluster, arguments.kiosks, arguments.seconds, Path(name)))
    print(json.dumps(said, indent=1))
    if arguments.out is not None:
        write_json_atomically(arguments.out, said)


if __name__ == "__main__":
    main()
