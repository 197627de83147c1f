"""A device is installed into a root: what is written, again, changed by hand, taken out again."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.device.changing import change_device
from edgehemo.errors import DeviceError
from edgehemo_firmware import layout
from edgehemo_firmware.commands import device as device_command
from edgehemo_firmware.commands import profile as profile_command
from edgehemo_firmware.facts import Facts, abilities_of, dpkg_status, installed_packages
from edgehemo_firmware.installed import read_installed
from edgehemo_firmware.installing import Asked, Made, install_on, planned
from edgehemo_firmware.plan import refusals
from edgehemo_firmware.removing import removal, remove_from
from edgehemo_firmware.state import status_of
from edgehemo_firmware.steps import (
    BLOCK_BEGINS,
    BLOCK_ENDS,
    DEB_FOLDER,
    Source,
    Step,
    Tell,
    block_in,
    install_debs,
    with_block,
)
from edgehemo_firmware.target import Target
from tests.support.bare_root import BareTarget, bare_root, everything_in, settings_of

PI = ("raspberry_pi_5", "hq_camera", "touch_7_800x480")
CONFIG_TXT = "dtparam=audio=on\n[all]\n"


@pytest.fixture
def pi(tmp_path: Path) -> BareTarget:
    return bare_root(tmp_path / "root", config_txt=CONFIG_TXT)


def install(target: Target, *parts: str, program: Step | None = None, **asked: Any) -> Made:
    made = planned(target, Asked(parts, **asked), program)
    install_on(target, made, lambda said: None)
    return made


def test_installed_twice_nothing_changes(pi: BareTarget) -> None:
    install(pi, *PI, data_label="EDGEHEMO-DATA")
    first = everything_in(pi.root)
    pi.ran.clear()
    said: list[str] = []
    made = planned(pi, Asked(PI, data_label="EDGEHEMO-DATA"), None)
    assert not install_on(pi, made, said.append)
    assert (said, pi.ran, everything_in(pi.root)) == ([], [], first)
    # Without a word: as before.
    assert not install_on(pi, planned(pi, Asked(), None), said.append)
    assert everything_in(pi.root) == first


def test_what_is_written_and_who_may_read_it(pi: BareTarget) -> None:
    install(pi, *PI, data_label="EDGEHEMO-DATA")
    found = everything_in(pi.root)
    assert found["usr/local/bin/edgehemo"] == "-> /data/edgehemo/current/bin/edgehemo"
    assert found["etc/edgehemo/device.toml"] == "-> /data/edgehemo/settings/device.toml"
    assert found["data/edgehemo"] == "folder 1775", "the service cannot move what is root's"
    assert found["data/edgehemo/records"] == "folder 700"
    assert found["data/edgehemo/settings/device.toml"].startswith("640 ")
    assert found["etc/systemd/system/apt-daily.timer"] == "-> /dev/null"
    wants = "etc/systemd/system/multi-user.target.wants"
    assert f"{wants}/edgehemo-kiosk.service" in found
    assert f"{wants}/edgehemo-screen.service" in found
    assert "etc/overlayroot.local.conf" in found
    config = (pi.root / "boot/firmware/config.txt").read_text()
    assert config.startswith(CONFIG_TXT)
    assert block_in(config) == (
        f"{BLOCK_BEGINS}\ndtparam=watchdog=on\ncamera_auto_detect=0\ndtoverlay=imx477\n"
        f"{BLOCK_ENDS}\n"
    )
    settings = tomllib.loads(settings_of(pi))
    assert settings["camera"]["source"] == "picamera2:0"
    assert settings["paths"]["data"] == layout.DATA
    installed = read_installed(pi)
    assert installed is not None
    assert all(pi.exists(entry.path) for entry in installed.entries)
    # A person who mends something finds out who wrote it.
    for entry in installed.entries:
        if entry.kind == "file" and entry.path.endswith((".service", ".timer", ".conf", ".mount")):
            assert "edgehemo device install" in (pi.text(entry.path) or "")


# Kinds of devices that a service may open, and the kernel module that has them; None: of the kernel
# itself. systemd knows of no kind that is not there when the service starts.
MODULE_OF = {"video4linux": "videodev", "media": "mc", "dma_heap": None}


def test_a_camera_that_is_found_after_the_kiosk_started_may_be_opened(pi: BareTarget) -> None:
    install(pi, *PI, data_label="EDGEHEMO-DATA")
    units = (path.read_text() for path in (pi.root / "etc/systemd/system").glob("edgehemo-*"))
    named = {name for text in units for name in re.findall(r"^DeviceAllow=char-(\w+)", text, re.M)}
    assert named == set(MODULE_OF)
    loaded = (pi.root / "etc/modules-load.d/edgehemo.conf").read_text().splitlines()
    assert {module for module in MODULE_OF.values() if module} <= set(loaded)


def test_removed_again_the_system_is_as_it_was(tmp_path: Path) -> None:
    target = bare_root(tmp_path / "root", config_txt=CONFIG_TXT)
    before = everything_in(target.root)
    install(target, *PI)
    installed = read_installed(target)
    assert installed is not None
    remove_from(target, removal(target, installed, data=False))
    after = everything_in(target.root)
    kept = {name for name in after if name.startswith("data")}
    assert "data/edgehemo/settings/device.toml" in kept, "the data stay"
    # Users stay; folders of the system may be new and are empty.
    gone = {name for name in before if name not in after}
    more = {
        name
        for name, what in after.items()
        if name not in before and name not in kept and not what.startswith("folder")
    }
    assert (gone, more) == (set(), set())
    assert (target.root / "boot/firmware/config.txt").read_text() == CONFIG_TXT
    assert read_installed(target) is None


def test_data_go_only_where_it_is_asked_for(pi: BareTarget) -> None:
    install(pi, *PI)
    (pi.root / "data/edgehemo/records/x").write_text("a result")
    installed = read_installed(pi)
    assert installed is not None
    found = removal(pi, installed, data=True)
    assert f"{layout.DATA}: REMOVED WITH ALL RECORDS" in list(found.lines())
    remove_from(pi, found)
    assert not (pi.root / "data/edgehemo").exists()


def test_a_file_that_was_changed_by_hand_is_kept_and_named(pi: BareTarget) -> None:
    install(pi, *PI)
    unit = pi.root / "etc/systemd/system/edgehemo-kiosk.service"
    unit.write_text("mine")
    (pi.root / "etc/sysctl.d/90-edgehemo.conf").unlink()
    status = status_of(pi, read_installed(pi))
    assert not status.in_order
    assert {(each.path, each.kind) for each in status.output.drift} == {
        (f"{layout.UNITS}/edgehemo-kiosk.service", "changed"),
        ("/etc/sysctl.d/90-edgehemo.conf", "missing"),
    }
    made = install(pi, *PI)
    assert made.kept == (f"{layout.UNITS}/edgehemo-kiosk.service",)
    assert unit.read_text() == "mine"
    assert (pi.root / "etc/sysctl.d/90-edgehemo.conf").is_file(), "what is missing is put back"
    installed = read_installed(pi)
    assert installed is not None
    found = removal(pi, installed, data=False)
    assert [entry.path for entry in found.changed] == list(made.kept)
    restored = planned(pi, Asked(PI), None, restore=True)
    install_on(pi, restored, lambda said: None)
    assert "Type=notify" in unit.read_text()
    assert status_of(pi, read_installed(pi)).in_order is True


def test_what_others_wrote_before_is_kept_and_named(pi: BareTarget) -> None:
    theirs = pi.root / "etc/systemd/system/data.mount"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Mount]\nWhat=/dev/sda1\n")
    link = pi.root / "usr/local/bin/edgehemo"
    link.parent.mkdir(parents=True)
    link.symlink_to("/opt/mine")
    made = install(pi, *PI, data_label="EDGEHEMO-DATA")
    assert set(made.kept) == {f"{layout.UNITS}/data.mount", layout.COMMAND}
    assert "sda1" in theirs.read_text()
    installed = read_installed(pi)
    assert installed is not None
    remove_from(pi, removal(pi, installed, data=False))
    assert "sda1" in theirs.read_text()
    assert str(link.readlink()) == "/opt/mine"


def test_a_list_that_cannot_be_read_is_told_and_nothing_is_overwritten(pi: BareTarget) -> None:
    install(pi, *PI)
    file = pi.root / "etc/edgehemo/installed.json"
    for text in ("{", '{"schema": "edgehemo.installed/1", "colour": 3}'):
        file.write_text(text)
        with pytest.raises(DeviceError, match="move it away and install again") as caught:
            planned(pi, Asked(PI), None)
        assert len(str(caught.value)) < 500
    file.unlink()
    unit = pi.root / "etc/systemd/system/edgehemo-kiosk.service"
    unit.write_text("mine")
    made = install(pi, *PI)
    assert made.kept == (f"{layout.UNITS}/edgehemo-kiosk.service",)
    assert unit.read_text() == "mine"


def test_other_parts_take_the_place_of_those_before(pi: BareTarget) -> None:
    install(pi, *PI, data_label="EDGEHEMO-DATA")
    install(pi, "raspberry_pi_5", "usb_eyepiece", "no_screen", data_label="none", read_only=False)
    for gone in (
        "etc/systemd/system/edgehemo-screen.service",
        "etc/systemd/system/multi-user.target.wants/edgehemo-screen.service",
        "etc/pam.d/edgehemo-screen",
        "etc/systemd/system/data.mount",
        "etc/overlayroot.local.conf",
    ):
        assert not pi.exists(f"/{gone}"), gone
    settings = tomllib.loads(settings_of(pi))
    assert settings["camera"] == {"source": "uvc:/dev/video0", "white_balance_k": 5000}
    config = (pi.root / "boot/firmware/config.txt").read_text()
    assert "imx477" not in config
    assert "watchdog" in config


def test_what_a_supervisor_changed_stays_when_it_is_installed_again(
    pi: BareTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(pi, *PI)
    # As the kiosk does it: by the link of the read-only system.
    link = pi.root / "etc/edgehemo/device.toml"
    link.unlink()
    link.symlink_to(pi.root / "data/edgehemo/settings/device.toml")
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(link))
    change_device({"kiosk": {"language": "sw", "unit": "g/dL"}, "camera": {"gain": None}})
    assert link.is_symlink()
    settings = tomllib.loads(settings_of(pi))
    assert settings["kiosk"] == {"unit": "g/dL", "language": "sw", "px_per_mm": 5.6}


def test_settings_of_the_device_stay_and_new_parts_come(pi: BareTarget) -> None:
    install(pi, *PI)
    file = pi.root / "data/edgehemo/settings/device.toml"
    file.write_text(
        file.read_text().replace("px_per_mm = 5.6", 'px_per_mm = 5.6\nlanguage = "sw"')
        .replace("gain = 1.0\nred", "red")
        .replace("threads = 3", "threads = 2")
    )  # fmt: skip
    made = install(pi, "raspberry_pi_4", "hq_camera", "touch_10_1280x800")
    settings = tomllib.loads(settings_of(pi))
    assert settings["kiosk"] == {"px_per_mm": 5.9, "language": "sw"}
    assert "gain" not in settings["camera"]
    assert settings["inference"]["threads"] == 2, "bench chose it on the board"
    assert settings["inference"]["memory_limit_mb"] == 768
    (step,) = [step for step in made.plan.steps if "as changed on the device" in step.said]
    assert "camera.gain, inference.threads, kiosk.language" in step.said


def test_settings_that_no_longer_fit_are_told_before_anything_is_touched(pi: BareTarget) -> None:
    install(pi, *PI)
    before = everything_in(pi.root)
    file = pi.root / "data/edgehemo/settings/device.toml"
    text = file.read_text()
    file.write_text(text + "\n[screening]\nfields_wanted = 0\n")
    with pytest.raises(DeviceError, match="fields_wanted"):
        planned(pi, Asked(PI), None)
    file.write_text("= 3")
    with pytest.raises(DeviceError, match="is not valid TOML"):
        planned(pi, Asked(PI), None)
    file.write_text(text)
    name = "data/edgehemo/settings/device.toml"
    after = everything_in(pi.root)
    assert {**after, name: ""} == {**before, name: ""}


class Interrupted(Exception):  # noqa: N818  the plug, not an error
    """The plug was pulled."""


def test_an_installation_that_was_cut_off_is_taken_up_or_taken_back(tmp_path: Path) -> None:
    whole = bare_root(tmp_path / "whole", config_txt=CONFIG_TXT)
    install(whole, *PI)
    names = {name: what for name, what in everything_in(whole.root).items() if "link" not in what}
    steps = len(planned(bare_root(tmp_path / "count"), Asked(PI), None).plan.steps)
    for cut in range(1, steps, 5):
        target = bare_root(tmp_path / f"cut{cut}", config_txt=CONFIG_TXT)
        install(target, "raspberry_pi_4", "usb_eyepiece", "no_screen")
        made = planned(target, Asked(PI), None)
        done = 0

        def stop(said: str, cut: int = cut) -> None:
            nonlocal done
            done += 1
            if done > cut:
                raise Interrupted

        with contextlib.suppress(Interrupted):
            install_on(target, made, stop)
        assert not planned(target, Asked(PI), None).kept, "nothing of ours is taken for changed"
        install(target, *PI)
        found = everything_in(target.root)
        assert set(found) >= set(names)
        assert status_of(target, read_installed(target)).output.drift == ()
        installed = read_installed(target)
        assert installed is not None
        remove_from(target, removal(target, installed, data=True))
        left = [name for name in everything_in(target.root) if "edgehemo" in name]
        assert left == []


def test_a_part_of_the_system_that_cannot_be_told_stops_nothing(
    pi: BareTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on the system that runs; here nothing is run, so each of them fails.
    monkeypatch.setattr(Tell, "is_done", lambda self, target: False)
    said: list[str] = []
    assert install_on(pi, planned(pi, Asked(PI), None), said.append)
    told = [command[0] for command in pi.ran]
    assert told == ["systemd-sysusers", "systemctl", "udevadm", "systemd-tmpfiles"]
    assert sum(line.endswith("taken up when the device starts again") for line in said) == 3


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"release": 'ID=fedora\nVERSION_ID="42"\n'}, "this is fedora 42"),
        ({"release": 'ID=debian\nVERSION_ID="11"\n'}, "this is debian 11"),
        ({"release": ""}, "a system that does not say what"),
        ({"architecture": "armhf"}, "programs here are of armhf: a 64-bit system is needed"),
        ({"python": "3.9"}, "its Python is 3.9"),
    ],
)
def test_a_system_that_does_not_do_is_refused(
    tmp_path: Path, made: dict[str, str], said: str
) -> None:
    target = bare_root(tmp_path / "root", **made)
    before = everything_in(target.root)
    with pytest.raises(DeviceError, match=said):
        planned(target, Asked(PI), None)
    assert everything_in(target.root) == before


def test_all_refusals_are_told_at_once(tmp_path: Path) -> None:
    target = bare_root(tmp_path / "root", architecture="armhf", python="3.10")
    asked = Asked(PI, ("paths.data=/somewhere",), read_only=True)
    with pytest.raises(DeviceError) as caught:
        planned(target, asked, None)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert "every result is gone after a restart" in lines[-1]
    assert "paths.data" in lines[-2]


def test_missing_packages_without_a_network_are_named(tmp_path: Path) -> None:
    target = bare_root(tmp_path / "root", packages=("python3",))
    made = planned(target, Asked(PI), None, Source(fetch=False))
    with pytest.raises(DeviceError, match="packages of the distribution are missing: python3-venv"):
        install_on(target, made, lambda said: None)
    # Nothing was begun.
    assert read_installed(target) is None


def test_what_dpkg_is_just_installing_counts(tmp_path: Path) -> None:
    """A package's own script asks while dpkg has not yet taken its notes into its list."""
    target = bare_root(tmp_path / "root", packages=("python3", "udev"))
    notes = target.root / "var/lib/dpkg/updates"
    notes.mkdir()
    (notes / "0001").write_text("Package: nftables\nStatus: install ok installed\n")
    (notes / "0002").write_text("Package: udev\nStatus: deinstall ok config-files\n")
    assert installed_packages(dpkg_status(target)) == {"python3", "nftables"}


