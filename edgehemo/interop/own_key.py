"""A device's own key for a receiver, and its certificate beside it in one file.

The key is Ed25519 and never leaves the device. One file, so that the two are replaced together.
"""

from __future__ import annotations

import base64
import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from edgehemo.files.atomic import written_atomically

# RFC 8410: what stands before the 32 bytes of an Ed25519 key in PKCS#8.
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


@dataclass(frozen=True, slots=True, repr=False)
class OwnKey:
    """seed: 32 bytes, secret."""

    seed: bytes

    @classmethod
    def new(cls) -> OwnKey:
        return cls(os.urandom(32))

    @property
    def public(self) -> str:
        """The public half, 32 bytes in base64."""
        return base64.b64encode(bytes(SigningKey(self.seed).verify_key)).decode()

    def proof(self, said: bytes) -> str:
        """A signature of what is said, in base64: that the key is here."""
        return base64.b64encode(SigningKey(self.seed).sign(said).signature).decode()

    @property
    def pem(self) -> str:
        """The private half as TLS reads it."""
        text = base64.b64encode(_PKCS8 + self.seed).decode()
        lines = "\n".join(textwrap.wrap(text, 64))
        return f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n"

    def keep(self, file: Path, certificate: str) -> None:
        """Write the key with its certificate (PEM), readable by its owner only."""
        with written_atomically(file, private=True) as written:
            written.write((self.pem + certificate).encode("ascii"))
