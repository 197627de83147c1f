"""Small signed bundles for tests: a manifest, one file, a signature."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from edgehemo.bundle.bundle import MANIFEST_NAME, SHIPPED_BUNDLE, SIGNATURE_NAME, load_bundle
from edgehemo.bundle.manifest import Manifest
from edgehemo.bundle.signatures import (
    PrivateKey,
    new_key,
    own_key_folder,
    read_private_key,
    signature_text,
)
from edgehemo.files.atomic import sha256_of_file


def signing_key(name: str = "laboratory") -> PrivateKey:
    """A key this machine trusts, made once a session."""
    path = own_key_folder() / f"{name}.key"
    if not path.is_file():
        new_key(own_key_folder(), name)
    return read_private_key(path)


def small_bundle(
    folder: Path, serial: int = 1, key: PrivateKey | None = None, name: str = "small"
) -> Path:
    """A bundle of the shipped cell finder alone: what installing and trusting look at is there."""
    folder.mkdir(parents=True)
    note = folder / "note.txt"
    note.write_text(f"serial {serial}\n")
    finder = (
        load_bundle().model("cell_finder").model_copy(update={"samples": None, "model_card": None})
    )
    finder = finder.model_copy(
        update={"artefacts": [item for item in finder.artefacts if item.format == "onnx"]}
    )
    for artefact in finder.artefacts:
        shutil.copyfile(SHIPPED_BUNDLE / artefact.file, folder / artefact.file)
    manifest = Manifest(
        schema="edgehemo.bundle/1",
        name=name,
        serial=serial,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        software_version="0",
        licence="Apache-2.0",
        intended_use="a test",
        machine="none",
        models=[finder],
        files={"note.txt": sha256_of_file(note)},
    )
    raw = manifest.model_dump_json().encode()
    (folder / MANIFEST_NAME).write_bytes(raw)
    (folder / SIGNATURE_NAME).write_text(signature_text(raw, key or signing_key()))
    return folder


def renamed_bundle(folder: Path, name: str, key: PrivateKey) -> Path:
    """The shipped bundle under another name, as another laboratory would sign it."""
    shutil.copytree(SHIPPED_BUNDLE, folder)
    manifest = load_bundle().manifest.model_copy(update={"name": name})
    raw = manifest.model_dump_json().encode()
    (folder / MANIFEST_NAME).write_bytes(raw)
    (folder / SIGNATURE_NAME).write_text(signature_text(raw, key))
    return folder


def sign_again(folder: Path) -> None:
    """Vouch for a manifest that a test has changed, so that what it says is what is looked at."""
    raw = (folder / MANIFEST_NAME).read_bytes()
    (folder / SIGNATURE_NAME).write_text(signature_text(raw, signing_key()))
