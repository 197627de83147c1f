"""A Debian package that carries media: `apt install ./edgehemo_0.1.0_arm64.deb` does it all.

``python -m edgehemo_firmware.update.debian_package --out DIR --target aarch64-3.13`` (`make deb`)
makes the media and the package. It holds the media as a stick does and the public key of who signed
them; once it is unpacked it runs the same installation, with no network, or the same update.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import msgspec

from edgehemo.bundle.signatures import PublicKey
from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo_firmware.dependencies.targets import RUNTIME_PACKAGES, TARGETS, Target, target_of
from edgehemo_firmware.update.collecting import Collecting, collect
from edgehemo_firmware.update.debs import ARCHITECTURES
from edgehemo_firmware.update.manifest import MANIFEST_NAME, MediaManifest
from edgehemo_firmware.update.signing import signing_key
from edgehemo_firmware.written_files import PACKAGES, SCREEN_PACKAGES

NAME = "edgehemo"
# Programs of one processor among them; they stay, so that dpkg knows every file, and what was
# installed can be made again with no stick.
CARRIED = Path("usr/lib/edgehemo")
DOCUMENTS = Path("usr/share/doc/edgehemo")
# What a person says before: the parts of the device and options of `edgehemo device install`.
OPTIONS_FILE = "etc/default/edgehemo"
BUILD_TIMEOUT_S = 1800
_OPTIONS = """\
# Read when the package is installed for the first time: the parts of this device and options of
# `edgehemo device install`, such as: raspberry_pi_5 hq_camera touch_7_800x480 --data-label none
# Empty: the board is recognised, and the rest is as is usual.
INSTALL_OPTIONS=""
"""
_DESCRIPTION = """\
offline anaemia screening from stained blood smears
 Makes a kiosk of this computer and the camera of a microscope: blood smears
 are screened for anaemia with no network. The package carries all that it
 installs, signed; nothing is fetched.
 .
 A research and screening aid, never a diagnosis."""
_POSTINST = """\
#!/bin/sh
# Installs edgehemo from the media that this package carries, with no network; or updates it.
set -e
[ "$1" = configure ] || exit 0
media=/usr/lib/edgehemo/media
if [ -L /data/edgehemo/current ]; then
    exec /data/edgehemo/current/bin/edgehemo device update --media "$media"
fi
INSTALL_OPTIONS=
[ ! -r /etc/default/edgehemo ] || . /etc/default/edgehemo
if [ -z "$INSTALL_OPTIONS" ]; then
    [ -r /proc/device-tree/model ] || INSTALL_OPTIONS=debian_pc
    command -v cage >/dev/null || INSTALL_OPTIONS="$INSTALL_OPTIONS --no-screen"
