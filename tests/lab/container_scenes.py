"""What may happen to an installed kiosk, done to one in a container; each leaves it in service.

A scene returns its figures: how long it took to be back, in seconds. It fails where the kiosk does
not come back by itself, or a signed result is gone. Times are of this machine and of no board.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgehemo_firmware import layout
from tests.lab.kiosk_container import (
    CONFIRM_SERVICE,
    FAULT_SERVICE,
    MEDIA,
    SAID,
    SERVICE,
    KioskContainer,
    written_outside,
)
from tests.lab.offline_device import Sticks
from tests.support.bundle_makers import renamed_bundle
from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import ENGINEER_PIN, kill

Figures = Mapping[str, float | int | list[float]]
# What the system itself writes into the overlay when it starts, and nothing of it is a kiosk's.
OF_THE_SYSTEM = (
    "/etc/",
    "/var/cache/ldconfig/",
    "/var/lib/systemd/",
    "/var/log/",
    "/var/lib/dbus/",
)
# The unit's own is 60 s: in the lab nobody waits so long.
SHORT_WATCHDOG_S = 8
SHORT_WATCHDOG = f"[Service]\nWatchdogSec={SHORT_WATCHDOG_S}\n"
BACK_S = 60.0
# Of the kiosk's processes, each by what its command line holds.
ROLES = {
    "process that captures": "spawn_main",
    "its tracker of resources": "resource_tracker",
    "server": "bin/edgehemo kiosk",
}
# The page of a fault is looked at for so long.
STAYS_S = 20.0
LEFT_FREE_BYTES = 10_000_000
FULL = ("RECORDS_FULL", "RECORDS_SPACE_LOW")
CAPTURE = ("capture", "analysis", "result")
FAKE_TIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
CLOCK_BACK = f'[Service]\nEnvironment=LD_PRELOAD={FAKE_TIME} "FAKETIME=-400d"\n'


# Later versions of this tree; the second gives right answers until it is in force.
NEXT, BROKEN, LATER = "1000.1", "1000.2", "1000.3"
BUNDLE = "laboratory"
WHY = "the new driver is missing"
FAILS_AT_ITS_FIRST_START = {
    "edgehemo_firmware/first_check.py": lambda text: text.replace(
        "    report = checked(names)\n",
        f'    if "records" in names:\n        raise OSError("{WHY}")\n'
        "    report = checked(names)\n",
    )
}


@dataclass
class Device:
    """A container that is on, and the samples that were signed at it."""

    container: KioskContainer
    signed: list[str] = field(default_factory=list)

    @cached_property
    def _sticks(self) -> tuple[Sticks, Path]:
        """Who signs them, and this tree's own version."""
        sticks = Sticks.in_folder(self.container.sticks)
        self.container.trust(sticks.public)
        return sticks, sticks.first(debs=())

    def stick(
        self,
        version: str,
        changes: Mapping[str, Callable[[str], str]] | None = None,
        bundle: str = "",
    ) -> Path:
        """A stick with another version, which the device trusts. bundle: name of one it carries."""
        sticks, first = self._sticks
        carried = None
        if bundle:
            carried = renamed_bundle(self.container.sticks / bundle, bundle, sticks.key)
        return sticks.renumbered(first, version, changes, carried)

    def sign_one(self, number: str) -> None:
        """A sample from its number to its signature."""
        with self.container.network(), KioskForms(self.container) as forms:
            forms.to_capture(number)
            self.finish(forms, number)

    def begin(self, number: str) -> None:
        """A sample up to its first pictures."""
        with self.container.network(), KioskForms(self.container) as forms:
            forms.to_capture(number)
            _fields(forms, 1)

    def go_on(self, number: str) -> str:
        """Sign in again at the sample that was begun, and sign it; the step it was found at."""
        with self.container.network(), KioskForms(self.container) as forms:
            assert forms.look() == "pin", forms.screen
            found = forms.give_pin()
            assert found in CAPTURE, (found, forms.fault)
            self.finish(forms, number)
            return found

    def finish(self, forms: KioskForms, number: str) -> None:
        forms.wait("result", timeout_s=240)
        forms.review_all()
        forms.sign()
        self.signed.append(number)
        forms.do("finish")

    def check_records(self) -> None:
        """All that was signed is there and signed; the device is off."""
        found = dict(self.container.results())
        assert {number: found.get(number) for number in self.signed} == dict.fromkeys(
            self.signed, "signed"
        )


