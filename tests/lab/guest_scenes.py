"""What an emulated ARM computer goes through: installed from media, a kiosk, a result, bitten.

A scene returns its figures. It fails where the kiosk is not as it must be. Everything is EMULATED:
seconds are of the emulation and say nothing about any board.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgehemo.capture.simulated import SimulatedMicroscope, parse_simulated
from edgehemo.device.kept_equipment import kept_reader
from edgehemo.records.replay import Difference, replay
from edgehemo.records.results import result_at
from edgehemo.records.store import Store
from edgehemo.records.verifying import verify
from edgehemo_firmware import layout
from edgehemo_firmware.written_files import PACKAGES, READ_ONLY_PACKAGES
from tests.lab.arm64_root import PROCESSORS
from tests.lab.kiosk_guest import PARTS_FOLDER, KioskGuest, bare_system
from tests.lab.offline_device import OfflineDevice, Sticks
from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import SUPERVISOR_PIN

Figures = Mapping[str, Any]
SLIDE, PLACES = "simulated:?seed=3&fields=12&width=640&height=480", 12
FIELDS_WANTED = 3
# One thread: two would wait for one another on a processor that is emulated in turns.
PARTS = ("debian_pc", "usb_eyepiece", "no_screen")
SETTINGS = (f"screening.fields_wanted={FIELDS_WANTED}", "inference.threads=1")
DEBS = tuple(name for name, _ in (*PACKAGES, *READ_ONLY_PACKAGES))
INSTALL_S = 7200.0
# How much longer than a computer an emulated one may take for whatever is waited for.
PATIENCE = 30.0
LOOK_S = 3.0
# How often a self-check that finds something is asked for again.
CHECKS = 5
SUPERVISOR = ("Grace", SUPERVISOR_PIN)
SAMPLE = "26-0417"
# The gates of one field between two processors: see `tests/lab/test_device_on_arm64.py`.
CELLS_OFF, SHARE_OFF = 1, 0.02
# What systemd is told of the watchdog, see `system/system.conf.j2`.
WATCHDOG_S = 14
PETTED_TIMES = 3
WATCHDOG = "/sys/class/watchdog/watchdog0"


@dataclass
class Computer:
    """The computer, what makes the media it is installed from, and what its lab disk is to hold."""

    guest: KioskGuest
    sticks: Sticks
    lab: Path

    def on(self) -> KioskGuest:
        """The computer, switched on and in service where it is not."""
        if self.guest.process is None:
            self.guest.start()
            self.guest.wait_ready()
            self.guest.wait_camera()
        return self.guest

    @contextmanager
    def page(self) -> Iterator[KioskForms]:
        """The kiosk's page, as a browser of that computer has it."""
        there = self.guest.loopback()
        with KioskForms(self.guest, transport=there, patience=PATIENCE, who=SUPERVISOR) as forms:
            yield forms


def make_lab(folder: Path) -> None:
    """What the computer's lab disk holds: its hands, and the camera with its slide."""
    folder.mkdir(parents=True)
    for name in ("guest_agent.py", "slide_under_usb_camera.py", "usb_video_camera.py"):
        shutil.copyfile(PARTS_FOLDER / name, folder / name)
    places = folder / "places"
    places.mkdir()
    with SimulatedMicroscope(parse_simulated(SLIDE)) as microscope:
        for number in range(PLACES):
            microscope.move_to_field(number)
            pixels = microscope.frame(60.0).pixels
            cv2.imwrite(str(places / f"{number + 1}.png"), pixels[..., ::-1])


# -- scenes -------------------------------------------------------------------------------------


def media_are_made(computer: Computer) -> Figures:
    """`edgehemo device media` for 64-bit ARM, on this machine."""
    shutil.rmtree(computer.sticks.folder / "first", ignore_errors=True)
    (media,) = computer.sticks.first(DEBS).glob("edgehemo-*")
    files = [path for path in media.rglob("*") if path.is_file()]
    return {
        "files": len(files),
        "wheels": sum(1 for path in files if path.suffix == ".whl"),
        "debian_packages": sum(1 for path in files if path.suffix == ".deb"),
        "media_mb": round(sum(path.stat().st_size for path in files) / 1e6),
    }


