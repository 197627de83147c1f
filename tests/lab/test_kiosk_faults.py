"""Each fault by its real cause, with real processes: what the page says, and that it goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehemo.kiosk.faults import WORKER_TRIES
from edgehemo.records.store import Store
from edgehemo.records.verifying import verify
from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import KioskServer, kill

pytestmark = pytest.mark.lab

STAGED = "simulated:?seed=3&fields=60&width=320&height=240"


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """The file that pulls the camera, freezes it or switches the lamp off."""
    return tmp_path / "faults"


@pytest.fixture
def kiosk(tmp_path: Path, said: Path) -> Iterator[KioskServer]:
    source = f"{STAGED}&faults_from={said}"
    with KioskServer(tmp_path / "kiosk", source, fields_wanted=60).running() as running:
        yield running


@pytest.fixture
def forms(kiosk: KioskServer) -> Iterator[KioskForms]:
    with KioskForms(kiosk) as browser:
        yield browser


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        ("unplugged", "CAMERA_UNPLUGGED"),
        ("frozen", "CAMERA_FROZEN"),
        ("dark", "CAMERA_DARK"),
        ("timeout", "CAMERA_TIMEOUT"),
    ],
)
def test_a_camera_that_fails_while_it_takes_pictures(
    kiosk: KioskServer, forms: KioskForms, said: Path, cause: str, code: str
) -> None:
    forms.to_capture()
    assert forms.picture().startswith(b"\xff\xd8")
    said.write_text(cause)
    forms.wait("fault", fault=code)
    assert "goes on by itself when it is mended" in forms.page
    said.unlink()
    forms.wait("capture")
    assert forms.picture().startswith(b"\xff\xd8")
    assert len(kiosk.workers()) == 1


def test_a_camera_that_is_gone_and_a_lamp_that_is_off_before_a_sample(
    forms: KioskForms, said: Path
) -> None:
    said.write_text("dark")
    forms.to_check()
    assert "LAMP_OFF" in forms.page
    said.write_text("unplugged")
    forms.do("checkagain")
    forms.checked()
    # It was there a moment ago: what is to be done is said, not whom to call.
    assert "CAMERA_UNPLUGGED" in forms.page
    assert 'value="startcapture"' not in forms.page
    said.unlink()
    forms.do("checkagain")
    forms.checked()
    said.write_text("unplugged")
    forms.do("startcapture")
    forms.wait("fault", fault="CAMERA_UNPLUGGED")
    said.unlink()
    forms.wait("capture")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGSEGV, "WORKER_CRASHED"), (signal.SIGKILL, "OUT_OF_MEMORY")],
)
def test_a_process_that_crashes_is_started_again_and_not_for_ever(
    kiosk: KioskServer, forms: KioskForms, number: signal.Signals, code: str
) -> None:
    forms.to_capture()
    shown = ""
    for _ in range(WORKER_TRIES):
        forms.wait("capture")
        (worker,) = until_one(kiosk)
        kill(worker, number)
        shown = seen_fault(forms) or shown
        until_another(kiosk, worker)
        forms.wait("capture")
    (worker,) = until_one(kiosk)
    kill(worker, number)
    forms.wait("fault", fault="WORKER_GAVE_UP")
    time.sleep(1.0)
    assert kiosk.workers() == []
    # A person may try again, and it goes on where it was.
    forms.do("tryagain")
    forms.wait("capture")
    assert forms.picture().startswith(b"\xff\xd8")
    # Each stands on the page for a moment only, until the next process has begun.
    assert kiosk.log.read_text().count(f"ended ({-number})") == WORKER_TRIES + 1
    assert shown == code


def test_a_process_that_hangs_in_a_driver_is_noticed_and_replaced(
    kiosk: KioskServer, forms: KioskForms
) -> None:
    forms.to_capture()
    forms.picture()
    (worker,) = until_one(kiosk)
    os.kill(worker, signal.SIGSTOP)
    begun = time.monotonic()
    # The page answers meanwhile.
    for _ in range(20):
        at = time.monotonic()
        forms.look()
        assert time.monotonic() - at < 2.0
        time.sleep(0.1)
    until_another(kiosk, worker, timeout_s=60.0)
    forms.wait("capture", timeout_s=60.0)
    assert time.monotonic() - begun < 60
    assert forms.picture().startswith(b"\xff\xd8")


def seen_fault(forms: KioskForms, for_s: float = 1.0) -> str:
    """The fault that is shown within a time, empty where none was seen."""
    ends = time.monotonic() + for_s
    while time.monotonic() < ends:
        if forms.look() == "fault":
            return forms.fault
    return ""


def until_one(kiosk: KioskServer, timeout_s: float = 20.0) -> list[int]:
    ends = time.monotonic() + timeout_s
    while len(found := kiosk.workers()) != 1:
        assert time.monotonic() < ends, f"not one worker but {found}"
        time.sleep(0.05)
    return found


def until_another(kiosk: KioskServer, before: int, timeout_s: float = 20.0) -> None:
    ends = time.monotonic() + timeout_s
    while before in kiosk.workers() or not kiosk.workers():
        assert time.monotonic() < ends, "no other process was started"
        time.sleep(0.05)


def test_a_server_that_is_killed_leaves_no_process_behind(kiosk: KioskServer) -> None:
    with KioskForms(kiosk) as forms:
        forms.to_capture()
        (worker,) = until_one(kiosk)
        kill(kiosk.pid)
        ends = time.monotonic() + 15
        while Path(f"/proc/{worker}").exists() and "spawn_main" in (
            Path(f"/proc/{worker}/cmdline").read_text().replace("\0", " ")
        ):
            assert time.monotonic() < ends, "the camera is held by a process without a server"
            time.sleep(0.1)


# -- the disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root alone")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=48m", "kiosk", str(place)]).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_up_is_told_and_nothing_is_lost(small_disk: Path) -> None:
    """Space is asked for before a sample, and a field that cannot be written stops the sample."""
    extra = "[records]\nwarn_below_mb = 2\nrefuse_below_mb = 1\n"
    source = "simulated:?seed=3&fields=60&width=640&height=480"
    kiosk = KioskServer(small_disk / "kiosk", source, fields_wanted=60, extra=extra)
    filler = small_disk / "filler"
    with kiosk.running(), KioskForms(kiosk) as forms:
        forms.to_capture()
        forms.wait("capture")
        space = os.statvfs(small_disk)
        with filler.open("wb") as file:
            left = space.f_bavail * space.f_bsize
            while left > 0:
                try:
                    left -= file.write(bytes(min(left, 1 << 20)))
                    file.flush()
                except OSError:
                    break
        forms.wait("fault", fault="RECORDS_FULL")
        assert set(forms.statuses) <= {200, 409, 503}
        filler.unlink()
        forms.do("tryagain")
        forms.wait("capture", "analysis", "result")
        assert "RECORDS_FULL" not in forms.page
    with Store.below(kiosk.data).writer() as writer:
        assert writer.set_aside is None
        assert verify(writer).whole


# -- the store ------------------------------------------------------------------------------------


def test_records_that_are_damaged_are_set_aside_and_told(tmp_path: Path) -> None:
    """Also where nobody can sign in any more, for the users were in them."""
    kiosk = KioskServer(tmp_path / "kiosk", STAGED)
    kiosk.add_users()
    database = kiosk.records.database
    data = bytearray(database.read_bytes())
    data[:64] = os.urandom(64)
    database.write_bytes(data)
    kiosk.start(users=False)
    try:
        with KioskForms(kiosk) as forms:
            assert forms.look() == "sign_in"
            assert "Nobody works here yet" in forms.page
            assert "Damaged records were set aside" in forms.page
    finally:
        kiosk.stop()
    assert list(database.parent.glob("records.damaged-*.sqlite3"))
    with kiosk.running(), KioskForms(kiosk) as forms:
        forms.sign_in()
        assert forms.fault == "RECORDS_SET_ASIDE"
        assert forms.do("goon") == "home"


# -- what carries a report away -------------------------------------------------------------------


def test_no_printer_no_stick_and_a_full_stick_leave_the_result_where_it_is(
    tmp_path: Path, small_disk: Path
) -> None:
    stick = small_disk / "stick"
    kiosk = KioskServer(
        tmp_path / "kiosk",
        "simulated:?seed=3&fields=20",
        extra=f"[kiosk]\nstick = '{stick}'\nprinter = 'no-such-printer-here'\n",
    )
    with kiosk.running(), KioskForms(kiosk) as forms:
        forms.to_capture()
        forms.wait("result", timeout_s=120)
        forms.review_all()
        forms.sign()
        forms.do("print")
        forms.wait("fault", fault="PRINTER_MISSING")
        assert forms.do("goon") == "done"
        forms.do("copytostick")
        forms.wait("fault", fault="STICK_MISSING")
        # It is plugged in, with no room on it.
        stick.mkdir()
        space = os.statvfs(small_disk)
        filler = small_disk / "filler"
        filler.write_bytes(bytes(space.f_bavail * space.f_bsize))
        forms.do("goon")
        forms.wait("done")
        forms.do("copytostick")
        forms.wait("fault", fault="STICK_FULL")
        filler.unlink()
        forms.do("goon")
        forms.wait("done")
        forms.do("copytostick")
        ends = time.monotonic() + 90
        while "Copied to the stick" not in forms.page:
            assert time.monotonic() < ends, forms.page[:3000]
            forms.look()
            time.sleep(0.2)
        assert [each for each in small_disk.rglob("*") if each.suffix == ".pdf"]
        assert forms.do("finish") == "home"
    with Store.below(kiosk.data).writer() as writer:
        assert verify(writer).whole
