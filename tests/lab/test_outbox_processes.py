"""The outbox with real processes: a kiosk and its receivers, killed at any moment."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgehemo.interop.outbox import listed
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Store, Writer
from tests.support.outbox_attack import OutboxAttack, harm_of
from tests.support.receivers import ROOT, receiver, running, signed_results
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def test_every_result_arrives_once_whatever_is_killed_or_lost(tmp_path: Path) -> None:
    found = OutboxAttack(tmp_path / "attack", 50, jumps=True).run(45)
    assert harm_of(found) == 0, found
    assert found["came again"] > 0, "no answer was lost: this shows nothing"
    assert found["killed"] > 5 and found["versions"] > 50


def test_a_sender_that_forgets_identities_is_caught(tmp_path: Path) -> None:
    found = OutboxAttack(tmp_path / "attack", 15, forgetful=True, faults=0.5).run(20)
    assert harm_of(found) > 0, found


class KioskProcess:
    """A kiosk, which is killed with all it started, as a power cut would."""

    def __init__(self, device: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgehemo", "kiosk", "--source", "simulated:", "--port", "0"],
            cwd=ROOT, env={**os.environ, "EDGEHEMO_DEVICE": str(device), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert re.match(r"kiosk: http", self.process.stdout.readline())

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self._gone()

    def end(self) -> int:
        self.process.terminate()
        code = self.process.wait(30)
        self._gone()
        return code

    def _gone(self) -> None:
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.1)


def test_a_kiosk_that_is_killed_sends_on_when_it_is_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    finder, chance = TruthFinder(), random.Random(3)
    frames = simulated_frames(finder, count=1)
    # Answers are lost after everything was stored, or come too late.
    script = "lost after,slow,lost after,,lost after"
    with running("laboratory", tmp_path / "lab", "--script", script) as stub:
        device = device_file(data)
        device.write_text(
            device.read_text() + '[[receivers]]\nname = "lab"\nkind = "laboratory"\n'
            f"address = {json.dumps(stub.address)}\nsimulated = true\ntimeout_s = 1\n"
        )
        names = []
        with Writer(RecordsFolder.below(data)) as writer:
            names += signed_results(writer, [receiver("lab")], frames, finder, 5)

        def waiting() -> int:
            with Store.below(data).reader() as reader:
                return sum(row.standing.state != "delivered" for row in listed(reader))

        for _ in range(4):
            kiosk = KioskProcess(device)
            time.sleep(chance.uniform(0.2, 2.5))
            kiosk.kill()
        kiosk = KioskProcess(device)
        until(lambda: waiting() == 0, 90)
        assert kiosk.end() == 0
        rows = stub.rows()
    assert [row[1] for row in rows] == [1, 2, 3, 4, 5]
    assert sum(row[3] for row in rows) > len(rows), "nothing came twice: this shows nothing"
    with Store.below(data).reader() as reader:
        assert {row.result_id for row in listed(reader)} == set(names)
        assert {row.identity for row in listed(reader)} == {row[0] for row in rows}
