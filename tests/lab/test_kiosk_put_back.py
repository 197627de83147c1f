"""A backup is put back on the kiosk's page: it ends for a moment and begins again with it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgehemo.records.backup import back_up
from edgehemo.records.store import Store
from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import SUPERVISOR_PIN, KioskServer
from tests.support.supervised import measured

pytestmark = pytest.mark.lab

WAIT_S = 120.0


def until(forms: KioskForms, path: str, said: str) -> None:
    """Look at a page until it says something."""
    ends = time.monotonic() + WAIT_S
    while said not in forms.get(path):
        assert time.monotonic() < ends, forms.page
        time.sleep(0.2)


def test_the_kiosk_begins_again_with_the_records_of_a_backup(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    server = KioskServer(tmp_path / "kiosk", extra=f"[kiosk]\nstick = '{stick}'\n")
    server.add_users()
    with Store.below(server.data).writer() as writer:
        measured(writer, "26-0001", 120.0)
        back_up(writer, stick, at="2026-11-27T10:00:00+00:00", by="grace")
        measured(writer, "26-0002", 120.0)
    with server.running(), KioskForms(server) as forms:
        pid, port = server.pid, server.port
        forms.look()
        forms.do("chooseuser", name="Grace")
        forms.post("/pin", pin=SUPERVISOR_PIN)
        assert forms.screen == "home"
        forms.do("openarea", area="backup")
        forms.post("/area/backup/restore", screen="backup", here="restore")
        until(forms, "area/backup/", "Is this backup to take the place of all records?")
        forms.post("/area/backup/replace", screen="backup", here="")
        until(forms, "", "The backup is put back.")
        assert (server.pid, server.port) == (pid, port), "the same process, at the same address"
        assert server.workers() == []
        forms.do("chooseuser", name="Grace")
        forms.post("/pin", pin=SUPERVISOR_PIN)
        forms.do("openarea", area="results")
        shown = forms.get("area/results/")
        assert "26-0001" in shown and "26-0002" not in shown
    assert list(server.records.path.glob("records.replaced-*.sqlite3"))
