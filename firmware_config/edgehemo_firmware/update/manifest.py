"""What is on a stick: one folder for each kind of device, and in it a manifest that names all.

The manifest is signed as a bundle's is (`edgehemo.bundle.signatures`), and its schema stands in
what is signed: a signature of the one is none of the other.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import field
from packaging.version import InvalidVersion, Version

from edgehemo.files.strict import Count, Moment, Record, Sha256, Text

MEDIA_SCHEMA: Literal["edgehemo.media/1"] = "edgehemo.media/1"
MANIFEST_NAME, SIGNATURE_NAME = "manifest.json", "manifest.sig"
# A folder on a stick: edgehemo-0.2.0-aarch64-3.13.
FOLDER_PREFIX = "edgehemo-"
# What starts a first installation, with the system's Python alone.
STARTER_NAME = "install.py"
WHEELS, INSTALLER, DEBS = "wheels", "installer", "deb"
MAX_MANIFEST_BYTES = 4_000_000
MAX_FILES = 5000
MAX_BYTES = 8_000_000_000
# The oldest version whose state, records and configuration this one takes over.
OLDEST_FROM = "0.1.0"

# wheel: installed into the slot. installer: pip, which installs. bundle: a model bundle, packed.
# bill: what there is and under what licences. deb: a package of Debian's. starter: `STARTER_NAME`.
Role = Literal["wheel", "installer", "bundle", "bill", "deb", "starter"]
_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+)(-[0-9][^-]*)?-[^-]+-[^-]+-[^-]+\.whl")
# Folders below the media's, with forward slashes; no name that a stick's file system cannot hold.
_PATH = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+~-]*/)?[A-Za-z0-9][A-Za-z0-9._+~-]*")


class MediaFile(Record, frozen=True, kw_only=True):
    """One file. path: below the media's folder, at most one folder deep."""

    path: Text
    role: Role
    sha256: Sha256
    bytes: Count

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path) or self.path in (MANIFEST_NAME, SIGNATURE_NAME):
            raise ValueError(f"{self.path!r} is no path of a file on media")
        if self.role == "wheel" and wheel_of(self.path) is None:
            raise ValueError(f"{self.path!r} is no name of a wheel")

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class MediaManifest(Record, frozen=True, kw_only=True):
    """version: of edgehemo. target: the device, such as ``aarch64-3.13``. records_version: of the
    records that this version writes. oldest_from: the oldest version it can be put in the place of.
    installed_bytes: what it takes on the device.
    """

    schema: Literal["edgehemo.media/1"]
    version: Text
    target: Text
    created_at: Moment
    records_version: Count
    oldest_from: Text
    installed_bytes: Count
    files: tuple[MediaFile, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for text in (self.version, self.oldest_from):
            version_of(text)
        # A stick's file system knows no small and capital letters.
        paths = [each.path.lower() for each in self.files]
        if len(set(paths)) < len(paths):
            raise ValueError("a file stands in it twice")
        if len(self.files) > MAX_FILES or sum(each.bytes for each in self.files) > MAX_BYTES:
            raise ValueError("it names more than media can hold")
        names = [wheel_of(each.path) for each in self.of("wheel")]
        if not any(name == ("edgehemo", self.version) for name in names):
            raise ValueError(f"edgehemo {self.version} itself is not among its files")
        if len(self.of("installer")) != 1:
            raise ValueError("it names no installer")

    def of(self, role: Role) -> tuple[MediaFile, ...]:
        """Its files of a role."""
        return tuple(each for each in self.files if each.role == role)

    @property
    def folder(self) -> str:
        """What its folder on a stick is called."""
        return f"{FOLDER_PREFIX}{self.version}-{self.target}"


def version_of(text: str) -> Version:
    """A version that can be compared; ValueError for what is none."""
    try:
        return Version(text)
    except InvalidVersion:
        raise ValueError(f"{text!r} is no version") from None


def wheel_of(path: str) -> tuple[str, str] | None:
    """Name, in small letters with hyphens, and version of a wheel; None for what is no wheel."""
    found = _WHEEL.fullmatch(path.rpartition("/")[2])
    if found is None:
        return None
    return re.sub(r"[-_.]+", "-", found[1]).lower(), found[2]