fi
key=$(echo /usr/lib/edgehemo/keys/*.pub)
# dpkg holds its lock: what the package depends on is there already.
exec python3 "$media"/edgehemo-*/install.py $INSTALL_OPTIONS --no-packages --trust "$key"
"""
_PRERM = """\
#!/bin/sh
# Records, settings and the program stay in /data/edgehemo.
set -e
if [ "$1" = remove ] && [ -x /usr/local/bin/edgehemo ]; then
    # 1: files that were changed by hand are kept and named.
    /usr/local/bin/edgehemo device uninstall || [ $? -eq 1 ]
fi
"""


def debian_version(version: str) -> str:
    """A version as Debian orders it: what comes before a release sorts before it."""
    for mark in ("a", "b", "rc", ".dev"):
        head, found, tail = version.partition(mark)
        if found and tail.isdecimal():
            return f"{head}~{mark.lstrip('.')}{tail}"
    return version


def control(manifest: MediaManifest, target: Target, installed_kb: int, maintainer: str) -> str:
    """The control file."""
    major, _, minor = target.python.partition(".")
    needs = [f"python3 (>= {target.python})", f"python3 (<< {major}.{int(minor) + 1}~)"]
    needs += [name for name, _ in PACKAGES if name != "python3"]
    fields = {
        "Package": NAME,
        "Version": debian_version(manifest.version),
        "Architecture": ARCHITECTURES[target.machine],
        "Maintainer": maintainer,
        "Installed-Size": str(installed_kb),
        "Depends": ", ".join(needs),
        "Recommends": ", ".join(name for name, _ in SCREEN_PACKAGES),
        "Section": "science",
        "Priority": "optional",
        "Description": _DESCRIPTION,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def build_deb(media: Path, key: PublicKey, out: Path, maintainer: str) -> Path:
    """The package of media; its path below ``out``.

    MissingDependencyError without dpkg-deb; UsageError with its words where it fails.
    """
    if shutil.which("dpkg-deb") is None:
        raise MissingDependencyError("a Debian package is made by dpkg-deb: apt-get install dpkg")
    content = (media / MANIFEST_NAME).read_bytes()
    manifest = MediaManifest.model_validate(msgspec.json.decode(content))
    target = target_of(manifest.target)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".edgehemo-deb-", dir=out) as scratch:
        tree = Path(scratch) / "tree"
        shutil.copytree(media, tree / CARRIED / "media" / media.name, copy_function=_linked)
        _write(tree / CARRIED / "keys" / f"{key.identifier}.pub", key.line)
        _write(tree / OPTIONS_FILE, _OPTIONS)
        made = manifest.created_at
        _write(tree / DOCUMENTS / "copyright", _copyright(made.year))
        _write_bytes(tree / DOCUMENTS / "changelog.gz", _changelog(manifest, maintainer, made))
        sums = "".join(
            f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"
            for path in sorted(tree.rglob("*"))
            if path.is_file() and not path.is_relative_to(tree / "etc")
        )
        size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
        _write(tree / "DEBIAN" / "md5sums", sums)
        _write(tree / "DEBIAN" / "conffiles", f"/{OPTIONS_FILE}\n")
        _write(tree / "DEBIAN" / "control", control(manifest, target, size // 1024, maintainer))
        _write(tree / "DEBIAN" / "postinst", _POSTINST, 0o755)
        _write(tree / "DEBIAN" / "prerm", _PRERM, 0o755)
        for folder in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        package = out / (
            f"{NAME}_{debian_version(manifest.version)}_{ARCHITECTURES[target.machine]}.deb"
        )
        part = Path(scratch) / package.name
        # Wheels are packed already: packing them harder takes minutes and gains nothing.
        done = subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(part)],
            capture_output=True, text=True, timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            raise UsageError(f"{package.name}: dpkg-deb failed: {done.stderr.strip()[-500:]}")
        part.replace(package)
    return package


def _linked(source: str, target: str) -> None:
    """The same file on the disk where that can be, for media are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    Path(target).chmod(0o644)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    _write_bytes(path, text.encode("utf-8"), mode)


def _write_bytes(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _copyright(year: int) -> str:
    return (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        f"Upstream-Name: {NAME}\n\n"
        f"Files: *\nCopyright: {year} the authors of {NAME}\nLicense: Apache-2.0\n"
        " The text of the licence is in /usr/share/common-licenses/Apache-2.0.\n"
        " The libraries beside it have licences of their own: the bill of materials, a file\n"
        " *.cdx.json beside the wheels, names each.\n"
    )


def _changelog(manifest: MediaManifest, maintainer: str, made: datetime) -> bytes:
    text = (
        f"{NAME} ({debian_version(manifest.version)}) stable; urgency=medium\n\n"
        f"  * edgehemo {manifest.version}, with all that it installs.\n\n"
        f" -- {maintainer}  {format_datetime(made.astimezone(UTC))}\n"
    )
    return gzip.compress(text.encode("utf-8"), mtime=0)


def maintainer_of(environment: dict[str, str]) -> str:
    """Who makes the package, by Debian's usual variables."""
    name = environment.get("DEBFULLNAME") or "whoever built this package"
    return f"{name} <{environment.get('DEBEMAIL') or environment.get('EMAIL') or 'root@localhost'}>"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the package of one target."""
    parser = argparse.ArgumentParser(description="Make a Debian package of edgehemo.")
    parser.add_argument("--target", required=True, help=f"one of {', '.join(map(str, TARGETS))}")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the package")
    parser.add_argument("--key", type=Path, help="private key that signs the media")
    parser.add_argument("--without", choices=sorted(RUNTIME_PACKAGES), action="append", default=[],
                        help="leave a runtime out")  # fmt: skip
    parser.add_argument("--wheels", type=Path, action="append", default=[], metavar="DIR")
    options = parser.parse_args(arguments)
    target = target_of(options.target)
    key = signing_key(options.key, options.out)
    with tempfile.TemporaryDirectory(prefix="edgehemo-media-") as scratch:
        collecting = Collecting(key, wheels=options.wheels, without=tuple(options.without))
        media = collect(Path(scratch), target, collecting)
        package = build_deb(media, key.public, options.out, maintainer_of(dict(os.environ)))
    print(f"{package}: {package.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    from edgehemo_firmware.dependencies.running import run_as_tool

    run_as_tool(main)
