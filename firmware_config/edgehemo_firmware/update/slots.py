"""A version is built in the slot that is not in use, and read back before anything leads to it.

An environment that sees the system's packages (picamera2 comes from there), filled by pip from the
media's wheels and from nothing else. A slot is whole once its mark is in it, written last.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgehemo.device.version_state import Slot
from edgehemo.errors import UpdateError
from edgehemo.files.atomic import flush_folder, sha256_of_file, write_bytes_atomically
from edgehemo_firmware.update.layout import Place
from edgehemo_firmware.update.manifest import MANIFEST_NAME, WHEELS, MediaFile, wheel_of
from edgehemo_firmware.update.media import Media

# In a slot: the manifest of what was put there; there once the slot is whole.
MARK_NAME = "edgehemo-media.json"
# Likewise, where the media carried a model bundle.
BUNDLE_NAME = "bundle.zip"
# Of an image: where its wheels lie while they are installed, since its programs see no stick.
_COPIED = "incoming"
# What a build and its pause for the disk may take on a slow card.
BUILD_TIMEOUT_S = 1800
_BLOCK_BYTES = 1 << 20
_MB = 1e6
# Beyond what the files take: bytecode, and room for the records to go on.
FREE_AFTER_MB = 200
COMPILED_FACTOR = 1.35


def build(place: Place, slot: Slot, media: Media) -> None:
    """Fill a slot from checked media. UpdateError where it cannot be; the slot is then not whole.

    What was in the slot is gone first.
    """
    folder = place.slot(slot)
    remove(place, slot)
    _refuse_too_little_space(place, media)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _visible(place, media) as source:
        inside = place.inside(folder)
        _run(place, place.python, "-I", "-m", "venv", "--system-site-packages", "--without-pip",
             inside)  # fmt: skip
        (installer,) = media.manifest.of("installer")
        pip, wanted = folder / installer.name, folder / "wanted.txt"
        # Of the wheels pip holds the digests itself; its own is held again, before it runs.
        shutil.copyfile(media.file(installer), pip)
        if sha256_of_file(pip) != installer.sha256:
            raise UpdateError(f"{media.path}: {installer.name} is not as it was signed any more")
        wanted.write_text(requirements(media.manifest.of("wheel")), encoding="utf-8")
        _run(
            place, f"{inside}/bin/python", "-I", f"{place.inside(pip)}/pip", "--isolated",
            "--quiet", "--disable-pip-version-check", "--no-input", "install",
            "--no-index", "--find-links", f"{source}/{WHEELS}", "--only-binary", ":all:",
            "--no-deps", "--require-hashes", "--no-cache-dir", "--no-warn-script-location",
            # What the system has is another's to change.
            "--ignore-installed",
            "--requirement", place.inside(wanted),
        )  # fmt: skip
        wanted.unlink()
        pip.unlink()
    for bundle in media.manifest.of("bundle"):
        shutil.copyfile(media.file(bundle), folder / BUNDLE_NAME)
    os.sync()
    forget_cached(folder)
    read_back(place, slot, media.manifest.of("wheel"))
    for bundle in media.manifest.of("bundle"):
        if sha256_of_file(folder / BUNDLE_NAME) != bundle.sha256:
            raise UpdateError(f"{folder / BUNDLE_NAME}: was not read back as it was written")
    manifest = (media.path / MANIFEST_NAME).read_bytes()
    write_bytes_atomically(folder / MARK_NAME, manifest)
    flush_folder(folder.parent)


def remove(place: Place, slot: Slot) -> None:
    """Empty a slot, its mark first: what is left of an interrupted removal is not whole."""
    folder = place.slot(slot)
    if not folder.exists():
        return
    (folder / MARK_NAME).unlink(missing_ok=True)
    flush_folder(folder)
    shutil.rmtree(folder)


def is_whole(place: Place, slot: Slot, media_sha256: str) -> bool:
    """Whether a slot was built to its end from the media of this digest."""
    with contextlib.suppress(OSError):
        mark = (place.slot(slot) / MARK_NAME).read_bytes()
        return hashlib.sha256(mark).hexdigest() == media_sha256
    return False


def found_in(place: Place, slot: Slot) -> tuple[str, int]:
    """Version of the edgehemo that lies in a slot, and of the records that it writes."""
    packages = _site_packages(place.slot(slot))
    found = sorted(packages.glob("edgehemo-*.dist-info"))
    if len(found) != 1:
        raise UpdateError(f"{packages}: it is not known which version runs; install from media")
    numbers = [
        int(match[1])
        for path in (packages / "edgehemo" / "records" / "migrations").glob("*.sql")
        if (match := re.match(r"(\d{4})_", path.name)) is not None
    ]
    return found[0].name.removeprefix("edgehemo-").removesuffix(".dist-info"), max(
        numbers, default=0
    )


def mark_adopted(place: Place, slot: Slot, version: str) -> str:
    """Mark a slot that was not built from media as whole; the digest of the mark."""
    mark = f'{{"adopted": "{version}"}}\n'.encode()
    write_bytes_atomically(place.slot(slot) / MARK_NAME, mark)
    return hashlib.sha256(mark).hexdigest()


def requirements(wheels: Sequence[MediaFile]) -> str:
    """What pip reads: each wheel by name, version and digest, so that it takes no other."""
    lines = []
    for file in wheels:
        named = wheel_of(file.path)
        if named is not None:
            lines.append(f"{named[0]}=={named[1]} --hash=sha256:{file.sha256}\n")
    return "".join(lines)


def read_back(place: Place, slot: Slot, wheels: Sequence[MediaFile] | None = None) -> int:
    """How many files were read and are as they were installed, by each package's own RECORD.

    wheels: what must be there, no more and no less; None looks only at what is there. UpdateError
    names the first file that is missing or other, or the packages.
    """
    packages = _site_packages(place.slot(slot))
    read, found = 0, set()
    for info in sorted(packages.glob("*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        found.add((name.replace("_", "-").replace(".", "-").lower(), version))
        read += _read_package(packages, info)
    if not found:
        raise UpdateError(f"{packages}: no package is installed; install from the media again")
    if wheels is not None:
        wanted = {named for file in wheels if (named := wheel_of(file.path)) is not None}
        if wrong := sorted(name for name, _ in wanted ^ found):
            raise UpdateError(
                f"{packages}: {', '.join(wrong[:5])}: what was installed is not what the media "
                "hold; install again"
            )
    return read


def _read_package(packages: Path, info: Path) -> int:
    record = info / "RECORD"
    try:
        rows = list(csv.reader(record.read_text("utf-8").splitlines()))
    except (OSError, ValueError) as error:
        raise UpdateError(f"{record}: cannot be read back ({error}); install again") from None
    read = 0
    for row in rows:
        if len(row) != 3 or not row[1]:
            continue  # bytecode, and RECORD itself
        path = packages / row[0]
        kind, _, stated = row[1].partition("=")
        try:
            digest = _digest(path, kind)
        except (OSError, ValueError) as error:
            raise UpdateError(f"{path}: cannot be read back ({error}); install again") from None
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != stated.rstrip("="):
            raise UpdateError(
                f"{path}: was not read back as it was written; the card may be worn: install "
                "again, or change it"
            )
        read += 1
    return read


def _digest(path: Path, kind: str) -> bytes:
    digest = hashlib.new(kind)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()


def forget_cached(folder: Path) -> None:
    """Have what is read next come from the card, not from memory."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                handle = os.open(Path(place) / name, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(handle)


