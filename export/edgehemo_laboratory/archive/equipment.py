"""What a reading is made with: bundle, profiles, versions; kept in the archive, opened anywhere."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec

from edgehemo.bundle.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle, load_bundle
from edgehemo.bundle.packing import packed_bytes, unpack
from edgehemo.cells.finder import CellFinder, open_cell_finder
from edgehemo.cells.typing import CellTyper, open_cell_typer
from edgehemo.device.configuration import InferenceSection
from edgehemo.device.equipment import calibrated_on_network
from edgehemo.errors import BundleError, ProfileError
from edgehemo.estimate.network import FieldNetworks, NetworkTask, open_field_networks
from edgehemo.files.folders import user_folder
from edgehemo.files.strict import Record, RecordError, Sha256, Text
from edgehemo.profile.profile import CalibrationProfile, load_profile
from edgehemo.screening.field import FieldReader
from edgehemo.version import __version__
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.clock import now, text_of
from edgehemo_laboratory.errors import LaboratoryError

# One thread a reader: a machine is filled with readers, and numbers do not hang on how many.
OPENING = InferenceSection(threads=1).opening()
# What decides numbers beside the bundle, by what it is called here and in the package index.
_LIBRARIES = {"numpy": "numpy", "opencv": "opencv-python-headless", "onnxruntime": "onnxruntime"}


class ReadingFile(Record, frozen=True, kw_only=True):
    """What ``reading.json`` says: with what a reading is made. versions: of all that decides its
    numbers. networks: those that read every field, asked for or not by its profile.
    """

    schema: Literal["edgehemo.archive-reading/1"] = "edgehemo.archive-reading/1"
    reading: Text
    begun_at: Text
    bundle: Text
    bundle_sha256: Sha256
    versions: dict[str, str]
    networks: tuple[NetworkTask, ...]


def versions_here() -> dict[str, str]:
    """Of all that decides numbers, as it is in this process."""
    found = {
        "edgehemo": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "machine": platform.machine(),
    }
    for called, package in _LIBRARIES.items():
        try:
            found[called] = version(package)
        except PackageNotFoundError:
            found[called] = "missing"
    return found


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is not the same, one phrase each."""
    return [
        f"{name} {found.get(name, 'missing')} in the place of {wanted.get(name, 'none')}"
        for name in sorted({*wanted, *found})
        if wanted.get(name) != found.get(name)
    ]


def reading_name(bundle_sha256: str, networks: tuple[NetworkTask, ...]) -> str:
    """What a reading is called: its bundle, this software's version, and what else was asked."""
    software = re.sub(r"[^a-z0-9.]+", "-", __version__.lower()).strip("-.")
    asked = "".join(f"-{name.partition('_')[2]}" for name in sorted(networks))
    return f"{bundle_sha256[:16]}-{software}{asked}"


def begun_reading(
    archive: Archive, bundle: Bundle, networks: tuple[NetworkTask, ...] = ()
) -> ReadingFile:
    """The reading of this bundle, begun where there is none; the bundle lies in the archive when
    this returns. LaboratoryError where it was begun with other libraries than those here.
    """
    keep_bundle(archive, bundle)
    called = reading_name(bundle.digest, networks)
    wanted = ReadingFile(
        reading=called,
        begun_at=text_of(now()),
        bundle=f"{bundle.manifest.name} {bundle.manifest.serial}",
        bundle_sha256=bundle.digest,
        versions=versions_here(),
        networks=tuple(sorted(networks)),
    )
    archive.put_json(layout.reading_key(called), wanted.model_dump())
    there = reading_file(archive, called)
    if told := differences(there.versions, wanted.versions):
        raise LaboratoryError(
            f"this reading was begun with other versions ({'; '.join(told)}), and numbers of "
            "both would stand side by side; install what it was begun with, or read into another "
            "archive"
        )
    return there


def reading_file(archive: Archive, called: str) -> ReadingFile:
    """What a reading is made with. LaboratoryError where there is none, or it is damaged."""
    data = archive.store.get(layout.reading_key(called))
    if data is None:
        raise LaboratoryError(f"{archive.about}: there is no reading {called[:60]}")
    try:
        return ReadingFile.model_validate(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecordError) as error:
        raise LaboratoryError(
            f"{archive.about}: the reading {called} is damaged ({error})"
        ) from None


def reading_files(archive: Archive) -> list[ReadingFile]:
    """All readings of an archive, in the order in which they were begun."""
    names = (layout.reading_of(key) for key in archive.store.keys(layout.READINGS))
    found = [reading_file(archive, name) for name in sorted({name for name in names if name})]
    return sorted(found, key=lambda each: (each.begun_at, each.reading))