def _fields(forms: KioskForms, number: int) -> None:
    ends = time.monotonic() + 120
    while forms.look() == "capture" and forms.page.count('<figure class="thumb') < number:
        assert time.monotonic() < ends
        time.sleep(0.05)


def _back(device: Device, begun: float) -> float:
    device.container.wait_ready(BACK_S)
    return round(time.monotonic() - begun, 1)


# -- scenes -------------------------------------------------------------------------------------


def writes_outside(device: Device) -> Figures:
    """A sample is signed: what was written lies on the data partition alone."""
    before = set(written_outside(device.container))
    device.sign_one("26-0001")
    files = written_outside(device.container)
    ours = layout.USER_NUMBERS.values()
    assert [path for path, owner in files.items() if owner in ours] == []
    new = [path for path in files if path not in before and not path.startswith(OF_THE_SYSTEM)]
    assert new == []
    return {"files_outside": len(new)}


def processes_killed(device: Device) -> Figures:
    """kill -9 of each process of the kiosk in turn, in the midst of a sample."""
    container = device.container
    device.begin("26-0002")
    back: dict[str, float] = {}
    for role, mark in ROLES.items():
        found = [pid for pid, words in container.processes().items() if mark in words]
        assert found, (role, container.processes())
        begun = time.monotonic()
        kill(found[0])
        while found[0] in container.processes():
            time.sleep(0.02)
        back[f"{role}_back_s"] = _back(device, begun)
        with container.network(), KioskForms(container) as forms:
            _signed_in(forms)
            forms.wait(*CAPTURE, timeout_s=BACK_S)
    _continue(device, "26-0002")
    return back


def hang(device: Device) -> Figures:
    """The process that serves stops answering: the watchdog ends it."""
    container, restarts = device.container, device.container.restarts()
    device.begin("26-0003")
    begun = time.monotonic()
    os.kill(container.server(), signal.SIGSTOP)
    ends = begun + 4 * SHORT_WATCHDOG_S + BACK_S
    while container.restarts() == restarts:
        assert time.monotonic() < ends, "the watchdog does not bite"
        time.sleep(0.2)
    bitten = round(time.monotonic() - begun, 1)
    back = _back(device, begun)
    device.go_on("26-0003")
    return {"watchdog_s": SHORT_WATCHDOG_S, "bitten_s": bitten, "back_s": back}


def power_cuts(device: Device, times: int = 1) -> Figures:
    """The plug is pulled in the midst of a screening; at the next start the sample goes on."""
    container, boots = device.container, []
    for cut in range(times):
        number = f"26-01{cut:02d}"
        device.begin(number)
        time.sleep(0.31 * cut % 2)
        container.cut_power()
        boots.append(round(container.boot(), 1))
        device.go_on(number)
    return {"cuts": times, "boot_s": boots}


def crash_loop(device: Device) -> Figures:
    """Settings that cannot be read: some starts, then a page that says so and stays; mended, it is
    back by itself once the page has had its time.
    """
    container, before = device.container, device.container.restarts()
    settings = container.partition.data / "settings/device.toml"
    good = settings.read_text("utf-8")
    settings.write_text("this is no configuration", "utf-8")
    begun = time.monotonic()
    kill(container.server())
    while container.state(FAULT_SERVICE) != "active" or container.answers() != 503:
        assert time.monotonic() < begun + 120, (container.state(), container.state(FAULT_SERVICE))
        time.sleep(0.2)
    told = round(time.monotonic() - begun, 1)
    starts = container.restarts() - before
    while time.monotonic() < begun + told + STAYS_S:
        assert container.answers() == 503
        time.sleep(0.5)
    settings.write_text(good, "utf-8")
    mended = time.monotonic()
    container.wait_ready(400)
    back = round(time.monotonic() - mended, 1)
    return {"starts": starts, "fault_page_s": told, "back_after_mending_s": back}


