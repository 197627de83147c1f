"""Installed, updated and taken back from sticks, on a bare Debian that has no network at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehemo.device.version_state import read_state
from edgehemo_firmware.update.debian_package import build_deb
from edgehemo_firmware.update.installing import install_version
from edgehemo_firmware.update.layout import Place, target_there
from edgehemo_firmware.update.media import opened_media
from tests.lab.offline_device import TARGET, OfflineDevice, Sticks
from tests.support.media import media_of, signing_key

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NEXT, BROKEN, LATER = "1000.1", "1000.2", "1000.3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Gigabytes: gone at the end, whatever came of it."""
    made = tmp_path_factory.mktemp("offline")
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def sticks(folder: Path) -> Sticks:
    return Sticks.in_folder(folder)


@pytest.fixture(scope="module")
def first(sticks: Sticks) -> Path:
    return sticks.first()


@pytest.fixture(scope="module")
def device(folder: Path, first: Path) -> OfflineDevice:
    """A bare root, installed from the first stick by the system's Python alone."""
    bare = OfflineDevice.copied(folder / "root")
    (media,) = first.glob("edgehemo-*")
    start = f"/media/{media.name}/install.py"
    parts = ("debian_pc", "--no-screen", "--writable")
    untrusted = bare.run(first, "python3", start, *parts)
    assert untrusted.returncode == 2 and "which this device does not trust" in untrusted.stderr
    assert not (bare.root / "data").exists() and not (bare.root / "etc/edgehemo").exists()
    done = bare.run(first, "python3", start, *parts, "--trust", "/media/laboratory.pub")
    assert done.returncode == 0, (done.stdout[-1500:], done.stderr[-3000:])
    return bare


def test_a_debian_package_does_the_first_installation(
    folder: Path, first: Path, sticks: Sticks
) -> None:
    device = OfflineDevice.copied(folder / "package root")
    (media,) = first.glob("edgehemo-*")
    stick = folder / "package"
    shutil.copytree(media / "deb", stick / "deb", copy_function=os.link)
    package = build_deb(media, sticks.key.public, stick, "A Laboratory <laboratory@example.org>")
    names = [f"/media/deb/{path.name}" for path in sorted((stick / "deb").iterdir())]
    offline = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=/dev/null"]
    done = device.run(
        stick, "DEBIAN_FRONTEND=noninteractive", "apt-get", *offline, "install", "-qq", "-y",
        "--no-install-recommends", f"/media/{package.name}", *names,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-2500:], done.stderr[-2500:])
    assert device.version(stick) == media.name.split("-")[1]
    assert state_of(device)["good"] == "a"
    assert (
        "is in force already"
        in device.run(stick, "/var/lib/dpkg/info/edgehemo.postinst", "configure").stdout
    )
    gone = device.run(stick, "dpkg", "--remove", "edgehemo")
    assert gone.returncode == 0, gone.stderr[-2500:]
    # The records would be here; they are nobody's to remove.
    assert (device.root / "data/edgehemo/current").is_symlink()
    assert not (device.root / "usr/local/bin/edgehemo").exists()
    shutil.rmtree(device.root)


