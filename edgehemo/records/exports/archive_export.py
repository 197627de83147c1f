"""Results as one file, encrypted to the supervisors' keys: opened by the public ``age`` program.

A tar of a folder for each result as `folder_export` writes it, with the reading in full precision;
``manifest.json`` last, with the digest of every file before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

from edgehemo.errors import MissingDependencyError, RecordsError, UsageError
from edgehemo.files.atomic import dump_json, written_atomically
from edgehemo.files.strict import Count, Record, Sha256
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.folder_export import fill
from edgehemo.records.store import PACKING_PREFIX
from edgehemo.screening.recorded import AuditHead

SUFFIX = ".tar.age"
MANIFEST = "manifest.json"
READING_FILE = "reading.json.zlib"


class ArchiveManifest(Record, frozen=True, kw_only=True):
    """What an archive holds. identified: see the export's JSON. files: name -> SHA-256."""

    schema: Literal["edgehemo.archive/1"] = "edgehemo.archive/1"
    identified: bool
    audit: AuditHead
    results: list[str]
    bytes: Count
    files: dict[str, Sha256]


def write_archive_export(export: Exporting, out: Path) -> None:
    """Write the archive. UsageError without a key it could be encrypted to.

    Nothing of it lies on the disk unencrypted but the one result that is being packed, in the
    folder of the records.
    """
    recipients = recipients_of(export.recipients)
    encrypt = _age().encrypt_io
    failed: list[BaseException] = []
    with written_atomically(out, private=True) as target:
        read_end, write_end = os.pipe()

        def pack() -> None:
            try:
                with os.fdopen(write_end, "wb") as file:
                    _pack(export, file)
            except BaseException as error:  # told by the thread that waits
                failed.append(error)

        packing = threading.Thread(target=pack, name="packing")
        packing.start()
        try:
            with os.fdopen(read_end, "rb") as source:
                encrypt(source, target, recipients)
        finally:
            packing.join()
        if failed:
            raise failed[0]


def recipients_of(keys: Sequence[str]) -> list[Any]:
    """Public keys (``age1...`` or of SSH) as age's library has them; UsageError for a wrong one."""
    age = _age()
    if not keys:
        raise UsageError(
            "an archive is encrypted, and no key is named: give the supervisor's public key with "
            "--to age1..., or under [records] recipients in the device configuration"
        )
    found: list[Any] = []
    for key in keys:
        kind = age.ssh.Recipient if key.startswith("ssh-") else age.x25519.Recipient
        try:
            found.append(kind.from_str(key))
        except age.RecipientError:
            raise UsageError(f"{key[:40]!r} is no public key of age (age1...) or SSH") from None
    return found


def _pack(export: Exporting, file: IO[bytes]) -> None:
    files: dict[str, str] = {}
    total = 0
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as packed:
        for result in export.results:
            place = export.reader.folder.path
            with tempfile.TemporaryDirectory(prefix=PACKING_PREFIX, dir=place) as name:
                folder = Path(name)
                fill(export, result, folder)
                if export.view.identified:
                    # It holds the names of the files that were screened.
                    reading = export.reader.contents.read(result.reading_sha256)
                    (folder / READING_FILE).write_bytes(reading)
                for path in sorted(item for item in folder.rglob("*") if item.is_file()):
                    inside = f"{result.id}/{path.relative_to(folder).as_posix()}"
                    data = path.read_bytes()
                    files[inside] = hashlib.sha256(data).hexdigest()
                    total += len(data)
                    _add(packed, inside, data)
            export.on_result()
        manifest = ArchiveManifest(
            identified=export.view.identified,
            audit=export.audit,
            results=[result.id for result in export.results],
            bytes=total,
            files=files,
        )
        _add(packed, MANIFEST, dump_json(manifest.model_dump()).encode("utf-8"))


def _add(packed: tarfile.TarFile, name: str, data: bytes) -> None:
    """A file without owner and date."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    packed.addfile(info, io.BytesIO(data))


def checked_archive(data: bytes) -> ArchiveManifest:
    """Hold a decrypted archive against its manifest; RecordsError where they differ."""
    found: dict[str, str] = {}
    content = None
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as packed:
            for member in packed:
                file = packed.extractfile(member)
                read = b"" if file is None else file.read()
                if member.name == MANIFEST:
                    content = read
                else:
                    found[member.name] = hashlib.sha256(read).hexdigest()
    except tarfile.TarError as error:
        raise RecordsError(f"the archive is damaged or was cut short: {error}") from None
    if content is None:
        raise RecordsError("the archive has no manifest: it was cut short")
    manifest = ArchiveManifest.model_validate(json.loads(content))
    if manifest.files != found:
        raise RecordsError("the archive does not hold what its manifest says")
    return manifest


def _age() -> Any:
    # Only who encrypts needs the library.
    try:
        import pyrage  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'archives need pyrage, which is not installed: pip install ".[interchange]" in the '
            "folder of the source"
        ) from None
    return pyrage
