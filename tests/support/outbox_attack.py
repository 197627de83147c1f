"""The outbox attacked: its sender, who signs and every receiver killed at any moment, answers lost.

What was acknowledged to who signed must be at every receiver in the end, once, and no version of a
result before an earlier one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgehemo.interop.formats import FORMATS
from edgehemo.interop.outbox import Row, listed, message_body
from edgehemo.interop.receivers.mllp import control_id_of
from edgehemo.interop.states import OPEN
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Reader, Store, Writer
from edgehemo.records.verifying import verify
from tests.support.receivers import ROOT, StubProcess
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file, stored

# Kind -> the format without which its stub cannot be sent to.
STUBS = {"laboratory": "json", "fhir": "fhir-r4", "mllp": "hl7-2.5.1"}


@dataclass
class OutboxAttack:
    """folder: an empty one. results: to be signed. faults: share of messages that go wrong. jumps:
    whether the sender's clock jumps. kills: whether processes are killed. forgetful: whether the
    sender forgets identities, so that harm must come of it.
    """

    folder: Path
    results: int
    faults: float = 0.3
    jumps: bool = False
    kills: bool = True
    forgetful: bool = False
    seed: int = 1
    stubs: list[StubProcess] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    killed: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.data = self.folder / "data"
        self.files = self.folder / "stick"
        self.files.mkdir(parents=True)
        for kind, wanted in STUBS.items():
            if wanted in FORMATS:
                options = ("--faults", str(self.faults), "--seed", str(self.seed))
                self.stubs.append(StubProcess(kind, self.folder / f"{kind}.sqlite3", options))

    def run(self, seconds: float) -> dict[str, Any]:
        """Attack for so long or until all is signed and sent, then let all be sent, and count."""
        try:
            for stub in self.stubs:
                stub.start()
            return self._attacked(seconds)
        finally:
            for stub in self.stubs:
                stub.kill()

    def _attacked(self, seconds: float) -> dict[str, Any]:
        self._prepare()
        signer, sender = self._signer(), self._sender()
        until = time.monotonic() + seconds
        begun = time.monotonic()
        try:
            while time.monotonic() < until:
                time.sleep(self.chance.uniform(0.1, 1.5))
                signer = self._heard(signer)
                if self._signed_all() and not self._open():
                    break
                if self.kills:
                    signer, sender = self._kill_one(signer, sender)
            attacked_s = time.monotonic() - begun
            # From here on nothing goes wrong any more.
            while not self._signed_all():
                signer = self._heard(signer)
                time.sleep(0.1)
            for stub in self.stubs:
                stub.kill()
                stub.options = ()
                stub.start()
            end = time.monotonic() + 60 + self.results / 2
            while self._open() and time.monotonic() < end:
                time.sleep(0.2)
        finally:
            for process in (signer, sender):
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
        found = self._counted()
        return {**found, "attacked_s": round(attacked_s, 1), "killed": self.killed}

    # -- processes ----------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "EDGEHEMO_DEVICE": str(self.data / "device.toml"),
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }

    def _prepare(self) -> None:
        device = device_file(self.data)
        tables = [self._table("stick", "folder", str(self.files))]
        tables += [self._table(stub.kind, stub.kind, stub.address) for stub in self.stubs]
        device.write_text(device.read_text() + "".join(tables))
        finder = TruthFinder()
        frames = simulated_frames(finder, count=1)
        with Writer(RecordsFolder.below(self.data)) as writer:
            for number in range(self.results):
                assert stored(writer, frames, finder, sample=f"S-{number + 1}") is not None

    @staticmethod
    def _table(name: str, kind: str, address: str) -> str:
        return (
            f'[[receivers]]\nname = "{name}"\nkind = "{kind}"\naddress = {json.dumps(address)}\n'
            "simulated = true\ntimeout_s = 1\n"
        )

    def _started(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], env=self._environment(), cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def _signer(self) -> subprocess.Popen[str]:
        process = self._started("tests.support.signing")
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def _sender(self) -> subprocess.Popen[str]:
        options = ["--jumps"] * self.jumps + ["--forgetful"] * self.forgetful
        return self._started("tests.support.quick_sender", *options, "outbox", "send")

    def _heard(self, signer: subprocess.Popen[str]) -> subprocess.Popen[str]:
        """Note what was acknowledged; the next one where it was killed."""
        assert signer.stdout is not None
        with contextlib.suppress(OSError, TypeError):
            # A line that a kill cut off was not acknowledged.
            whole = signer.stdout.read() or ""
            self.acknowledged += [line for line in whole.split("\n")[:-1] if line]
        return signer

    def _signed_all(self) -> bool:
        return "done" in self.acknowledged

    def _kill_one(
        self, signer: subprocess.Popen[str], sender: subprocess.Popen[str]
    ) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        victim = self.chance.choice(["sender", "sender", "signer", *(s.kind for s in self.stubs)])
        self.killed += 1
        if victim == "sender":
            # One that has not begun yet is let be: else nothing would ever be sent.
            assert sender.stdout is not None
            sender.stdout.readline()
            time.sleep(self.chance.uniform(0, 3))
            self._ended(sender)
            return signer, self._sender()
        if victim == "signer" and not self._signed_all():
            signer.kill()
            signer.wait()
            self._heard(signer)
            assert signer.stdout is not None
            signer.stdout.close()
            return self._signer(), sender
        for stub in self.stubs:
            if stub.kind == victim:
                stub.kill()
                time.sleep(self.chance.uniform(0, 0.5))
                stub.start()
        return signer, sender

    @staticmethod
    def _ended(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    # -- what came of it ----------------------------------------------------------------------

    def _open(self) -> int:
        with Store.below(self.data).reader() as reader:
            return len(listed(reader, states=OPEN, limit=100_000))

    def _counted(self) -> dict[str, Any]:
        with Store.below(self.data).reader() as reader:
            rows = list(reversed(listed(reader, limit=1_000_000)))
            versions = {
                (name, version)
                for name, version in reader.rows(
                    "SELECT r.id, v.version FROM version v JOIN result r ON r.number = v.result "
                    "WHERE v.version > 1"
                )
            }
            faults = verify(reader, contents=False).faults
            known = {row.number: _known_by(reader, row) for row in rows}
        acknowledged = {
            (name, int(version))
            for name, _, version in (line.partition(" ") for line in self.acknowledged)
            if version
        }
        found: dict[str, Any] = {
            "versions": len(versions),
            "acknowledged and lost": len(acknowledged - versions),
            "chain": len(faults),
            "came again": 0,
            "receivers": {},
        }
        for name, arrived in self._arrived():
            noted = [row for row in rows if row.receiver == name]
            found["receivers"][name] = {
                "noted": len(noted),
                "not noted": len(versions - {(row.result_id, row.version) for row in noted}),
                "not delivered": sum(row.standing.state != "delivered" for row in noted),
                **_compared(noted, arrived, known),
            }
        found["came again"] = sum(row[3] - 1 for stub in self.stubs for row in stub.rows())
        return found

    def _arrived(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Receiver -> what identifies each message that it has, in the order in which it came."""
        yield "stick", [path.stem.rpartition("-")[2] for path in self.files.iterdir()]
        for stub in self.stubs:
            yield stub.kind, [row[0] for row in stub.rows()]