def test_a_version_is_put_into_a_mounted_image_from_outside(folder: Path) -> None:
    """A stand-in for edgehemo: what is tried here is that everything holds inside the image."""
    root = OfflineDevice.copied(folder / "image").root
    place = Place(root)
    assert target_there(place) == str(TARGET)
    media = media_of(folder / "for the image", "1.0", target=str(TARGET), real_pip=True)
    opened = opened_media(media, str(TARGET))
    assert install_version(place, opened, trust=signing_key().public).outcome == "on trial"
    # It is proved where it first starts: this machine is another.
    state = read_state(place.data)
    assert (state.good, state.trial is not None) == (None, True)
    said = subprocess.run(
        ["chroot", str(root), "/data/edgehemo/current/bin/edgehemo"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "1.0"
    script = (place.slot("a") / "bin" / "edgehemo").read_text()
    assert script.startswith("#!/data/edgehemo/versions/a/bin/python")
    assert not (place.data / "incoming").exists()
    key = signing_key().public
    assert (root / f"etc/edgehemo/keys/{key.identifier}.pub").read_text() == key.line


def state_of(device: OfflineDevice) -> dict[str, object]:
    told: dict[str, object] = json.loads((device.root / "data/edgehemo/update.json").read_bytes())
    return told


def slots_of(device: OfflineDevice) -> list[str]:
    return sorted(path.name for path in (device.root / "data/edgehemo/versions").iterdir())


def test_a_bare_device_screens_after_an_installation_with_no_network(
    device: OfflineDevice, first: Path
) -> None:
    (media,) = first.glob("edgehemo-*")
    version = media.name.split("-")[1]
    assert device.version(first) == version
    assert (device.root / "data/edgehemo/current").readlink() == Path("versions/a")
    state = state_of(device)
    assert (state["good"], state["newest"], state["trial"]) == ("a", version, None)
    # Debian's packages came by the stick as well.
    assert (device.root / "usr/sbin/nft").is_file()
    done = device.edgehemo(first, "demo", "--out", "/tmp/demo")
    assert done.returncode == 0, done.stderr[-1500:]
    record = json.loads((device.root / "tmp/demo/result.json").read_bytes())
    assert record["sample"]["hgb_g_per_l"]["value"] > 0
    again = device.edgehemo(first, "device", "update", "--media", "/media")
    assert again.returncode == 0 and "in force already" in again.stdout, again.stderr


def test_tampered_unsigned_and_foreign_sticks_are_refused_untouched(
    device: OfflineDevice, first: Path, sticks: Sticks, folder: Path
) -> None:
    before = (state_of(device), slots_of(device))
    good = sticks.renumbered(first, NEXT)

    def refused(name: str) -> str:
        stick = folder / name
        done = device.edgehemo(stick, "device", "update", "--media", "/media")
        assert done.returncode == 2, (done.stdout, done.stderr)
        return done.stderr

    def copy(name: str) -> Path:
        shutil.copytree(good, folder / name, copy_function=os.link)
        (media,) = (folder / name).glob("edgehemo-*")
        return media

    wheel = next((copy("tampered") / "wheels").glob("click-*.whl"))
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.unlink()  # the file is shared with the other sticks
    wheel.write_bytes(bytes(content))
    assert "is not as it was signed" in refused("tampered")
    (copy("unsigned") / "manifest.sig").unlink()
    assert "is not signed" in refused("unsigned")
    (copy("more") / "wheels" / "more-1.0-py3-none-any.whl").touch()
    assert "does not belong to it" in refused("more")
    manifest = copy("older") / "manifest.json"
    text = manifest.read_text().replace(NEXT, "0.0.1")
    manifest.unlink()
    manifest.write_text(text)
    assert "one of them was changed" in refused("older")
    stranger = Sticks.in_folder(folder / "stranger")
    stranger.renumbered(first, NEXT)
    assert "does not trust" in refused(f"stranger/{NEXT}")
    assert (state_of(device), slots_of(device)) == before
    for name in ("tampered", "unsigned", "more", "older", "stranger"):
        shutil.rmtree(folder / name)


def test_the_next_version_and_back(device: OfflineDevice, first: Path, folder: Path) -> None:
    version = device.version(first)
    stick = folder / NEXT
    done = device.edgehemo(stick, "device", "update", "--media", "/media", "--no-confirm")
    assert done.returncode == 0 and "on trial" in done.stdout, done.stderr[-3000:]
    assert device.version(stick) == NEXT
    # At the next start, by the version that was proved last.
    confirm = device.run(stick, "/data/edgehemo/good/bin/edgehemo", "device", "confirm")
    assert confirm.returncode == 0 and f"{NEXT} is in force" in confirm.stdout, confirm.stderr
    back = device.edgehemo(stick, "device", "rollback")
    assert back.returncode == 0, back.stderr[-3000:]
    assert device.version(stick) == version
    older = device.edgehemo(first, "device", "update", "--media", "/media")
    assert older.returncode == 2 and f"is older than {NEXT}" in older.stderr


def test_a_version_that_measures_wrongly_is_not_kept(
    device: OfflineDevice, first: Path, sticks: Sticks
) -> None:
    """Every file is as it was signed; only its numbers are wrong."""
    version = device.version(first)
    wrong_scale = {
        "edgehemo_firmware/first_check.py": lambda text: text.replace(
            "SLIDE_UM_PER_PX = 0.2", "SLIDE_UM_PER_PX = 0.28"
        )
    }
    stick = sticks.renumbered(first, BROKEN, wrong_scale)
    done = device.edgehemo(stick, "device", "update", "--media", "/media")
    assert done.returncode == 1, (done.stdout, done.stderr[-3000:])
    assert "the first check failed: slide: onnx int8:" in done.stderr
    assert f"edgehemo {version} runs on" in done.stderr
    assert device.version(stick) == version


def test_a_version_that_fails_at_its_first_start_falls_back_by_itself_and_says_why(
    device: OfflineDevice, first: Path, sticks: Sticks
) -> None:
    version = device.version(first)
    fails_later = {
        "edgehemo_firmware/first_check.py": lambda text: text.replace(
            "    report = checked(names)\n",
            '    if "records" in names:\n        raise OSError("the new driver is missing")\n'
            "    report = checked(names)\n",
        )
    }
    stick = sticks.renumbered(first, LATER, fails_later)
    update = device.edgehemo(stick, "device", "update", "--media", "/media", "--no-confirm")
    assert update.returncode == 0, update.stderr[-3000:]
    assert device.version(stick) == LATER
    confirm = device.run(stick, "/data/edgehemo/good/bin/edgehemo", "device", "confirm")
    assert confirm.returncode == 0, confirm.stderr
    assert f"went back to edgehemo {version}" in confirm.stdout
    assert device.version(stick) == version
    status = device.edgehemo(stick, "device", "status").stdout
    assert f"edgehemo {LATER} was left" in status and "the new driver is missing" in status
    doctor = device.edgehemo(stick, "doctor", "--json", "-").stdout
    findings = {item["name"]: item for item in json.loads(doctor)["findings"]}
    assert findings["version"]["code"] == "VERSION_LEFT"
    assert "the new driver is missing" in findings["version"]["detail"]
