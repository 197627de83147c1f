"""Pairing codes: what a laboratory hands to whoever sets up a kiosk, to be typed once.

A code is 32 characters that can be read aloud. The first half is the beginning of the digest of the
laboratory's certificate (80 bits), so that the kiosk knows whom it speaks to before it says
anything; the other half is a secret (80 bits) that counts once and for some days.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from edgehemo.errors import UsageError

# Crockford's base 32: no i, l, o and u.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_MISREAD = str.maketrans({"i": "1", "l": "1", "o": "0"})
_HALF_BITS = 80
_HALF = _HALF_BITS // 5


@dataclass(frozen=True, slots=True)
class PairingCode:
    """certificate: the beginning of the digest of the laboratory's certificate. secret: what
    counts once. Both as they are written, without dashes.
    """

    certificate: str
    secret: str

    @property
    def text(self) -> str:
        """As it is written: eight groups of four."""
        letters = self.certificate + self.secret
        return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))

    def fits(self, certificate: bytes) -> bool:
        """Whether a certificate (DER) is the one that the code names."""
        return secrets.compare_digest(_beginning(certificate), self.certificate)

    @property
    def secret_digest(self) -> str:
        """What a laboratory keeps of the secret."""
        return digest_of_secret(self.secret)


def digest_of_secret(secret: str) -> str:
    """SHA-256 of a secret; it is random enough to need no more."""
    return hashlib.sha256(f"edgehemo pairing\0{secret}".encode()).hexdigest()


def new_code(certificate: bytes) -> PairingCode:
    """A code for a laboratory's certificate (DER)."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_HALF))
    return PairingCode(_beginning(certificate), secret)


def read_code(text: str) -> PairingCode:
    """A code as a person typed it. UsageError for what is none."""
    letters = "".join(text.lower().replace("-", "").split()).translate(_MISREAD)
    if len(letters) != 2 * _HALF or set(letters) - set(_ALPHABET):
        raise UsageError(
            f"this is no pairing code: it has {2 * _HALF} letters and digits in groups of four; "
            "`edgehemo laboratory enrol` gives one"
        )
    return PairingCode(letters[:_HALF], letters[_HALF:])


def _beginning(certificate: bytes) -> str:
    number = int.from_bytes(hashlib.sha256(certificate).digest()[: _HALF_BITS // 8], "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(_HALF_BITS - 5, -1, -5))
