"""The files of a device as the service manager, the firewall and udev read them: in a real root.

A device is installed into a root of Debian, the program left out; each judge then runs inside.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgehemo_firmware import layout
from edgehemo_firmware.installed import read_installed
from edgehemo_firmware.installing import Asked, planned
from edgehemo_firmware.steps import Packages, Source
from edgehemo_firmware.target import Target
from tests.lab.debian import bootstrap, in_root, kept, mark_whole, need_tools

pytestmark = pytest.mark.lab

PACKAGES = ("systemd", "systemd-sysv", "udev", "dbus", "nftables", "python3", "libpam-systemd")
# How exposed a service may be, in tenths of what `systemd-analyze security` says.
MOST_EXPOSED = 30
# Those that talk with nobody but files; the browser's needs what its own sandbox is made of, and
# the firewall's rules are set by root.
HARDENED = ("kiosk", "confirm", "fault", "selfcheck", "backup", "control-reminder")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Target:
    need_tools(mmdebstrap="mmdebstrap", chroot="coreutils", **{"systemd-tmpfiles": "systemd"})
    folder, whole = kept("device-units", repr(PACKAGES))
    if not whole:
        bootstrap(folder, PACKAGES, variant="minbase")
        mark_whole(folder)
    root = tmp_path_factory.mktemp("device") / "root"
    # With its owners and device nodes.
    subprocess.run(["cp", "--archive", str(folder), str(root)], check=True)
    target = Target(root)
    # Everything that a device can have: each file is looked at.
    asked = Asked(
        ("raspberry_pi_5", "hq_camera", "touch_7_800x480", "example_laboratory"),
        data_label="EDGEHEMO-DATA",
        read_only=True,
        ssh=True,
    )
    made = planned(target, asked, None, Source(fetch=False))
    for step in made.plan.steps:
        # What a unit runs is not looked at, so no browser is fetched.
        if not isinstance(step, Packages) and not step.is_done(target):
            step.do(target)
    # The command that the units call, as if a version were there.
    for link in (layout.CURRENT, f"{layout.DATA}/good"):
        target.make_link(link, "versions/a")
    target.write(f"{layout.VERSIONS}/a/bin/edgehemo", b"#!/bin/sh\n", 0o755)
    return target


def units(device: Target) -> list[str]:
    installed = read_installed(device)
    assert installed is not None
    paths = [Path(entry.path) for entry in installed.entries if entry.kind == "file"]
    return [path.name for path in paths if str(path.parent) == layout.UNITS]


def test_the_service_manager_has_nothing_to_say_of_any_unit(device: Target) -> None:
    names = units(device)
    assert len(names) >= 10
    done = in_root(device.root, "systemd-analyze", "verify", "--man=no", *names)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", HARDENED)
def test_a_service_is_hardly_exposed(device: Target, name: str) -> None:
    done = in_root(
        device.root,
        "systemd-analyze", "security", "--no-pager", "--offline=true",
        f"--threshold={MOST_EXPOSED}", f"edgehemo-{name}.service",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-300:]


def test_udev_reads_the_rules(device: Target) -> None:
    done = in_root(device.root, "udevadm", "verify", "/etc/udev/rules.d/70-edgehemo.rules")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_firewall_is_read(device: Target) -> None:
    done = in_root(device.root, "nft", "--check", "--file", "/etc/edgehemo/firewall.nft")
    if "Operation not" in done.stderr or "not supported" in done.stderr:
        pytest.skip(f"this kernel has no nf_tables for us: {done.stderr.strip()[:80]}")
    assert (done.returncode, done.stderr) == (0, "")


def test_users_and_folders_are_made_as_they_are_declared(device: Target) -> None:
    for user, number in layout.USER_NUMBERS.items():
        assert device.number_of(user, "passwd") == number
        assert f"{user}:x:{number}:{number}:" in (device.text("/etc/passwd") or "")
    shutil.rmtree(device.place(f"{layout.DATA}/records"))
    for folder in layout.FOLDERS:
        if device.exists(folder.path):
            device.place(folder.path).chmod(0o700)
    # This machine's, for it wants /proc: users and groups are those of the root.
    command = ["systemd-tmpfiles", f"--root={device.root}", "--create", "edgehemo.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for folder in layout.FOLDERS:
        status = device.status(folder.path)
        assert status is not None
        assert status.st_mode & 0o7777 == folder.mode
        assert status.st_uid == device.number_of(folder.owner, "passwd")
        assert status.st_gid == device.number_of(folder.group, "group")


def test_asked_again_there_is_nothing_to_do(device: Target) -> None:
    made = planned(device, Asked(), None, Source(fetch=False))
    left = [
        step.said
        for step, done in made.outlook(device)
        if not done and not isinstance(step, Packages)
    ]
    assert left == []
