"""The bytes of an artefact: what is compared with its digest is what is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from edgehemo.errors import BundleError

# File name -> SHA-256; empty where nobody stated any.
Digests = Mapping[str, str]


def content_of(path: Path, digests: Digests) -> bytes:
    """The content of a file, read once; BundleError where it is not what its digest says."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path.name}: cannot be read ({error.strerror}); install it again"
        ) from None
    if hashlib.sha256(data).hexdigest() != digests.get(path.name):
        raise BundleError(
            f"{path.name} is not the file the manifest names (its digest differs); "
            "install the bundle again"
        )
    return data