def disk_full(device: Device) -> Figures:
    """The partition is full when a sample is wanted: none is begun until there is room again."""
    container = device.container
    filler = container.partition.data / "filler"
    _fill(filler)
    with container.network(), KioskForms(container) as forms:
        begun = time.monotonic()
        forms.to_check("26-0004")
        assert any(code in forms.page for code in FULL), forms.page
        assert 'value="startcapture"' not in forms.page
        told = round(time.monotonic() - begun, 1)
        filler.unlink()
        begun = time.monotonic()
        forms.do("checkagain")
        forms.checked()
        assert forms.do("startcapture") in CAPTURE
        back = round(time.monotonic() - begun, 1)
        device.finish(forms, "26-0004")
    return {"told_s": told, "back_s": back}


def camera_pulled(device: Device) -> Figures:
    """The camera goes in the midst of a sample and comes back."""
    container = device.container
    device.begin("26-0005")
    said = container.partition.mount / SAID.removeprefix(f"{layout.DATA_MOUNT}/")
    begun = time.monotonic()
    said.write_text("unplugged")
    with container.network(), KioskForms(container) as forms:
        _signed_in(forms)
        if forms.screen == "capture":
            forms.wait("fault", fault="CAMERA_UNPLUGGED")
        told = round(time.monotonic() - begun, 1)
        begun = time.monotonic()
        said.unlink()
        forms.wait(*CAPTURE, timeout_s=BACK_S)
        back = round(time.monotonic() - begun, 1)
        device.finish(forms, "26-0005")
    return {"told_s": told, "back_s": back}


def clock_unset(device: Device) -> Figures:
    """The clock says a day that cannot be: it is told, and the result says so for ever."""
    container = device.container
    # What is known to be later than the clock.
    device.sign_one("26-0006")
    container.off()
    container.drop_in = CLOCK_BACK
    container.boot()
    with container.network(), KioskForms(container) as forms:
        forms.to_check("26-0007")
        assert "The clock is not set" in forms.page
        forms.do("startcapture")
        device.finish(forms, "26-0007")
    container.off()
    assert container.clock_of("26-0007") == "unset"
    container.drop_in = ""
    seconds = container.boot()
    with container.network(), KioskForms(container) as forms:
        _signed_in(forms)
    return {"boot_s": round(seconds, 1)}


def _fill(filler: Path) -> None:
    """Take what is free but a little, as pictures do; the records' own limit is far above that."""
    space = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_bsize - LEFT_FREE_BYTES)


def _signed_in(forms: KioskForms) -> None:
    if forms.look() == "pin" or "in use at another screen" in forms.page:
        forms.give_pin()


def _sign_in_again(device: Device) -> None:
    with device.container.network(), KioskForms(device.container) as forms:
        _signed_in(forms)
        assert forms.screen in CAPTURE, (forms.screen, forms.fault)


def _continue(device: Device, number: str) -> None:
    with device.container.network(), KioskForms(device.container) as forms:
        _signed_in(forms)
        forms.wait(*CAPTURE, timeout_s=BACK_S)
        device.finish(forms, number)


