"""Profiles, bundles, words and settings on a USB stick: in its topmost folder, or one below."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edgehemo.bundle.bundle import MANIFEST_NAME
from edgehemo.bundle.packing import DAMAGED, is_packed
from edgehemo.device.sticks import Stick
from edgehemo.profile.profile import MAX_PROFILE_BYTES, PROFILE_SCHEMA

# Of a stick no more names than these are looked at, so that a full one holds nothing up.
MAX_NAMES = 400
# A package's manifest is no larger.
_MOST_MANIFEST_BYTES = 10_000
# A profile says its schema at its beginning.
_HEAD_BYTES = 400


StickKind = Literal["profile", "bundle", "language", "settings"]
# What a signed package of words or settings says of itself (`edgehemo.published.packages`).
_PACKAGE_SCHEMA = "edgehemo.publication/1"
_PACKAGE_KINDS: Mapping[object, StickKind] = {"language": "language", "settings": "settings"}


@dataclass(frozen=True, slots=True)
class OnStick:
    """What can be installed. label: of the stick."""

    kind: StickKind
    path: Path
    label: str


def artefacts_on(sticks: Sequence[Stick]) -> list[OnStick]:
    """What lies on these sticks; whether it can be used is seen when it is installed."""
    return [
        OnStick(kind, path, stick.label)
        for stick in sticks
        for path in _names(stick.path)
        if (kind := _kind(path)) is not None
    ]


def _names(folder: Path) -> Iterator[Path]:
    """The names of a stick, folder before what lies in it."""
    left = MAX_NAMES
    for path in _listed(folder):
        yield path
        left -= 1
        if left <= 0:
            return
        if path.is_dir() and not (path / MANIFEST_NAME).is_file():
            for inner in _listed(path):
                yield inner
                left -= 1
                if left <= 0:
                    return


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _kind(path: Path) -> StickKind | None:
    try:
        if path.is_symlink():
            return None
        if path.is_dir():
            return "bundle" if (path / MANIFEST_NAME).is_file() else None
        if is_packed(path):
            return _packed_kind(path)
        if path.suffix == ".json" and path.stat().st_size <= MAX_PROFILE_BYTES:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
            return "profile" if PROFILE_SCHEMA.partition("/")[0].encode() in head else None
    except OSError:
        return None
    return None


def _packed_kind(path: Path) -> StickKind | None:
    """What a ZIP file is, by its manifest; nobody vouches for it yet."""
    try:
        with zipfile.ZipFile(path) as packed:
            if MANIFEST_NAME not in packed.namelist()[:MAX_NAMES]:
                return None
            with packed.open(MANIFEST_NAME) as file:
                said = file.read(_MOST_MANIFEST_BYTES + 1)
    except (*DAMAGED, NotImplementedError):
        # The last one is how zipfile says that an archive is of a kind which it does not read.
        return None
    if len(said) > _MOST_MANIFEST_BYTES:
        # Of a package it is a page of text.
        return "bundle"
    try:
        stated = msgspec.json.decode(said)
    except (ValueError, RecursionError):
        return "bundle"
    if isinstance(stated, dict) and stated.get("schema") == _PACKAGE_SCHEMA:
        return _PACKAGE_KINDS.get(stated.get("kind"))
    return "bundle"
