"""Media are made on a workstation: everything a device installs, signed, in one folder a device.

The folder appears whole: it is made beside its place and then renamed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.packing import is_packed
from edgehemo.bundle.signatures import PrivateKey, signature_text
from edgehemo.device.installed_bundles import pack
from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.files.atomic import flush_folder, sha256_of_file, write_bytes_atomically
from edgehemo.records import schema
from edgehemo_firmware.dependencies.lock import (
    LockedPackage,
    installer_lock,
    locked_for,
    read_lock,
    shipped_lock,
)
from edgehemo_firmware.dependencies.targets import RUNTIME_PACKAGES, Target
from edgehemo_firmware.update.debs import fetch_debs
from edgehemo_firmware.update.manifest import (
    DEBS,
    INSTALLER,
    MANIFEST_NAME,
    MEDIA_SCHEMA,
    OLDEST_FROM,
    SIGNATURE_NAME,
    STARTER_NAME,
    WHEELS,
    MediaFile,
    MediaManifest,
    Role,
    wheel_of,
)
from edgehemo_firmware.update.own_wheel import OURS, own_wheel, words_of_pip
from edgehemo_firmware.update.slots import BUNDLE_NAME

# The C libraries whose wheels run on a device, newest first: Debian 12 has 2.36.
GLIBC_MINORS = range(36, 16, -1)
OLDER_MANYLINUX = ("manylinux2014", "manylinux2010", "manylinux1")
DOWNLOAD_TIMEOUT_S = 3600
FOLDERS: dict[str, Role] = {WHEELS: "wheel", INSTALLER: "installer", DEBS: "deb"}
# What a bare device begins with: see `STARTER_NAME`.
STARTER = "starter.py"
Tell = Callable[[str], None]


def _silent(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Collecting:
    """What goes onto media. key: signs them. wheels: folders that wheels are looked for in before
    they are fetched. bundle: a model bundle beside the shipped one. source: a checkout to build
    edgehemo's own wheel from. debs: names of packages of Debian's, which come with all that they
    depend on. deb_sources: lines of sources beside Debian's own. deb_mirror: address of Debian,
    None for that of this machine's apt. bill: whether the bill of materials is made, which needs
    the extra ``supply``. without: runtimes to leave out, keys of `RUNTIME_PACKAGES`. tell: called
    with what is being done.
    """

    key: PrivateKey
    wheels: Sequence[Path] = ()
    bundle: Path | None = None
    source: Path | None = None
    debs: Sequence[str] = ()
    deb_sources: Sequence[str] = ()
    deb_mirror: str | None = None
    bill: bool = True
    without: Sequence[str] = ()
    tell: Tell = field(default=_silent)


def collect(place: Path, target: Target, wanted: Collecting) -> Path:
    """Make the media of a target below a folder; the folder they lie in.

    Media of the same version and target that lie there are replaced. Raises UsageError where what
    belongs to them cannot be had, BundleError for a bundle that is none.
    """
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".edgehemo-", dir=place) as scratch:
        folder = Path(scratch) / "media"
        for name in (WHEELS, INSTALLER):
            (folder / name).mkdir(parents=True)
        left_out = {name for runtime in wanted.without for name in RUNTIME_PACKAGES[runtime]}
        packages = tuple(
            each
            for each in locked_for(read_lock(shipped_lock().read_text("utf-8")), target)
            if each.name not in left_out
        )
        wanted.tell(f"{len(packages)} packages for {target}")
        fetch(packages, folder / WHEELS, target, wanted.wheels)
        pip = locked_for(read_lock(installer_lock().read_text("utf-8")), target)
        fetch(pip, folder / INSTALLER, target, wanted.wheels)
        wanted.tell("edgehemo itself")
        own = own_wheel(folder / WHEELS, wanted.source)
        _add_starter(own, folder)
        if wanted.bundle is not None:
            _add_bundle(wanted.bundle, folder / BUNDLE_NAME)
        if wanted.debs:
            wanted.tell(f"packages of Debian: {', '.join(wanted.debs)}")
            _add_debs(wanted, folder / DEBS, target)
        if wanted.bill:
            wanted.tell("the bill of materials")
            _add_bill(packages, folder, target)
        wanted.tell("digests and signature")
        manifest = described(folder, target, own)
        sign(folder, manifest, wanted.key)
        return _put(folder, place / manifest.folder)


def fetch(
    packages: Sequence[LockedPackage], folder: Path, target: Target, wheels: Sequence[Path] = ()
) -> None:
    """Put the wheels of locked packages into a folder, each held against its digest by pip.

    UsageError with pip's words where one cannot be had.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # Without markers: pip holds those against the machine it runs on.
        lock = Path(scratch) / "wanted.txt"
        lock.write_text(
            "".join(
                f"{each.name}=={each.version} "
                + " ".join(f"--hash=sha256:{digest}" for digest in each.sha256)
                + "\n"
                for each in packages
            ),
            encoding="utf-8",
        )
        command = [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
            "--no-deps", "--require-hashes",
            "--only-binary", ":all:", "--implementation", "cp",
            "--python-version", target.python.replace(".", ""),
        ]  # fmt: skip
        for platform in platforms(target):
            command += ["--platform", platform]
        for place in wheels:
            command += ["--find-links", str(place)]
        command += ["--dest", str(folder), "--requirement", str(lock)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    if done.returncode:
        said = words_of_pip(done.stderr)
        raise UsageError(f"the wheels for {target} could not be had: {said}")
    there = {named for path in folder.iterdir() if (named := wheel_of(path.name)) is not None}
    lacking = sorted(each.name for each in packages if (each.name, each.version) not in there)
    if lacking:
        raise UsageError(f"no wheel of {', '.join(lacking)} for {target} came")


def platforms(target: Target) -> list[str]:
    """The platform tags whose wheels run on a target, as pip names them."""
    newer = [f"manylinux_2_{minor}" for minor in GLIBC_MINORS]
    older = OLDER_MANYLINUX if target.machine == "x86_64" else OLDER_MANYLINUX[:1]
    return [f"{name}_{target.machine}" for name in (*newer, *older)]


def described(folder: Path, target: Target, own: Path) -> MediaManifest:
    """The manifest of what lies in a folder. own: edgehemo's own wheel in it."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            found.append(
                MediaFile(
                    path=name,
                    role=_role_of(name),
                    sha256=sha256_of_file(path),
                    bytes=path.stat().st_size,
                )
            )
    named = wheel_of(own.name)
    if named is None or named[0] != OURS:
        raise UsageError(f"{own.name}: is no wheel of {OURS}")
    return MediaManifest(
        schema=MEDIA_SCHEMA,
        version=named[1],
        target=str(target),
        created_at=datetime.now(UTC).replace(microsecond=0),
        records_version=records_version_in(own),
        oldest_from=OLDEST_FROM,
        installed_bytes=sum(_unpacked_bytes(folder / each.path) for each in found
                            if each.role == "wheel"),
        files=tuple(found),
    )  # fmt: skip


def records_version_in(wheel: Path) -> int:
    """The version of the records that the edgehemo in a wheel writes: its last migration."""
    with zipfile.ZipFile(wheel) as packed:
        numbers = [
            int(found[1])
            for name in packed.namelist()
            if (found := re.fullmatch(schema.MIGRATION_PATH, name)) is not None
        ]
    if not numbers:
        raise UsageError(f"{wheel.name}: holds no migrations of the records; is it whole?")
    return max(numbers)


def sign(folder: Path, manifest: MediaManifest, key: PrivateKey) -> None:
    """Write a manifest and its signature into its folder."""
    content = (manifest.model_dump_json(indent=2) + "\n").encode()
    write_bytes_atomically(folder / MANIFEST_NAME, content)
    write_bytes_atomically(folder / SIGNATURE_NAME, signature_text(content, key).encode())


def _role_of(name: str) -> Role:
    above, _, _ = name.rpartition("/")
    if above in FOLDERS:
        return FOLDERS[above]
    if name == STARTER_NAME:
        return "starter"
    return "bundle" if name == BUNDLE_NAME else "bill"


def _unpacked_bytes(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as packed:
        return sum(entry.file_size for entry in packed.infolist())


def _add_starter(own: Path, folder: Path) -> None:
    """The starter as that version of edgehemo has it."""
    name = f"edgehemo_firmware/update/{STARTER}"
    with zipfile.ZipFile(own) as packed:
        if name not in packed.namelist():
            raise UsageError(f"{own.name}: holds no {name}; it is of an older version")
        (folder / STARTER_NAME).write_bytes(packed.read(name))


def _add_bundle(bundle: Path, target: Path) -> None:
    # Opened by whoever makes the media: what is refused there is not carried to a device.
    load_bundle(bundle)
    if is_packed(bundle):
        shutil.copyfile(bundle, target)
    else:
        pack(bundle, target)


def _add_bill(packages: Sequence[LockedPackage], folder: Path, target: Target) -> None:
    """The bill of materials, from the metadata in the wheels that lie there."""
    try:
        from edgehemo_firmware.dependencies.sbom import (
            bill_of_materials,
            check_bill,
            installed_in,
        )
    except ImportError as error:
        raise MissingDependencyError(
            f'the bill of materials needs {error.name}: pip install ".[supply]"; --no-bill leaves '
            "it out"
        ) from None
    with tempfile.TemporaryDirectory() as scratch:
        for wheel in (folder / WHEELS).glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                names = [name for name in packed.namelist() if ".dist-info/" in name]
                packed.extractall(scratch, names)
        installed = installed_in(Path(scratch))
        own = installed[OURS]
        text = bill_of_materials(packages, installed, target, own.requires or (), own.version)
    check_bill(text)
    (folder / f"{OURS}-{target}.cdx.json").write_text(text, encoding="utf-8")


def _add_debs(wanted: Collecting, folder: Path, target: Target) -> None:
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        for deb in fetch_debs(
            wanted.debs, Path(scratch), target, wanted.deb_sources, wanted.deb_mirror
        ):
            shutil.copyfile(deb, folder / _deb_name(deb.name))


def _deb_name(name: str) -> str:
    """A Debian file's name without what a stick's file system cannot hold."""
    return name.replace("%3a", "+").replace(":", "+")


def _put(folder: Path, final: Path) -> Path:
    os.sync()
    former = final.with_name(f".{final.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if final.exists():
        final.rename(former)
    folder.rename(final)
    flush_folder(final.parent)
    shutil.rmtree(former, ignore_errors=True)
    return final