def test_packages_come_from_the_media_with_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there in the same version, or in a newer one, is passed over."""
    target = bare_root(tmp_path / "root", packages=("python3",))
    debs = [tmp_path / f"{name}.deb" for name in ("nftables", "udev", "libc6", "dpkg")]
    for deb in debs:
        deb.write_bytes(b"!<arch>\n")
    there = {"libc6": "2.41-12", "dpkg": "1.22.22"}
    carried = {"nftables": "1.1", "udev": "257", "libc6": "2.41-11", "dpkg": "1.22.23"}
    asked: list[list[str]] = []

    def run(_: Target, command: Sequence[str], *, said: str = "") -> str:
        asked.append(list(command))
        name = Path(command[-1]).stem
        if command[0] == "dpkg-deb":
            return f"{name} {carried[name]}"
        if command[0] == "dpkg-query":
            if name not in there:
                raise DeviceError("no packages found")
            return there[name]
        if command[0] == "dpkg" and command[2] < command[4]:
            raise DeviceError("is older")
        return ""

    monkeypatch.setattr(BareTarget, "run", run)
    install_debs(target, debs)
    (apt,) = [command for command in asked if command[0] == "apt-get"]
    assert [Path(path).name for path in apt if path.endswith(".deb")] == [
        "nftables.deb", "udev.deb", "dpkg.deb",
    ]  # fmt: skip
    assert "Dir::Etc::sourcelist=/dev/null" in apt and not target.exists(DEB_FOLDER)


def test_what_the_device_may_speak_to_is_in_its_unit_and_firewall(tmp_path: Path) -> None:
    def files(name: str, *parts: str, **asked: Any) -> tuple[str, str]:
        target = bare_root(tmp_path / name)
        install(target, *PI, *parts, **asked)
        unit = target.text(f"{layout.UNITS}/edgehemo-kiosk.service")
        firewall = target.text("/etc/edgehemo/firewall.nft")
        assert unit is not None and firewall is not None
        return unit, firewall

    unit, firewall = files("alone")
    assert "IPAddressDeny=any\nIPAddressAllow=localhost" in unit
    assert "dport" not in firewall
    assert "hook output" in firewall
    unit, firewall = files("sends", "example_laboratory")
    assert "IPAddressDeny" not in unit
    assert "tcp dport { 443 } accept" in firewall.partition("chain output")[2]
    assert "tcp dport" not in firewall.partition("chain output")[0]
    unit, firewall = files("ssh", ssh=True)
    assert "IPAddressDeny=any" in unit
    assert "tcp dport 22" in firewall
    assert "udp dport 68" in firewall, "there is no SSH without an address"
    listens = tmp_path / "listens.toml"
    listens.write_text(
        'schema = "edgehemo.device-part/1"\nkind = "site"\ntitle = "x"\n[device.kiosk]\n'
        'listen = "192.168.1.20:8443"\n'
    )
    unit, firewall = files("listens", str(listens))
    assert "IPAddressDeny" not in unit
    assert "tcp dport 8443 accept" in firewall


def test_a_processor_that_is_too_old_is_refused_before_anything_is_written() -> None:
    whole = "processor\t: 0\nflags\t\t: fpu sse2 ssse3 cx16 sse4_1 sse4_2 popcnt avx\n"
    pc = Facts(running=True, distribution="debian", version="13", architecture="amd64")
    assert list(refusals(replace(pc, abilities=abilities_of(whole)))) == []
    old = abilities_of(whole.replace(" sse4_2", "").replace(" popcnt", ""))
    (said,) = refusals(replace(pc, abilities=old))
    assert "it has no popcnt, sse4_2, which" in said
    # An image is for another computer; a board's processor says nothing of it.
    assert list(refusals(pc)) == list(refusals(replace(pc, architecture="arm64"))) == []


def test_links_of_a_root_never_lead_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = bare_root(tmp_path / "root")
    (target.root / "data").symlink_to(outside)
    (target.root / "etc/systemd").mkdir()
    (target.root / "etc/systemd/system").symlink_to("../../../../../../../.." + str(outside))
    (target.root / "outside").mkdir()
    install(target, *PI)
    assert list(outside.iterdir()) == []
    inside = target.root / str(outside).lstrip("/")
    assert (inside / "edgehemo/settings/device.toml").is_file()
    assert (inside / "edgehemo-kiosk.service").is_file()


NAMES = st.sampled_from(["a", "b", "c", "..", ".", "/", "/a", "/b/c", "../../x"])


@given(st.lists(st.tuples(NAMES, NAMES), max_size=6), st.lists(NAMES, min_size=1, max_size=6))
def test_a_path_of_a_root_stays_below_it(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[str, str]], path: list[str]
) -> None:
    root = tmp_path_factory.mktemp("root").resolve()
    for where, leads in links:
        name = root / where.strip("/.").replace("/", "_")
        if name != root and not name.exists() and not name.is_symlink():
            name.symlink_to(leads)
    target = Target(root)
    for last in (False, True):
        try:
            found = target.place("/" + "/".join(path), last=last)
        except DeviceError as error:
            assert "round in links" in str(error)
        else:
            assert found.is_relative_to(root)


@given(
    st.lists(st.sampled_from(["", "a=1", "[all]", "# b", BLOCK_BEGINS, BLOCK_ENDS]), max_size=8),
    st.lists(st.sampled_from(["dtoverlay=x", "y=2"]), max_size=2),
)
def test_our_lines_come_and_go_and_those_of_others_stay(lines: list[str], ours: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    block = "\n".join([BLOCK_BEGINS, *ours, BLOCK_ENDS]) + "\n" if ours else ""
    once = with_block(text, block)
    assert with_block(once, block) == once
    if ours:
        assert block_in(once) == block
    removed = with_block(once, "")
    if BLOCK_BEGINS not in text and BLOCK_ENDS not in text:
        others = [line for line in lines if line]
        assert [line for line in removed.splitlines() if line] == others


# -- the commands -----------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.delenv("EDGEHEMO_DEVICE", raising=False)

    def call(command: object, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(command, arguments, standalone_mode=False)  # type: ignore[arg-type]
        if result.exception is not None:
            raise result.exception
        return int(result.return_value or 0), result.output

    return call


def test_a_dry_run_says_all_and_does_nothing(
    pi: BareTarget, run: Callable[..., tuple[int, str]]
) -> None:
    before = everything_in(pi.root)
    code, said = run(device_command, "install", *PI, "--root", str(pi.root), "--dry-run")
    assert code == 0
    assert "would do  /etc/systemd/system/edgehemo-kiosk.service: the kiosk" in said
    assert "already   packages of the distribution" in said
    assert everything_in(pi.root) == before


def test_show_says_where_each_value_came_from(
    pi: BareTarget, run: Callable[..., tuple[int, str]]
) -> None:
    install(pi, *PI, settings=("kiosk.unit=g/dL",))
    file = pi.root / "data/edgehemo/settings/device.toml"
    file.write_text(file.read_text().replace("threads = 3", "threads = 1"))
    code, said = run(device_command, "show", "--root", str(pi.root), "--json", "-")
    assert code == 0
    values = {each["key"]: each for each in json.loads(said)["values"]}
    assert values["camera.source"]["place"] == "cameras/hq_camera.toml line 11"
    assert values["kiosk.unit"]["origin"] == "--set"
    assert values["kiosk.language"] == {
        "key": "kiosk.language",
        "value": "en",
        "origin": "default",
        "place": "",
        "instead_of": None,
    }
    threads = values["inference.threads"]
    assert (threads["value"], threads["instead_of"]) == (1, 3)
    assert threads["place"].startswith("/data/edgehemo/settings/device.toml line ")
    code, said = run(device_command, "show", "--root", str(pi.root), "--set-only")
    assert "instead of 3" in said
    assert "default" not in said


def test_profile_show_says_what_parts_make_together(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run(profile_command, "show", *PI, "--set-only")
    assert code == 0
    assert "config.txt: dtoverlay=imx477" in said
    assert "kiosk.px_per_mm = 5.6" in said
    code, said = run(profile_command, "show", *PI, "--toml")
    assert tomllib.loads(said)["board"] == "raspberry_pi_5"
    code, said = run(profile_command, "list")
    assert all(name in said for name in PI)
    with pytest.raises(DeviceError, match="did you mean hq_camera"):
        run(profile_command, "show", "raspberry_pi_5", "hq_kamera")


def test_uninstall_and_status_say_where_nothing_is_installed(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    target = bare_root(tmp_path / "root")
    assert run(device_command, "uninstall", "--root", str(target.root)) == (
        0,
        "nothing is installed here\n",
    )
    code, said = run(device_command, "status", "--root", str(target.root))
    assert code == 1
    assert "nothing is installed here; `edgehemo device install` does it" in said
