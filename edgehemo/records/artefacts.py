"""The bundles and profiles that results stand on: kept with them, so that they can be replayed."""

from __future__ import annotations

from pathlib import Path

from edgehemo.bundle.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle
from edgehemo.bundle.packing import packed_bytes, unpack
from edgehemo.errors import RecordsError
from edgehemo.profile.profile import CalibrationProfile, load_profile
from edgehemo.records.contents import ContentKind
from edgehemo.records.store import Reader, Writer


def keep_bundle(writer: Writer, bundle: Bundle) -> None:
    """Keep a bundle as one file; nothing where it is kept already."""
    if _is_kept(writer, "bundle", bundle.digest):
        return
    names = [MANIFEST_NAME, SIGNATURE_NAME, *sorted(bundle.digests())]
    data = packed_bytes(bundle.path, [name for name in names if (bundle.path / name).is_file()])
    _keep(writer, "bundle", bundle.digest, f"{bundle.manifest.name} {bundle.manifest.serial}", data)


def keep_profile(writer: Writer, profile: CalibrationProfile, name: str) -> None:
    """Keep a profile as its file has it; nothing where it is kept already."""
    digest = profile.digest()
    if not _is_kept(writer, "profile", digest):
        data = profile.model_dump_json(indent=2).encode("utf-8")
        _keep(writer, "profile", digest, name, data)


def kept_bundle(reader: Reader, digest: str, folder: Path) -> Path:
    """Unpack a kept bundle into an empty folder; returns it. RecordsError where it is not kept."""
    packed = folder.with_name(f"{folder.name}.zip")
    packed.write_bytes(_content(reader, "bundle", digest))
    unpack(packed, folder)
    packed.unlink()
    return folder


def kept_profile(reader: Reader, digest: str, folder: Path, name: str) -> CalibrationProfile:
    """A kept profile, read as any other. RecordsError where it is not kept."""
    path = folder / (Path(name).name or "profile.json")
    path.write_bytes(_content(reader, "profile", digest))
    return load_profile(path)


def _is_kept(reader: Reader, kind: ContentKind, digest: str) -> bool:
    found = reader.rows(
        "SELECT content_sha256 FROM artefact WHERE kind = ? AND digest = ?", (kind, digest)
    )
    return bool(found) and reader.contents.has(found[0][0])


def _keep(writer: Writer, kind: ContentKind, digest: str, name: str, data: bytes) -> None:
    content = writer.keep(kind, data)
    with writer.transaction() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO artefact VALUES (?, ?, ?, ?)", (kind, digest, name, content)
        )
        writer.settled([content])


def _content(reader: Reader, kind: ContentKind, digest: str) -> bytes:
    found = reader.rows(
        "SELECT content_sha256 FROM artefact WHERE kind = ? AND digest = ?", (kind, digest)
    )
    if not found:
        raise RecordsError(f"the {kind} {digest[:12]} that the result stands on is not kept here")
    return reader.contents.read(found[0][0])