def update_confirmed(device: Device) -> Figures:
    """A new version, and the plug is pulled before it is proved: at the next start it screens the
    stored slide, before the kiosk, and is in force, with the model bundle that came with it.
    """
    container = device.container
    built = _updated(device, device.stick(NEXT, bundle=BUNDLE))
    assert BUNDLE not in container.edgehemo("bundle", "list").stdout
    container.cut_power()
    seconds = round(container.boot(), 1)
    assert container.of_unit(CONFIRM_SERVICE, "Result") == "success"
    assert f"edgehemo {NEXT} is in force" in container.journal(CONFIRM_SERVICE)
    proved = int(container.of_unit(CONFIRM_SERVICE, "ExecMainExitTimestampMonotonic"))
    assert 0 < proved <= int(container.of_unit(SERVICE, "ExecMainStartTimestampMonotonic"))
    assert container.version() == NEXT
    assert f"in use    {BUNDLE} serial" in container.edgehemo("bundle", "list").stdout
    device.sign_one("26-0201")
    return {"built_s": built, "boot_s": seconds}


def update_left(device: Device) -> Figures:
    """A version that fails its first check at the next start: the one before runs by itself, and
    says why.
    """
    container = device.container
    former = container.version()
    _updated(device, device.stick(BROKEN, FAILS_AT_ITS_FIRST_START))
    container.off()
    seconds = round(container.boot(), 1)
    # The device is well: nothing failed, and the kiosk is the one before.
    assert container.of_unit(CONFIRM_SERVICE, "Result") == "success"
    assert f"went back to edgehemo {former}" in container.journal(CONFIRM_SERVICE)
    assert container.version() == former
    status = container.edgehemo("device", "status").stdout
    assert f"edgehemo {BROKEN} was left" in status and WHY in status
    with container.network(), KioskForms(container) as forms:
        if forms.look() == "pin":
            forms.do("otheruser")
        forms.sign_in("Nuno", ENGINEER_PIN)
        forms.do("openarea", area="doctor")
        assert BROKEN in (page := last_update(forms)) and WHY in page, page
        forms.do("leave")
        forms.do("signout")
    device.sign_one("26-0202")
    return {"boot_s": seconds}


def update_taken_back(device: Device) -> Figures:
    """A person updates while the kiosk runs, and goes back: it stands still for as long."""
    container, version = device.container, device.container.version()
    container.plug_in(device.stick(LATER))
    begun = time.monotonic()
    done = container.edgehemo("device", "update", "--media", MEDIA)
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    container.wait_ready(BACK_S)
    updated = round(time.monotonic() - begun, 1)
    assert container.version() == LATER
    device.sign_one("26-0203")
    begun = time.monotonic()
    done = container.edgehemo("device", "rollback")
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    container.wait_ready(BACK_S)
    back = round(time.monotonic() - begun, 1)
    assert container.version() == version
    device.sign_one("26-0204")
    return {"updated_s": updated, "back_s": back}


def _updated(device: Device, stick: Path) -> float:
    """Build a version from a stick and leave it on trial; seconds that it took."""
    container = device.container
    container.plug_in(stick)
    begun = time.monotonic()
    done = container.edgehemo("device", "update", "--media", MEDIA, "--no-confirm")
    assert done.returncode == 0 and "on trial" in done.stdout, (done.stdout, done.stderr[-2000:])
    return round(time.monotonic() - begun, 1)


def last_update(forms: KioskForms) -> str:
    """What the engineer's page says of the last update, once the device has looked at itself."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        for number in range(5):
            page = forms.get(f"area/doctor/?page={number}&look=version")
            if "VERSION_LEFT" in page:
                return page
        time.sleep(0.5)
    raise AssertionError(f"nothing is said of the last update: {forms.page[:2000]}")


SCENES: Mapping[str, Callable[[Device], Figures]] = {
    "written outside the data partition": writes_outside,
    "each process killed": processes_killed,
    "hang": hang,
    "plug pulled in a screening": power_cuts,
    "crash loop": crash_loop,
    "disk full": disk_full,
    "camera pulled and back": camera_pulled,
    "clock unset": clock_unset,
    "update, and the plug pulled before it is proved": update_confirmed,
    "update that fails its first check": update_left,
    "update while the kiosk runs, taken back by hand": update_taken_back,
}
