"""The model bundle: a folder of artefacts and the manifest that describes them.

The manifest is validated as a whole, every file it names is checked against its digest before it
is opened, and no path may leave the bundle.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgehemo.bundle.manifest import (
    PRECISION_PREFERENCE,
    Artefact,
    ArtefactFormat,
    Manifest,
    ModelEntry,
    ModelTask,
    Precision,
)
from edgehemo.errors import BundleError
from edgehemo.files.atomic import sha256_of_file, write_text_atomically
from edgehemo.files.strict import RecordError

BUNDLE_SCHEMA = "edgehemo.bundle/1"
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
# The bundle that comes with the package, and the package's own record of its manifest's digest: who
# can change that record can change this program as well, so a signature would prove no more.
SHIPPED_BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "shipped"
SHIPPED_RECORD = Path(__file__).resolve().parents[1] / "bundles" / "shipped.json"
SHIPPED_SCHEMA = "edgehemo.shipped/1"
# Development only: set to 1, bundles without a signature are opened, with a warning each time.
UNSIGNED_VARIABLE = "EDGEHEMO_ALLOW_UNSIGNED"
# A manifest is some hundred kilobytes; more is not one.
MAX_MANIFEST_BYTES = 16_000_000
# More problems of one manifest than these are not told.
MAX_PROBLEMS = 5


# How a bundle came to be trusted: it is the package's own; a trusted key signed it; or nobody
# vouches for it.
Trust = Literal["shipped", "signed", "unsigned"]


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. digest: SHA-256 of the manifest, which holds the digest of every file.

    signed_by: name and identifier of the trusted key that signed it, None without one. origin: what
    it was copied or unpacked from, as messages name it.
    """

    path: Path
    manifest: Manifest
    digest: str
    trust: Trust = "unsigned"
    signed_by: str | None = None
    origin: Path | None = None

    @property
    def shown(self) -> Path:
        """How messages name it."""
        return self.origin if self.origin is not None else self.path

    def model(self, task: ModelTask) -> ModelEntry:
        """The entry of a task; BundleError where the bundle has none."""
        for entry in self.manifest.models:
            if entry.task == task:
                return entry
        raise BundleError(f"bundle {self.manifest.name} holds no model for {task}")

    def has(self, task: ModelTask) -> bool:
        return any(entry.task == task for entry in self.manifest.models)

    def graph(self, task: ModelTask) -> tuple[ModelEntry, int, int]:
        """The entry whose graph answers for a task (its own, or its trunk's), how many values come
        before the task's own in the last dimension of the answer, and how many it gives in all.
        """
        entry = self.model(task)
        owner = entry if entry.trunk is None else self.model(entry.trunk)
        before = {owner.task: 0}
        total = owner.output_values
        for head in owner.heads:
            before[head] = total
            total += self.model(head).output_values
        return owner, before[task], total

    def artefact(
        self,
        task: ModelTask,
        format: ArtefactFormat,
        precision: Precision | None = None,
        *,
        checked: bool = True,
    ) -> tuple[Artefact, Path]:
        """The artefact to run and its file, digest checked; BundleError where there is none.

        checked: False where whoever opens the file compares the bytes that it opens.
        """
        entry, _, _ = self.graph(task)
        wanted = (precision,) if precision is not None else PRECISION_PREFERENCE
        for choice in wanted:
            for artefact in entry.artefacts:
                if artefact.format == format and artefact.precision == choice:
                    if checked:
                        return artefact, self._checked(artefact)
                    return artefact, self._path_of(artefact.file)
        have = ", ".join(f"{a.format} {a.precision}" for a in entry.artefacts)
        asked = f"{format} {precision}" if precision else format
        raise BundleError(f"{entry.name}: no {asked} artefact in this bundle; it holds {have}")

    def envelope(self, task: ModelTask) -> dict[str, Any] | None:
        """A model's training envelope as `edgehemo.quality.check_field` takes it, if it has one."""
        found = self.model(task).training_envelope
        return None if found is None else found.model_dump()

    def check_files(self) -> None:
        """Compare every file with its digest; BundleError names the first that differs."""
        for name, digest in self.digests().items():
            self.checked_file(name, digest)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file the manifest names, by its path in the bundle."""
        found = dict(self.manifest.files)
        for entry in self.manifest.models:
            for artefact in entry.artefacts:
                found[artefact.file] = artefact.sha256
                if artefact.companion is not None:
                    found[artefact.companion.file] = artefact.companion.sha256
        return found

    def strangers(self) -> list[str]:
        """Files in the folder that neither the manifest names nor the format knows."""
        known = {MANIFEST_NAME, SIGNATURE_NAME, *self.digests()}
        present = (path for path in self.path.rglob("*") if not path.is_dir() or path.is_symlink())
        names = (path.relative_to(self.path).as_posix() for path in present)
        return sorted(name for name in names if name not in known)

    def checked_file(self, name: str, digest: str) -> Path:
        """The path of a file of the bundle whose content has this SHA-256, else BundleError."""
        path = self._path_of(name)
        if sha256_of_file(path) != digest:
            raise _wrong_digest(name)
        return path

    def checked_bytes(self, name: str, digest: str) -> bytes:
        """The content of a file of the bundle, read once, that has this SHA-256; BundleError."""
        data = self._path_of(name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise _wrong_digest(name)
        return data

    def _path_of(self, name: str) -> Path:
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise BundleError(f"{name} leaves the bundle")
        if not path.is_file():
            raise BundleError(f"{name} is missing from the bundle; install it again")
        return path

    def _checked(self, artefact: Artefact) -> Path:
        if artefact.companion is not None:
            self.checked_file(artefact.companion.file, artefact.companion.sha256)
        return self.checked_file(artefact.file, artefact.sha256)


def _wrong_digest(name: str) -> BundleError:
    return BundleError(
        f"{name} is not the file the manifest names (its digest differs); install the bundle again"
    )


def load_bundle(
    path: Path | None = None,
    *,
    trust: Literal["required", "files-only"] = "required",
    origin: Path | None = None,
) -> Bundle:
    """Load and validate a bundle, a folder or one file; None is the one that comes with edgehemo.

    trust: ``files-only`` opens what nobody signed as well (to look at it, never to screen with).
    origin: how messages name it, where it was copied from there.
    Raises BundleError for a missing, damaged, unknown, unsigned or wrongly signed manifest. Files
    are checked when opened.
    """
    folder = path if path is not None else SHIPPED_BUNDLE
    shown = origin if origin is not None else folder
    if folder.is_file():
        # Neither of these is loaded for the shipped bundle, a folder that the package vouches for.
        from edgehemo.bundle.packing import unpacked  # noqa: PLC0415

        folder = unpacked(folder)
    file = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise BundleError(f"{shown}: no such bundle; a bundle is what `edgehemo export` made")
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{shown}: its {MANIFEST_NAME} is too large to be one")
        raw = file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{shown}: holds no readable {MANIFEST_NAME} ({error.strerror})"
        ) from None
    stated = _stated(raw, shown)
    digest = hashlib.sha256(raw).hexdigest()
    # The signature is checked before anything of the content is believed.
    try:
        trusted, signed_by = _trust(raw, digest, folder, shown)
    except BundleError:
        if trust == "required":
            raise
        trusted, signed_by = "unsigned", None
    try:
        manifest = Manifest.model_validate(stated)
    except RecordError as error:
        problems = RecordError(error.problems[:MAX_PROBLEMS])
        raise BundleError(f"{shown.name}/{MANIFEST_NAME}: {problems}") from None
    return Bundle(folder, manifest, digest, trusted, signed_by, shown)


def _trust(raw: bytes, digest: str, folder: Path, shown: Path) -> tuple[Trust, str | None]:
    """How a manifest is vouched for; BundleError where it is not."""
    if digest == shipped_digest():
        return "shipped", None
    if folder.resolve() == SHIPPED_BUNDLE.resolve():
        raise BundleError(
            "the bundle that comes with edgehemo was changed after it was made; "
            "reinstall edgehemo (pip install --force-reinstall . in the folder of its source)"
        )
    try:
        signature = (folder / SIGNATURE_NAME).read_bytes()
    except OSError:
        if os.environ.get(UNSIGNED_VARIABLE) == "1":
            logging.getLogger(__name__).warning(
                "%s is not signed and nobody vouches for it. It is opened only "
                "because %s=1 is set, which is for development, never for patients.",
                shown,
                UNSIGNED_VARIABLE,
            )
            return "unsigned", None
        raise BundleError(
            f"{shown}: is not signed; export it with a key (`edgehemo keys new`), or for "
            f"development set {UNSIGNED_VARIABLE}=1"
        ) from None

    from edgehemo.bundle.signatures import check_signature  # noqa: PLC0415

    key = check_signature(raw, signature, str(shown))
    return "signed", f"{key.name} ({key.identifier})"


def shipped_digest() -> str | None:
    """SHA-256 of the shipped bundle's manifest as the package records it."""
    try:
        record = json.loads(SHIPPED_RECORD.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("schema") != SHIPPED_SCHEMA:
        return None
    return str(record.get("manifest_sha256"))


def record_shipped(folder: Path) -> None:
    """Record the digest of the package's own bundle, after it was exported in its place."""
    digest = sha256_of_file(folder / MANIFEST_NAME)
    record = {"schema": SHIPPED_SCHEMA, "manifest_sha256": digest}
    write_text_atomically(SHIPPED_RECORD, json.dumps(record, indent=2) + "\n")


def _stated(raw: bytes, folder: Path) -> object:
    """What a manifest of this schema states, not yet checked; BundleError for another schema."""
    try:
        value: object = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        raise BundleError(f"{folder.name}/{MANIFEST_NAME} is not JSON; install it again") from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != BUNDLE_SCHEMA:
        raise BundleError(
            f"{folder.name}: bundle schema {schema!r} is unknown to this version, "
            f"which reads {BUNDLE_SCHEMA}; update edgehemo or export the bundle again"
        )
    return value