def installed_from_media(computer: Computer) -> Figures:
    """Onto a bare Debian for ARM, by its own Python, with no network: refused without the key."""
    stick = computer.sticks.folder / "first"
    (media,) = stick.glob("edgehemo-*")
    root = computer.guest.folder.with_name("root")
    shutil.rmtree(root, ignore_errors=True)
    device = OfflineDevice.copied(root, bare_system(), PROCESSORS["Raspberry Pi 4"])
    start = ("python3", f"/media/{media.name}/install.py", *PARTS,
             "--data-label", layout.DATA_LABEL, "--read-only")  # fmt: skip
    untrusted = device.run(stick, *start, timeout_s=INSTALL_S)
    assert untrusted.returncode == 2 and "does not trust" in untrusted.stderr, untrusted
    begun = time.monotonic()
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    key = f"/media/{computer.sticks.public.name}"
    done = device.run(stick, *start, *settings, "--trust", key, timeout_s=INSTALL_S)
    assert done.returncode == 0, (done.stdout[-1500:], done.stderr[-3000:])
    seconds = time.monotonic() - begun
    state = json.loads((root / layout.DATA.lstrip("/") / "update.json").read_bytes())
    assert state["good"] == "a" and state["trial"] is None, state
    computer.guest.make_disks(root, computer.lab)
    shutil.rmtree(root)
    return {
        "refused_without_the_key": 1,
        "networks": 0,
        "install_emulated_s": round(seconds),
    }


def boots_as_a_kiosk(computer: Computer) -> Figures:
    """Read-only, its data on their partition, its watchdog petted by systemd, in service."""
    guest = computer.guest
    answers_s = guest.start()
    ready_s = answers_s + guest.wait_ready()
    roots = guest.run("findmnt", "-no", "FSTYPE", "/").stdout.strip()
    data = guest.run("findmnt", "-no", "SOURCE,FSTYPE", layout.DATA_MOUNT).stdout.split()
    assert (roots, data[1]) == ("overlay", "ext4"), (roots, data)
    failed = guest.run("systemctl", "--failed", "--plain", "--no-legend").stdout
    assert failed == "", failed
    # Of the board, and no file of a program's: systemd opened it and says for how long.
    identity = guest.run("cat", f"{WATCHDOG}/identity").stdout.strip()
    assert guest.run("cat", f"{WATCHDOG}/state").stdout.strip() == "active"
    rules = guest.run("nft", "list", "table", "inet", "edgehemo").stdout
    assert rules.count("policy drop") == 3, rules
    guest.wait_camera()
    return {
        "machine": guest.run("uname", "-m").stdout.strip(),
        "kernel": guest.run("uname", "-r").stdout.strip(),
        "units_failed": 0,
        "watchdog": identity,
        "ready_emulated_s": round(ready_s),
    }


def screened_by_the_kiosk(computer: Computer) -> Figures:
    """By a person at the page: the device's first, signed in, new sample, self-check, live picture,
    capture, result, reviewed, signed.
    """
    computer.on()
    begun = time.monotonic()
    with computer.page() as forms:
        forms.look()
        if 'action="/first"' in forms.page:
            forms.first_user()
        forms.to_check(SAMPLE)
        for _ in range(CHECKS):
            if 'value="checkagain"' not in forms.page:
                break
            forms.do("checkagain")
            forms.checked()
        checks = forms.page.partition("<main>")[2].count('<li class="')
        assert forms.do("startcapture") in ("capture", "analysis", "result"), forms.page[:2000]
        shown = _moved_on(computer, forms)
        forms.wait("result", timeout_s=240)
        forms.review_all()
        forms.sign()
        forms.do("finish")
        errors = sorted({status for status in forms.statuses if status >= 500})
    assert errors == [] and len(shown) > 1
    driver = computer.guest.run("readlink", "/sys/class/video4linux/video0/device/driver").stdout
    assert driver.strip().endswith("/uvcvideo"), driver
    assert _states(computer)[SAMPLE] == "signed"
    return {
        "driver": "uvcvideo",
        "self_checks": checks,
        "live_pictures_seen": len(shown),
        "screening_emulated_s": round(time.monotonic() - begun),
    }


def _moved_on(computer: Computer, forms: KioskForms) -> set[bytes]:
    """The slide moved on whenever a field was taken; the live pictures that were seen."""
    place, shown = 1, set()
    ends = time.monotonic() + 240 * PATIENCE
    while forms.look() == "capture":
        assert time.monotonic() < ends, forms.page[:2000]
        picture = forms.picture()
        if picture:
            pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None and min(pixels.shape[:2]) > 100
            shown.add(picture)
        if forms.page.count('<figure class="thumb') >= place:
            place += 1
            computer.guest.slide(str(place))
        # Each page is work for a processor that is slow enough.
        time.sleep(LOOK_S)
    return shown


def _states(computer: Computer) -> dict[str, str]:
    """Sample -> state of its newest result, as the device's command says."""
    told = json.loads(computer.guest.edgehemo("records", "list", "--json", "-"))
    return {row["sample"]: row["state"] for row in told["results"]}


