"""Seals on profiles and control histories: whether somebody changed them by hand.

`edgehemo calibrate` seals what it writes with this machine's sealing key (Ed25519, as bundles are
signed). The key lies in its own folder beside the keys that sign bundles, so that it signs none.
A profile that another machine calibrated is known by that machine's public half in the same
folder, or by a laboratory's key that this device trusts. A seal tells a change by hand. It does
not keep out who can read the private half.
"""

from __future__ import annotations

import base64
import binascii
import logging
from typing import Literal

from edgehemo.bundle.signatures import (
    PRIVATE_SUFFIX,
    PUBLIC_SUFFIX,
    PrivateKey,
    PublicKey,
    is_signed_by,
    key_folders,
    new_key,
    own_key_folder,
    read_private_key,
    read_public_key,
    signed_with,
    trusted_keys,
)
from edgehemo.errors import UsageError
from edgehemo.files.strict import Record, Text

log = logging.getLogger(__name__)

# Beside the keys of bundles, and not among them.
SEALS_FOLDER = "seals"
SEALING_KEY = "sealing"
# none: not sealed. sealed: as it was written. foreign: sealed by a key that this device does not
# know, so that nothing can be told. broken: changed since it was sealed.
SealState = Literal["none", "sealed", "foreign", "broken"]


class Seal(Record, frozen=True, kw_only=True):
    """key: identifier of the sealing key. signature: of the content, base64."""

    key: Text
    signature: Text


def sealed_content(content: bytes) -> Seal | None:
    """A seal by this machine's key, made where there is none; None where none can be kept."""
    key = _sealing_key()
    if key is None:
        return None
    raw = signed_with(content, key)
    return Seal(key=key.public.identifier, signature=base64.b64encode(raw).decode())


def sealing_key() -> PublicKey | None:
    """The public half of this machine's sealing key, made where there is none; None as above."""
    key = _sealing_key()
    return None if key is None else key.public


def seal_state(content: bytes, seal: Seal | None) -> SealState:
    """Whether ``content`` is what was sealed."""
    if seal is None:
        return "none"
    key = _known_keys().get(seal.key)
    if key is None:
        return "foreign"
    try:
        raw = base64.b64decode(seal.signature, validate=True)
    except (ValueError, binascii.Error):
        return "broken"
    return "sealed" if is_signed_by(content, raw, key) else "broken"


def _sealing_key() -> PrivateKey | None:
    folder = own_key_folder() / SEALS_FOLDER
    path = folder / f"{SEALING_KEY}{PRIVATE_SUFFIX}"
    try:
        if not path.exists():
            new_key(folder, SEALING_KEY)
        return read_private_key(path)
    except (OSError, UsageError) as error:
        log.warning("not sealed: %s", error)
        return None


def _known_keys() -> dict[str, PublicKey]:
    """The sealing keys known here, and the keys that bundles are trusted by."""
    own = [
        read_public_key(path)
        for folder in key_folders()
        for path in sorted((folder / SEALS_FOLDER).glob(f"*{PUBLIC_SUFFIX}"))
    ]
    return {key.identifier: key for key in (*trusted_keys(), *own)}
