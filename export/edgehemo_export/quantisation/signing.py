"""Signs a bundle as it is exported; the private key lies outside of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgehemo.bundle.bundle import MANIFEST_NAME, SIGNATURE_NAME
from edgehemo.bundle.signatures import (
    DEFAULT_KEY_NAME,
    PRIVATE_SUFFIX,
    PrivateKey,
    new_key,
    own_key_folder,
    read_private_key,
    signature_text,
)
from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_text_atomically


@dataclass(frozen=True)
class Signer:
    """key: what signs. made: whether it was made just now."""

    key: PrivateKey
    made: Path | None = None

    def sign(self, bundle: Path) -> None:
        """Write the signature beside the manifest."""
        manifest = (bundle / MANIFEST_NAME).read_bytes()
        write_text_atomically(bundle / SIGNATURE_NAME, signature_text(manifest, self.key))


def signer_for(key: Path | None, out: Path) -> Signer:
    """The named key, else this user's, which is made where there is none yet.

    UsageError for a key that lies in the bundle it would sign.
    """
    if key is not None:
        if key.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"{key}: a private key must not lie in the bundle it signs")
        return Signer(read_private_key(key))
    own = own_key_folder() / f"{DEFAULT_KEY_NAME}{PRIVATE_SUFFIX}"
    if own.is_file():
        return Signer(read_private_key(own))
    path, _ = new_key(own.parent, DEFAULT_KEY_NAME)
    return Signer(read_private_key(path), path)
