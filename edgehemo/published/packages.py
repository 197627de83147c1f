"""Languages and settings as they are published: one signed ZIP file each.

It is made as a packed bundle is: a manifest that holds the digest of the one file beside it, and a
signature of the manifest by a key that the device trusts (`edgehemo.bundle.signatures`). The schema
stands in what is signed, so a signature of the one is none of the other.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgehemo.bundle.bundle import BUNDLE_SCHEMA, MANIFEST_NAME, SIGNATURE_NAME
from edgehemo.bundle.manifest import MAX_SERIAL
from edgehemo.bundle.packing import DAMAGED
from edgehemo.bundle.signatures import PrivateKey, check_signature, signature_text
from edgehemo.errors import BundleError, PublicationError
from edgehemo.files.atomic import written_atomically
from edgehemo.files.strict import Moment, Record, RecordError, Sha256, Text
from edgehemo.published.terms import Kind, PackagedKind

# The file that a package of a kind holds.
CONTENT_NAMES: Mapping[PackagedKind, str] = {
    "language": "edgehemo.mo",
    "settings": "settings.json",
}
PACKAGE_SCHEMA: Literal["edgehemo.publication/1"] = "edgehemo.publication/1"
MAX_CONTENT_BYTES = 4_000_000
MAX_PACKAGE_BYTES = 5_000_000
_MAX_MANIFEST_BYTES = 100_000
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
# As bundles are packed: the same content gives the same file.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class PackageManifest(Record, frozen=True, kw_only=True):
    """name: of a language its code. serial: rises with every one of a name. sha256: of the one file
    that it holds. software_version: of edgehemo that made it.
    """

    schema: Literal["edgehemo.publication/1"]
    kind: PackagedKind
    name: Annotated[str, Meta(pattern=_NAME)]
    serial: Annotated[int, Meta(ge=1, le=MAX_SERIAL)]
    created_at: Moment
    software_version: Text
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Package:
    """One that was opened and is vouched for. digest: SHA-256 of its manifest. signed_by: name and
    identifier of the key.
    """

    manifest: PackageManifest
    content: bytes
    digest: str
    signed_by: str


def write_package(
    target: Path,
    kind: PackagedKind,
    name: str,
    serial: int,
    content: bytes,
    key: PrivateKey,
    *,
    created_at: datetime,
    software_version: str,
) -> None:
    """Sign and write one; whole or not at all. PublicationError for a name or size that is none."""
    if len(content) > MAX_CONTENT_BYTES:
        raise PublicationError(f"{name}: is too large to be published")
    try:
        manifest = PackageManifest(
            schema=PACKAGE_SCHEMA,
            kind=kind,
            name=name,
            serial=serial,
            created_at=created_at,
            software_version=software_version,
            sha256=hashlib.sha256(content).hexdigest(),
        ).checked()
    except RecordError as error:
        raise PublicationError(f"{name}: {error}") from None
    raw = (manifest.model_dump_json(indent=2) + "\n").encode()
    parts = (
        (MANIFEST_NAME, raw),
        (SIGNATURE_NAME, signature_text(raw, key).encode()),
        (CONTENT_NAMES[kind], content),
    )
    with written_atomically(target) as file, zipfile.ZipFile(file, "w") as packed:
        for part, data in parts:
            info = zipfile.ZipInfo(part, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            packed.writestr(info, data)


def open_package(path: Path, shown: str | None = None) -> Package:
    """A package, its signature looked at before anything of it is believed.

    shown: how messages name it. PublicationError for what is damaged, unsigned, signed by nobody
    who is trusted here, added to, or of another schema.
    """
    called = str(path) if shown is None else shown
    parts = _parts(path, called)
    raw, signature = parts.get(MANIFEST_NAME, b""), parts.get(SIGNATURE_NAME)
    if signature is None:
        raise PublicationError(f"{called}: is not signed, so nobody vouches for it")
    try:
        key = check_signature(raw, signature, called)
    except BundleError as error:
        raise PublicationError(str(error)) from None
    try:
        manifest = PackageManifest.model_validate(msgspec.json.decode(raw))
    except (ValueError, RecursionError) as error:
        raise PublicationError(
            f"{called}: its manifest is none that this version reads ({error})"
        ) from None
    name = CONTENT_NAMES[manifest.kind]
    content = parts.get(name)
    if content is None or set(parts) != {MANIFEST_NAME, SIGNATURE_NAME, name}:
        raise PublicationError(f"{called}: does not hold {name} and nothing else")
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise PublicationError(f"{called}: {name} is not the file that was signed")
    digest = hashlib.sha256(raw).hexdigest()
    return Package(manifest, content, digest, f"{key.name} ({key.identifier})")


def kind_of(path: Path) -> Kind | None:
    """What a ZIP file says that it is; None where it is none of these. Nobody vouches for it."""
    try:
        with zipfile.ZipFile(path) as packed, packed.open(MANIFEST_NAME) as file:
            stated = msgspec.json.decode(file.read(16_000_000))
    except (*DAMAGED, OSError, RecursionError):
        return None
    if not isinstance(stated, dict):
        return None
    if stated.get("schema") == BUNDLE_SCHEMA:
        return "bundle"
    kind = stated.get("kind")
    known: Mapping[object, PackagedKind] = {each: each for each in CONTENT_NAMES}
    return known.get(kind) if stated.get("schema") == PACKAGE_SCHEMA else None


def _parts(path: Path, called: str) -> dict[str, bytes]:
    """The files in a ZIP; their sizes are counted as they come, whatever it states."""
    found: dict[str, bytes] = {}
    most = {MANIFEST_NAME: _MAX_MANIFEST_BYTES, SIGNATURE_NAME: _MAX_MANIFEST_BYTES}
    try:
        if path.stat().st_size > MAX_PACKAGE_BYTES:
            raise PublicationError(f"{called}: is too large for what it should be")
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
            if len(entries) > len(CONTENT_NAMES) + 2:
                raise PublicationError(f"{called}: holds too many files")
            for entry in entries:
                limit = most.get(entry.filename, MAX_CONTENT_BYTES)
                with packed.open(entry) as stored:
                    data = stored.read(limit + 1)
                if len(data) > limit or entry.filename in found:
                    raise PublicationError(f"{called}: {entry.filename} is too large or doubled")
                found[entry.filename] = data
    except (*DAMAGED, OSError) as error:
        raise PublicationError(f"{called}: is damaged or missing ({error})") from None
    return found
