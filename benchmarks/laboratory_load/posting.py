"""A kiosk posts over TLS with its own certificate, and waits longer after each failure."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from edgehemo.interop.laboratory import ENROLMENT_PATH, PATH, packed_batch, receipt_of
from edgehemo.interop.own_key import OwnKey
from edgehemo.interop.states import wait_s
from edgehemo_laboratory.enrolment.kiosks import add_kiosk
from edgehemo_laboratory.settings import setup_of
from edgehemo_laboratory.storage import open_storage
from laboratory_load.kiosks import Kiosk
from tests.support.laboratory import enrolment
from tests.support.laboratory_process import Laboratory

# Of the posts, so many lose their answer.
LOST = 0.05
MOST_ITEMS = 50
# Results of a post.
RESULTS = (1, 5)
# As kiosks wait, but for no longer than this: the run has an end.
LONGEST_WAIT_S = 60.0
SITES = 25


@dataclass
class Found:
    """What was measured. took_s: phase -> of each batch that was answered. failed: phase -> what
    came instead -> how often. lost: answers that were lost on purpose.
    """

    phase: str = ""
    took_s: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, Counter[str]] = field(default_factory=dict)
    lost: int = 0
    posts: int = 0

    def enter(self, phase: str) -> None:
        self.phase = phase
        self.took_s.setdefault(phase, [])
        self.failed.setdefault(phase, Counter())

    def by_phase(self) -> list[dict[str, Any]]:
        """A row each phase, in milliseconds."""
        rows = []
        for phase, took_s in self.took_s.items():
            row: dict[str, Any] = {"phase": phase, "batches": len(took_s)}
            if len(took_s) > 1:
                cuts = quantiles(took_s, n=100)
                for name, at in (("p50", 49), ("p95", 94), ("p99", 98)):
                    row[f"{name}_ms"] = round(1000 * cuts[at], 1)
                row["longest_ms"] = round(1000 * max(took_s), 1)
            rows.append({**row, "failed": dict(self.failed[phase])})
        return rows


@dataclass
class Pace:
    """pause_s: between two posts of a kiosk, from and to. until_s: when nothing new is noted any
    more, monotonic; a person may bring it forward. patience_s: how long after that what waits is
    still sent.
    """

    pause_s: tuple[float, float]
    until_s: float
    patience_s: float = 900.0


async def posts(kiosk: Kiosk, client: httpx.AsyncClient, pace: Pace, found: Found) -> None:
    """A kiosk at work; then it sends what is left."""
    # Kiosks do not all come at once.
    await asyncio.sleep(kiosk.chance.uniform(0, pace.pause_s[1]))
    failures, note_at_s = 0, 0.0
    while True:
        working = time.monotonic() < pace.until_s
        if kiosk.away_until_s is not None:
            if kiosk.away_until_s > time.monotonic():
                await asyncio.sleep(0.5)
                continue
            kiosk.away_until_s = None
            kiosk.note_a_week()
        if working and time.monotonic() >= note_at_s:
            # Also where nothing was taken: people go on working.
            note_at_s = time.monotonic() + kiosk.chance.uniform(*pace.pause_s)
            for _ in range(kiosk.chance.randint(*RESULTS)):
                kiosk.note()
        if not working and time.monotonic() > pace.until_s + pace.patience_s:
            return
        if not kiosk.waiting:
            if not working:
                return
            await asyncio.sleep(max(0.1, note_at_s - time.monotonic()))
            continue
        if await _posted(kiosk, client, found):
            failures = 0
            # What is left of a long list goes at once.
            if not kiosk.waiting and working:
                await asyncio.sleep(max(0.0, note_at_s - time.monotonic()))
        else:
            failures += 1
            await asyncio.sleep(min(LONGEST_WAIT_S, wait_s(failures, kiosk.chance.random())))


async def _posted(kiosk: Kiosk, client: httpx.AsyncClient, found: Found) -> bool:
    begun, phase = time.monotonic(), found.phase
    found.posts += 1
    try:
        answer = await client.post(
            PATH,
            content=packed_batch(kiosk.next_batch(MOST_ITEMS)),
            headers={"content-encoding": "gzip"},
        )
    except httpx.HTTPError as error:
        found.failed[phase][type(error).__name__] += 1
        return False
    if answer.status_code != 200:
        found.failed[phase][str(answer.status_code)] += 1
        return False
    found.took_s[phase].append(time.monotonic() - begun)
    if kiosk.chance.random() < LOST:
        found.lost += 1
        return False
    receipt = receipt_of(answer.content)
    kiosk.settle({each.identity for each in receipt.items if each.outcome == "stored"})
    return True


async def clients(
    lab: Laboratory, kiosks: Sequence[Kiosk], folder: Path
) -> list[httpx.AsyncClient]:
    """A connection of its own for each, with the certificate that it was given."""
    setup = setup_of(lab.folder)
    certificates = setup.certificates
    trusted = folder / "trusted.pem"
    trusted.write_text(certificates.server.pem)
    storage = await open_storage(setup.storage)
    plain = httpx.AsyncClient(
        verify=_context(trusted), base_url=lab.address, trust_env=False, timeout=60
    )
    made = []
    try:
        for number, kiosk in enumerate(kiosks):
            code = await add_kiosk(
                storage, certificates, kiosk.name, f"site {number % SITES}", identified=True,
                by="benchmark",
            )  # fmt: skip
            key = OwnKey.new()
            asked = enrolment(code).model_copy(
                update={
                    "public_key": key.public,
                    "proof": key.proof(b"edgehemo enrolment\0" + code.secret.encode()),
                }
            )
            given = (await plain.post(ENROLMENT_PATH, json=asked.model_dump())).json()
            own = folder / f"{kiosk.name}.pem"
            key.keep(own, given["certificate"])
            context = _context(trusted)
            context.load_cert_chain(own)
            made.append(
                httpx.AsyncClient(verify=context, base_url=lab.address, trust_env=False, timeout=30)
            )
    finally:
        await plain.aclose()
        await storage.close()
    return made


def _context(trusted: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trusted))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