def board_watchdog(computer: Computer) -> Figures:
    """The board's watchdog lives on what systemd gives it; systemd stands still, and it bites: the
    board starts again, the kiosk is in service and no signed result lost.
    """
    guest = computer.on()
    before, uptime = _boot(guest), _uptime(guest)
    while _uptime(guest) < uptime + PETTED_TIMES * WATCHDOG_S:
        time.sleep(LOOK_S)
    petted = _uptime(guest) - uptime
    assert guest.event("WATCHDOG", 0) is None and _boot(guest) == before
    guest.run("sync")
    begun = time.monotonic()
    # Kernel and kiosk go on; nothing but the watchdog ends this.
    guest.run("sh", "-c", "kill -SEGV 1", check=False)
    assert guest.event("WATCHDOG", 60 * PATIENCE) is not None, guest.told()
    bitten_s = time.monotonic() - begun
    guest.wait_for_line()
    guest.wait_ready()
    back_s = time.monotonic() - begun
    assert _boot(guest) != before
    assert _states(computer)[SAMPLE] == "signed"
    return {
        "petted_for_s": round(petted),
        "watchdog_s": WATCHDOG_S,
        "bitten_emulated_s": round(bitten_s),
        "back_emulated_s": round(back_s),
        "signed_results_lost": 0,
    }


def _boot(guest: KioskGuest) -> str:
    """Which start of the computer this is."""
    return guest.run("cat", "/proc/sys/kernel/random/boot_id").stdout


def _uptime(guest: KioskGuest) -> float:
    return float(guest.run("cat", "/proc/uptime").stdout.split()[0])


def kiosk_hangs(computer: Computer) -> Figures:
    """The kiosk's process stands still: systemd ends it and begins it again."""
    guest = computer.on()
    ended, begun = _restarts(guest), _uptime(guest)
    guest.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "edgehemo-kiosk")
    ends = time.monotonic() + 240 * PATIENCE
    while _restarts(guest) == ended:
        assert time.monotonic() < ends, guest.told()
        time.sleep(5)
    bitten = _uptime(guest) - begun
    guest.wait_ready()
    back = _uptime(guest) - begun
    assert _states(computer)[SAMPLE] == "signed"
    return {
        "watchdog_s": layout.WATCHDOG_S,
        "bitten_by_its_own_clock_s": round(bitten),
        "back_by_its_own_clock_s": round(back),
        "signed_results_lost": 0,
    }


def _restarts(guest: KioskGuest) -> int:
    """How often systemd began the kiosk again since the computer's start."""
    return int(guest.run("systemctl", "show", "-P", "NRestarts", "edgehemo-kiosk").stdout)


def as_on_x86_64(computer: Computer) -> Figures:
    """The records hold on another processor, and the stored pictures give the same there."""
    computer.guest.off()
    with computer.guest.mounted_data() as data:
        copy = computer.guest.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(data / "records", copy / "records", symlinks=True)
    with Store.below(copy).writer() as writer:
        assert writer.set_aside is None and verify(writer).faults == ()
        rows = writer.rows("SELECT sample, state FROM latest")
        assert {row[0]: row[1] for row in rows}[SAMPLE] == "signed"
    with Store.below(copy).reader() as reader:
        ((number,),) = reader.rows("SELECT result FROM latest WHERE sample = ?", (SAMPLE,))
        result = result_at(reader, number)
        with kept_reader(reader, result) as fields:
            again = replay(reader, result, fields)
        document = result.document(reader).record
    shutil.rmtree(copy)
    assert document["simulated"] is False and platform.machine() == "x86_64"
    off = compared(again.differences)
    assert off["cells"] <= CELLS_OFF and off["share"] <= SHARE_OFF, off
    return {
        "fields": len(document["images"]),
        "values": again.values,
        "values_that_differ": len(again.differences),
        "cells_off": off["cells"],
        "largest_share_off": off["share"],
    }


def compared(differences: tuple[Difference, ...]) -> dict[str, float]:
    """The worst of what two processors differ in: whole cells of a field, and shares of its indices
    and of the sample's.
    """
    cells, share = 0, 0.0
    for each in differences:
        parts = each.place.split(".")
        if each.by is None:
            continue
        if parts[0].startswith("images[") and "counts" in parts[1:2]:
            cells = max(cells, abs(int(each.by)))
        elif "indices" in parts[1:2] and each.stored:
            share = max(share, abs(each.by / each.stored))
    return {"cells": cells, "share": float(f"{share:.2g}")}


SCENES: Mapping[str, Callable[[Computer], Figures]] = {
    "media made for ARM": media_are_made,
    "installed from media, no network": installed_from_media,
    "started as a kiosk": boots_as_a_kiosk,
    "screened by the kiosk": screened_by_the_kiosk,
    "the kiosk hangs": kiosk_hangs,
    "the board's watchdog": board_watchdog,
    "its records on x86-64": as_on_x86_64,
}
