"""Kiosks tell a real broker how they are, a laboratory listens: killed, gone, hostile, shut out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgehemo.interop.health import topic_of
from edgehemo.records.store import Store
from tests.support.broker import Broker, broker, needs_broker, until
from tests.support.laboratory import certificates
from tests.support.laboratory_process import KioskAt, Laboratory, come, laboratory
from tests.support.receivers import ROOT

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), needs_broker]
USERS = {"clinic-1": "a-password-of-its-own", "clinic-2": "another-one", "laboratory": "reads-all"}
# As docs/pages/using/fleet-health.md has them.
RULES = (ROOT / "docs/pages/using/fleet-health.md").read_text("utf-8")


def rules() -> str:
    """The broker's rules as the documentation gives them."""
    _, _, after = RULES.partition('```text title="/etc/mosquitto/edgehemo.acl"\n')
    found, _, _ = after.partition("```")
    assert "pattern write" in found
    return found


def credentials(file: Path, user: str) -> Path:
    file.write_text(f'user = "{user}"\npassword = "{USERS[user]}"\n')
    file.chmod(0o600)
    return file


@contextlib.contextmanager
def running(kiosk: KioskAt) -> Iterator[subprocess.Popen[bytes]]:
    """Its sender as a process, as beside the kiosk."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgehemo", "outbox", "send"], cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "EDGEHEMO_DEVICE": str(kiosk.file), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def metrics(address: str) -> dict[str, float]:
    text = httpx.get(address, trust_env=False).text
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


def live_of(lab: Laboratory, name: str = "clinic-1") -> dict[str, Any]:
    entries = json.loads(lab.says("kiosks", "--json", "-"))["kiosks"]
    (found,) = [entry["live"] for entry in entries if entry["name"] == name]
    return found or {"word": None}


@pytest.fixture
def kiosk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KioskAt:
    made = KioskAt(tmp_path / "kiosk")
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(made.file))
    return made


def test_a_kiosk_lives_is_killed_and_comes_back_by_tls_and_with_rules(
    kiosk: KioskAt, tmp_path: Path
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "rules").write_text(rules())
    # The broker shows the laboratory's certificate, which kiosks trust already.
    shown = certificates(tmp_path / "lab/certificates").server.path
    lines = (
        f"certfile {shown}", f"keyfile {shown}", f"acl_file {folder / 'rules'}", "user root",
        "persistence true", f"persistence_location {folder}/",
    )  # fmt: skip
    with broker(folder, *lines, **USERS) as at:
        reads = credentials(tmp_path / "laboratory.toml", "laboratory")
        settings = (
            'metrics = "127.0.0.1:0"\n[health]\n'
            f'broker = "mqtts://localhost:{at.port}"\n'
            f'certificate = "{shown}"\ncredentials = "{reads}"\n'
        )
        with laboratory(tmp_path / "lab", settings=settings) as lab:
            figures = lab.metrics_address()
            come(kiosk, lab, "--identified", simulated=True)
            own = credentials(tmp_path / "kiosk.toml", "clinic-1")
            (enrolled,) = kiosk.device.receivers
            kiosk.file.write_text(
                kiosk.file.read_text() + '[[receivers]]\nname = "health"\nkind = "mqtt"\n'
                f'address = "mqtts://localhost:{at.port}"\ncredentials = "{own}"\n'
                f'certificate = "{enrolled.certificate}"\n'
            )
            kiosk.signed(2)
            with running(kiosk) as process:
                until(lambda: live_of(lab)["word"] == "live", 60)
                found = live_of(lab)
                assert found["software_version"] and found["bundle_sha256"]
                process.send_signal(signal.SIGKILL)
                process.wait()
                # The connection is broken, so the broker speaks the last will at once.
                until(lambda: live_of(lab)["word"] == "gone", 60)
            assert lab.rows("SELECT count(*) FROM result") == [(2,)]

            # A listener that comes later is told by the broker what it has kept.
            assert lab.end() == 0
            lab.do("DELETE FROM health")
            lab.start()
            figures = lab.metrics_address()
            until(lambda: live_of(lab)["word"] == "gone", 60)

            # The broker is killed and comes back; so do the kiosk and the laboratory.
            with running(kiosk):
                until(lambda: live_of(lab)["word"] == "live", 60)
                at.kill()
                until(lambda: metrics(figures)["edgehemo_laboratory_broker_up"] == 0, 60)
                # Without a broker results come as before.
                kiosk.signed(1)
                until(lambda: lab.rows("SELECT count(*) FROM result") == [(3,)], 60)
                at.start()
                until(lambda: metrics(figures)["edgehemo_laboratory_broker_up"] == 1, 120)
            assert "all is well" in lab.says("verify")


def test_nobody_writes_below_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "rules").write_text(rules())
    store = "ab" * 16
    with broker(folder, f"acl_file {folder / 'rules'}", "user root", **USERS) as at:
        said = {user: json.dumps({"by": user}).encode() for user in USERS}
        for user in USERS:
            for name in ("clinic-1", "clinic-2"):
                at.says(topic_of(store, name), said[user], user=user)
        at.says("edgehemo/clinic-2/commands", said["clinic-2"], user="clinic-2")
        kept = at.retained(user="laboratory")
        assert kept == {topic_of(store, name): {"by": name} for name in ("clinic-1", "clinic-2")}
        # And nobody but the laboratory listens.
        assert at.retained(user="clinic-1") == {}


def hostile(at: Broker, store: str) -> int:
    """What somebody with access might write; how many of it the listener can count."""
    topic = topic_of(store, "clinic-1")
    for payload in (b"\xff" * 40, b"[" * 4000, b"x" * 20_000, b"{}"):
        at.says(topic, payload)
    # More than the listener takes at all: the broker does not send it.
    at.says(topic_of("cd" * 16, "clinic-1"), b"y" * 3_000_000)
    at.says("edgehemo/clinic-1/x/y/z/health", b"not asked for")
    return 4


def test_what_is_written_by_anybody_hurts_nothing(kiosk: KioskAt, tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    with broker(folder) as at:
        settings = f'metrics = "127.0.0.1:0"\n[health]\nbroker = "{at.address}"\n'
        with laboratory(tmp_path / "lab", settings=settings) as lab:
            figures = lab.metrics_address()
            come(kiosk, lab, "--identified", simulated=True)
            kiosk.signed(1)
            kiosk.sends()
            until(lambda: metrics(figures)["edgehemo_laboratory_broker_up"] == 1)
            with Store.below(kiosk.data).reader() as reader:
                store = reader.id
            countable = hostile(at, store)
            ignored = ("garbage", "too large")
            name = "edgehemo_laboratory_health_messages_total"
            until(lambda: sum(metrics(figures)[f"{name} {fate}"] for fate in ignored) == countable)
            # A stranger's health, and that of a kiosk by one who is called otherwise.
            said = {"online": True, "store": "ef" * 16, "device": "stranger"}
            at.says(topic_of("ef" * 16), json.dumps(said).encode())
            come_by = {**said, "store": store, "device": "kiosk"}
            at.says(topic_of("ef" * 16, "clinic-9"), json.dumps(come_by).encode())
            at.says(topic_of(store), json.dumps(come_by).encode())
            until(lambda: metrics(figures)[f"{name} taken"] == 1)
            assert metrics(figures)[f"{name} unknown"] == 1
            assert metrics(figures)[f"{name} foreign"] == 1
            assert live_of(lab)["word"] == "live"
            begun = time.monotonic()
            kiosk.signed(1)
            kiosk.sends()
            assert time.monotonic() - begun < 60
            assert lab.rows("SELECT count(*) FROM result") == [(2,)]