def _known_by(reader: Reader, row: Row) -> str:
    """What its receiver knows a message by; its number where it was never made."""
    if row.identity is None or row.sha256 is None:
        return f"number {row.number}"
    if row.receiver == "laboratory":
        return row.identity
    if row.receiver == "stick":
        return row.sha256[:12]
    body = message_body(reader, row)
    if row.receiver == "fhir":
        return str(json.loads(body)["identifier"]["value"])
    return control_id_of(body) or ""


def _compared(
    noted: Sequence[Row], arrived: Sequence[str], known_by: Mapping[int, str]
) -> dict[str, int]:
    """Noted messages against those that arrived."""
    known = {known_by[row.number]: row for row in noted}
    overtaken = 0
    # A folder says nothing of the order in which its files came.
    if noted and noted[0].receiver != "stick":
        newest: dict[str, int] = {}
        for each in arrived:
            row = known.get(each)
            if row is not None:
                overtaken += row.version < newest.get(row.result_id, 0)
                newest[row.result_id] = max(row.version, newest.get(row.result_id, 0))
    return {
        "missing": len(set(known) - set(arrived)),
        "unknown": len(set(arrived) - set(known)),
        "twice": len(arrived) - len(set(arrived)) + len(noted) - len(known),
        "overtaken": overtaken,
    }


def harm_of(found: dict[str, Any]) -> int:
    """How often harm was done; 0 is the only good number."""
    harm = int(found["acknowledged and lost"]) + int(found["chain"])
    for counted in found["receivers"].values():
        harm += sum(number for name, number in counted.items() if name != "noted")
    return harm
