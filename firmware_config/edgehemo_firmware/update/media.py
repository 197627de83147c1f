"""Media on a stick, checked whole before anything of the device is touched.

Who signed them is looked at first, then that each file is there as signed, and that no other is.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgehemo.bundle.signatures import PublicKey, check_signature
from edgehemo.errors import BundleError, MediaError
from edgehemo.files.atomic import sha256_of_file
from edgehemo.files.strict import RecordError
from edgehemo_firmware.update.manifest import (
    FOLDER_PREFIX,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    MediaFile,
    MediaManifest,
    version_of,
)

OnFile = Callable[[MediaFile], None]
# A signature is some hundred bytes.
_MAX_SIGNATURE_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Media:
    """Media that were checked whole. sha256: of the manifest. signed_by: who vouches for them."""

    path: Path
    manifest: MediaManifest
    sha256: str
    signed_by: PublicKey

    def file(self, file: MediaFile) -> Path:
        return self.path / file.path


def opened_media(
    source: Path, target: str, on_file: OnFile | None = None, *, trust: PublicKey | None = None
) -> Media:
    """The media for a target in a folder or on a stick, every file held against its digest.

    source: the media's own folder, or one that holds several, of which the newest for ``target``
    is taken. on_file: called after each file. trust: a key that is trusted beside those of this
    machine. MediaError for what is missing, unsigned, signed by
    nobody who is trusted here, damaged, added to, or for other devices.
    """
    folder = folder_of(source, target)
    content, signer = _signed_content(folder, trust)
    manifest = _manifest(folder, content)
    if manifest.target != target:
        raise MediaError(
            f"{folder}: is for {manifest.target} and this device is {target}; have media made "
            f"for it: `edgehemo device media DIR --target {target}`"
        )
    _refuse_strangers(folder, manifest)
    for file in manifest.files:
        _refuse_changed(folder, file)
        if on_file is not None:
            on_file(file)
    return Media(folder, manifest, hashlib.sha256(content).hexdigest(), signer)


def folder_of(source: Path, target: str) -> Path:
    """The folder with the manifest: the one named, else the newest below it for a target.

    What a folder is called is nobody's word: it only says which manifest is opened. MediaError
    where there is none.
    """
    if (source / MANIFEST_NAME).is_file():
        return source
    try:
        names = sorted(path.name for path in source.iterdir() if path.is_dir())
    except OSError as error:
        raise MediaError(f"{source}: cannot be read ({error.strerror})") from None
    ends = f"-{target}"
    found = []
    for name in names:
        if name.startswith(FOLDER_PREFIX) and name.endswith(ends):
            try:
                version = version_of(name[len(FOLDER_PREFIX) : -len(ends)])
            except ValueError:
                continue
            found.append((version, source / name))
    if not found:
        others = [name for name in names if name.startswith(FOLDER_PREFIX)]
        has = f"it holds {', '.join(others[:5])}" if others else "it holds no edgehemo"
        raise MediaError(
            f"{source}: holds no media for {target} ({has}); they are made on a workstation with "
            f"`edgehemo device media DIR --target {target}`"
        )
    return max(found)[1]


def _signed_content(folder: Path, trust: PublicKey | None) -> tuple[bytes, PublicKey]:
    """The manifest's bytes and the trusted key that signed them."""
    content = _read(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if not (folder / SIGNATURE_NAME).is_file():
        raise MediaError(
            f"{folder}: is not signed, so nobody vouches for it; have it made again with "
            "`edgehemo device media`"
        )
    signature = _read(folder / SIGNATURE_NAME, _MAX_SIGNATURE_BYTES)
    try:
        also = () if trust is None else (trust,)
        return content, check_signature(content, signature, str(folder), also)
    except BundleError as error:
        raise MediaError(str(error)) from None


def _manifest(folder: Path, content: bytes) -> MediaManifest:
    try:
        return MediaManifest.model_validate(msgspec.json.decode(content))
    except (msgspec.DecodeError, RecordError) as error:
        raise MediaError(
            f"{folder}: its manifest is none that this version reads ({error}); update with media "
            "that say so, or install anew"
        ) from None


def _read(path: Path, most: int) -> bytes:
    _refuse_no_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise MediaError(f"{path}: is too large")
    return content


def _refuse_no_file(path: Path) -> None:
    """A link may lead out of the media, a pipe may never end."""
    try:
        status = path.lstat()
    except OSError as error:
        raise MediaError(
            f"{path}: cannot be read ({error.strerror}); copy the media again"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{path}: is no regular file; copy the media again")


def _refuse_strangers(folder: Path, manifest: MediaManifest) -> None:
    """A file that nobody signed could be taken for one of the media's by what is run from it."""
    known = {each.path for each in manifest.files} | {MANIFEST_NAME, SIGNATURE_NAME}
    strangers = [name for name in _names_below(folder) if name not in known]
    if strangers:
        shown = ", ".join(sorted(strangers)[:5])
        raise MediaError(
            f"{folder}: holds what does not belong to it: {shown}; copy the media again, into an "
            "empty folder"
        )


def _names_below(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        below = Path(place).relative_to(folder)
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from ((below / name).as_posix() for name in (*files, *links))


def _refuse_changed(folder: Path, file: MediaFile) -> None:
    path = folder / file.path
    _refuse_no_file(path)
    try:
        intact = path.stat().st_size == file.bytes and sha256_of_file(path) == file.sha256
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}); use another stick") from None
    if not intact:
        raise MediaError(
            f"{path}: is not as it was signed: it was changed or the stick is damaged; copy the "
            "media again, or use another stick"
        )
