"""Small media: versions of a stand-in for edgehemo that install in a second and obey orders."""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import shutil
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from edgehemo.bundle.signatures import PrivateKey, new_key, own_key_folder, read_private_key
from edgehemo.device import named_profiles
from edgehemo.device.installed_bundles import pack
from edgehemo.files.atomic import sha256_of_file
from edgehemo_firmware.dependencies.targets import this_target
from edgehemo_firmware.update.collecting import sign
from edgehemo_firmware.update.layout import Place
from edgehemo_firmware.update.manifest import MediaFile, MediaManifest, Role
from edgehemo_firmware.update.slots import BUNDLE_NAME

TARGET = str(this_target())
DEVICE_PROFILES = Path(named_profiles.__file__).with_name("profiles")
# What the stand-in's first check does, by the checks it is asked for.
PASSES = "[]"
FAILS = '["slide: 3 rbc found, 62 expected"]'
FAILS_AFTER_THE_SWITCH = '["slide: 3 rbc found"] if "records" in sys.argv else []'
DOES_NOT_START = "missing_module.answers()"
DOES_NOT_START_AFTER_THE_SWITCH = 'missing_module.answers() if "records" in sys.argv else []'
IS_KILLED_AFTER_THE_SWITCH = (
    '__import__("os").kill(__import__("os").getpid(), 9) if "records" in sys.argv else []'
)
_FIRST_CHECK = """
import json, sys
faults = {faults}
print(json.dumps({{"schema": "edgehemo.first-check/1", "version": "{version}", "faults": faults}}))
sys.exit(1 if faults else 0)
"""
# A bundle is installed by the real edgehemo of whoever runs the test.
_MAIN = """
import os, sys
def main():
    if sys.argv[1:2] == ["bundle"]:
        os.execv({python!r}, [{python!r}, "-m", "edgehemo", *sys.argv[1:]])
    print("{version}")
"""


def signing_key(name: str = "media") -> PrivateKey:
    """A key that this machine trusts; made once."""
    path = own_key_folder() / f"{name}.key"
    if not path.is_file():
        new_key(path.parent, name)
    return read_private_key(path)


def place_in(root: Path) -> Place:
    """A device in a folder; programs run as they are."""
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    place = Place(root, entered=False, python=str(python))
    place.data.mkdir(parents=True, exist_ok=True)
    return place


def settings_of(place: Place, file: Path) -> Path:
    """A configuration whose data lie there; the file, for EDGEHEMO_DEVICE."""
    text = (DEVICE_PROFILES / "workstation.toml").read_text("utf-8")
    file.write_text(f'{text}\n[paths]\ndata = "{place.data}"\n', "utf-8")
    return file


def pip_wheel() -> Path:
    """The wheel of pip that comes with Python."""
    folders = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    return next(wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl")))


# Does of pip what an installation needs, in a twentieth of its time.
_QUICK_PIP = """
import configparser, hashlib, pathlib, sys, zipfile
given = sys.argv[1:]
wheels = pathlib.Path(given[given.index("--find-links") + 1])
packages = pathlib.Path(sys.prefix, "lib", f"python3.{sys.version_info[1]}", "site-packages")
for line in pathlib.Path(given[given.index("--requirement") + 1]).read_text().splitlines():
    named, digest = line.split(" --hash=sha256:")
    name, version = named.split("==")
    (wheel,) = wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != digest:
        sys.exit(f"{wheel}: another digest")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(packages)
    scripts = configparser.ConfigParser()
    scripts.read(packages / f"{name.replace('-', '_')}-{version}.dist-info" / "entry_points.txt")
    for script, place in scripts["console_scripts"].items() if scripts.sections() else ():
        module, function = place.split(":")
        target = pathlib.Path(sys.prefix, "bin", script)
        target.write_text(f"#!{sys.executable}\\nfrom {module} import {function}\\n{function}()\\n")
        target.chmod(0o755)
"""


def quick_installer(folder: Path) -> Path:
    """A stand-in for pip's wheel."""
    return wheel(folder, "pip", "1.0", {"pip/__main__.py": _QUICK_PIP})


def wheel(
    folder: Path, name: str, version: str, files: dict[str, str], *, requires: str = ""
) -> Path:
    """A wheel of files, with the metadata that pip asks for."""
    info = f"{name}-{version}.dist-info"
    members = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
        "License-Expression: MIT\n" + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    lines = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{path},sha256={digest.decode()},{len(text.encode())}\n")
    members[f"{info}/RECORD"] = "".join(lines) + f"{info}/RECORD,,\n"
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as packed:
        for path, text in members.items():
            packed.writestr(path, text)
    return target


def stand_in(folder: Path, version: str, faults: str = PASSES) -> Path:
    """The wheel of a stand-in for edgehemo."""
    info = f"edgehemo-{version}.dist-info"
    files = {
        "edgehemo/__init__.py": _MAIN.format(version=version, python=sys.executable),
        "edgehemo_firmware/__init__.py": "",
        "edgehemo_firmware/first_check.py": _FIRST_CHECK.format(version=version, faults=faults),
        "edgehemo_firmware/update/starter.py": "raise SystemExit('a stand-in starts nothing')\n",
        "edgehemo/records/migrations/0001_results.sql": "",
        "edgehemo/records/migrations/0002_people.sql": "",
        f"{info}/entry_points.txt": "[console_scripts]\nedgehemo = edgehemo:main\n",
    }
    return wheel(folder, "edgehemo", version, files, requires="other-library")


def media_of(
    folder: Path,
    version: str,
    *,
    faults: str = PASSES,
    records_version: int = 1,
    oldest_from: str = "0.1.0",
    target: str = TARGET,
    key: PrivateKey | None = None,
    real_pip: bool = False,
    bundle: Path | None = None,
) -> Path:
    """Signed media of a stand-in and one library, in a folder of their own; the folder.

    real_pip: with pip to install them, which takes seconds. bundle: a folder to carry.
    """
    media = folder / f"edgehemo-{version}-{target}"
    (media / "wheels").mkdir(parents=True)
    (media / "installer").mkdir()
    stand_in(media / "wheels", version, faults)
    wheel(media / "wheels", "other_library", "1.5", {"other_library.py": "VALUE = 1\n"})
    if real_pip:
        shutil.copyfile(pip_wheel(), media / "installer" / pip_wheel().name)
    else:
        quick_installer(media / "installer")
    (media / "bill.cdx.json").write_text("{}\n")
    if bundle is not None:
        pack(bundle, media / BUNDLE_NAME)
    sign_again(media, version, records_version, oldest_from, target, key)
    return media


def sign_again(
    media: Path,
    version: str,
    records_version: int = 1,
    oldest_from: str = "0.1.0",
    target: str = TARGET,
    key: PrivateKey | None = None,
) -> None:
    """Describe and sign what lies there."""
    roles: dict[str, Role] = {"wheels": "wheel", "installer": "installer"}
    own: dict[str, Role] = {BUNDLE_NAME: "bundle"}
    files = [
        MediaFile(
            path=path.relative_to(media).as_posix(),
            role=roles.get(path.parent.name, own.get(path.name, "bill")),
            sha256=sha256_of_file(path),
            bytes=path.stat().st_size,
        )
        for path in sorted(media.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "manifest.sig")
    ]
    manifest = MediaManifest(
        schema="edgehemo.media/1",
        version=version,
        target=target,
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
        records_version=records_version,
        oldest_from=oldest_from,
        installed_bytes=100_000,
        files=tuple(files),
    )
    sign(media, manifest, key or signing_key())