def _site_packages(folder: Path) -> Path:
    for found in sorted((folder / "lib").glob("python3*/site-packages")):
        return found
    raise UpdateError(f"{folder}: holds no environment; install from the media again")


def _refuse_too_little_space(place: Place, media: Media) -> None:
    wanted_mb = media.manifest.installed_bytes * COMPILED_FACTOR / _MB + FREE_AFTER_MB
    existing = place.data
    while not existing.exists():
        existing = existing.parent
    free_mb = shutil.disk_usage(existing).free / _MB
    if free_mb < wanted_mb:
        raise UpdateError(
            f"{place.data}: {free_mb:.0f} MB are free and {wanted_mb:.0f} MB are needed; back up "
            "and free space (`edgehemo records purge`)"
        )


@contextlib.contextmanager
def _visible(place: Place, media: Media) -> Iterator[str]:
    """The media's folder as programs there name it; copied into an image for as long."""
    if place.inside(place.data) == str(place.data):
        yield str(media.path.absolute())
        return
    copied = place.data / _COPIED
    shutil.rmtree(copied, ignore_errors=True)
    try:
        for file in media.manifest.of("wheel"):
            target = copied / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(media.file(file), target)
        yield place.inside(copied)
    finally:
        shutil.rmtree(copied, ignore_errors=True)


def _run(place: Place, *arguments: str) -> None:
    """Run a program there, with nothing of the caller's environment; UpdateError with its words."""
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    try:
        done = subprocess.run(
            place.command(*arguments),
            env=clean,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=BUILD_TIMEOUT_S,
            # Whatever root's is: the kiosk's user reads what is installed.
            umask=0o022,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"{arguments[0]}: could not be run ({error})") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-800:]
        raise UpdateError(
            f"the version could not be built ({Path(arguments[0]).name} ended with "
            f"{done.returncode}: {said or 'it said nothing'}); what ran before runs on"
        )
