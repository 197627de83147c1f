"""Which key signs media."""

from __future__ import annotations

from pathlib import Path

from edgehemo.bundle.signatures import (
    DEFAULT_KEY_NAME,
    PRIVATE_SUFFIX,
    PrivateKey,
    own_key_folder,
    read_private_key,
)
from edgehemo.errors import UsageError


def signing_key(named: Path | None, media: Path) -> PrivateKey:
    """The private key named, else this user's. UsageError where there is none, or where it lies on
    the media that it is to sign.
    """
    path = named if named is not None else own_key_folder() / f"{DEFAULT_KEY_NAME}{PRIVATE_SUFFIX}"
    if not path.is_file():
        raise UsageError(
            "there is no key to sign with: make one with `edgehemo keys new`, and keep its private "
            "half to yourself"
        )
    if path.resolve().is_relative_to(media.resolve()):
        raise UsageError(f"{path}: a private key must not lie on the media that it signs")
    return read_private_key(path)