def keep_bundle(archive: Archive, bundle: Bundle) -> None:
    """Put a bundle into the archive, for workers that do not see its folder."""
    key = layout.bundle_key(bundle.digest)
    if archive.store.has(key):
        return
    bundle.check_files()
    names = [MANIFEST_NAME, SIGNATURE_NAME, *sorted(bundle.digests())]
    there = [name for name in names if (bundle.path / name).is_file()]
    archive.store.put_new(key, packed_bytes(bundle.path, there))


def opened_bundle(archive: Archive, digest: str, path: Path | None) -> Bundle:
    """The bundle of a digest: from a path where it lies there, else from the archive, unpacked once
    a machine. Whoever began the reading trusted it; here the digest is what counts.
    """
    if path is not None and path.exists():
        with contextlib.suppress(BundleError):
            bundle = load_bundle(path, trust="files-only")
            if bundle.digest == digest:
                bundle.check_files()
                return bundle
    folder = user_folder("cache") / "archive-bundles" / digest
    if not folder.is_dir():
        _unpack(archive, digest, folder)
    bundle = load_bundle(folder, trust="files-only")
    if bundle.digest != digest:
        raise BundleError(f"{folder}: is not the bundle that it is called by; remove the folder")
    bundle.check_files()
    return bundle


def _unpack(archive: Archive, digest: str, folder: Path) -> None:
    """Several workers of a machine may do it at once: the first one's folder stands."""
    data = archive.store.get(layout.bundle_key(digest))
    if data is None:
        raise BundleError(f"{archive.about}: holds no bundle {digest[:16]}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as name:
        packed, made = Path(name, "bundle.zip"), Path(name, "bundle")
        packed.write_bytes(data)
        made.mkdir()
        unpack(packed, made)
        with contextlib.suppress(OSError):
            os.rename(made, folder)  # noqa: PTH104 - which refuses a folder that holds something


def keep_profile(archive: Archive, path: Path) -> tuple[str, CalibrationProfile]:
    """Put a calibration profile into the archive; its digest, and the profile. ProfileError."""
    profile = load_profile(path)
    digest = profile.digest()
    archive.store.put_new(layout.profile_key(digest), profile.model_dump_json(indent=2).encode())
    return digest, profile


def kept_profile(archive: Archive, digest: str) -> CalibrationProfile:
    """A profile of the archive. ProfileError where it is gone or is not what its digest says."""
    data = archive.store.get(layout.profile_key(digest))
    if data is None:
        raise ProfileError(f"{archive.about}: holds no profile {digest[:16]}")
    with tempfile.TemporaryDirectory(prefix="edgehemo-profile-") as name:
        path = Path(name) / "profile.json"
        path.write_bytes(data)
        profile = load_profile(path)
    if profile.digest() != digest:
        raise ProfileError(f"{archive.about}: the profile {digest[:16]} is damaged")
    return profile


@dataclass(slots=True)
class ReadingEquipment:
    """What reads the fields of a reading, opened once a process."""

    archive: Archive
    bundle: Bundle
    networks: tuple[NetworkTask, ...]
    finder: CellFinder
    typer: CellTyper
    _profiles: dict[str, CalibrationProfile] = field(default_factory=dict)
    _networks: dict[tuple[NetworkTask, ...], FieldNetworks | None] = field(default_factory=dict)

    def profile(self, digest: str | None) -> CalibrationProfile | None:
        if digest is None:
            return None
        if digest not in self._profiles:
            self._profiles[digest] = kept_profile(self.archive, digest)
        return self._profiles[digest]

    def reader(self, profile_digest: str | None, um_per_px: float | None) -> FieldReader:
        """As `edgehemo screen` reads with this bundle and profile."""
        profile = self.profile(profile_digest)
        wanted = set(self.networks)
        if calibrated_on_network(profile):
            wanted.add("field_estimator")
        return FieldReader(
            finder=self.finder,
            typer=self.typer,
            networks=self._opened(tuple(sorted(wanted))),
            profile=profile,
            envelope=self.bundle.envelope("cell_finder"),
            um_per_px=um_per_px,
        )

    def _opened(self, tasks: tuple[NetworkTask, ...]) -> FieldNetworks | None:
        if not tasks:
            return None
        if tasks not in self._networks:
            self._networks[tasks] = open_field_networks(self.bundle, tasks, **OPENING)
        return self._networks[tasks]


def open_equipment(
    archive: Archive, bundle_sha256: str, path: Path | None, networks: tuple[NetworkTask, ...]
) -> ReadingEquipment:
    """Open a reading's bundle. Raises BundleError."""
    bundle = opened_bundle(archive, bundle_sha256, path)
    return ReadingEquipment(
        archive=archive,
        bundle=bundle,
        networks=networks,
        finder=open_cell_finder(bundle, **OPENING),
        typer=open_cell_typer(bundle, **OPENING),
    )
