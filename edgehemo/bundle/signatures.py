"""Ed25519 signatures over a bundle's manifest, which holds the digest of every file.

A laboratory makes a key pair with `edgehemo keys new`. The private half stays with whoever exports
bundles and never lies in one; the public half goes into the key folder of each device. Keys are
one line of text: a word that says what it is, the key in base64, a name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgehemo.errors import BundleError, MissingDependencyError, UsageError
from edgehemo.files.atomic import write_text_atomically, written_atomically
from edgehemo.files.folders import SYSTEM_FOLDER, user_folder
from edgehemo.files.lock import locked

SIGNATURE_SCHEMA = "edgehemo.signature/1"
KEYS_VARIABLE = "EDGEHEMO_KEYS"
SYSTEM_KEYS = SYSTEM_FOLDER / "keys"
PUBLIC_SUFFIX, PRIVATE_SUFFIX = ".pub", ".key"
DEFAULT_KEY_NAME = "signing"
_PUBLIC_WORD, _PRIVATE_WORD = "edgehemo-ed25519-public", "edgehemo-ed25519-private"
_KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class PublicKey:
    """raw: 32 bytes. name: as its file says."""

    raw: bytes
    name: str

    @property
    def identifier(self) -> str:
        """The first 16 hexadecimal digits of the key's SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def line(self) -> str:
        """As it stands in a file."""
        return f"{_PUBLIC_WORD} {base64.b64encode(self.raw).decode()} {self.name}\n"


@dataclass(frozen=True)
class PrivateKey:
    """seed: 32 bytes, secret; not shown by repr."""

    seed: bytes
    name: str

    def __repr__(self) -> str:
        return f"PrivateKey({self.name})"

    @property
    def public(self) -> PublicKey:
        return PublicKey(bytes(_nacl().SigningKey(self.seed).verify_key), self.name)

    @property
    def line(self) -> str:
        """As it stands in a file that only its owner may read."""
        return f"{_PRIVATE_WORD} {base64.b64encode(self.seed).decode()} {self.name}\n"


def key_folders() -> tuple[Path, ...]:
    """Where trusted public keys lie: the folder EDGEHEMO_KEYS names, else system and user."""
    named = os.environ.get(KEYS_VARIABLE)
    if named:
        return (Path(named),)
    return (SYSTEM_KEYS, user_folder("config") / "keys")


def own_key_folder() -> Path:
    """The folder among `key_folders` that belongs to this user."""
    return key_folders()[-1]


def trusted_keys() -> list[PublicKey]:
    """All public keys of the key folders; UsageError names a file that is none."""
    return [
        read_public_key(path)
        for folder in key_folders()
        for path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))
    ]


def remove_trusted(wanted: str) -> tuple[PublicKey, Path]:
    """Remove the one trusted key of this identifier or name; what it was and where it lay.

    UsageError where none or several have it, or its file cannot be removed.
    """
    found = [
        (key, path)
        for folder in key_folders()
        for path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))
        if wanted in ((key := read_public_key(path)).identifier, key.name)
    ]
    if not found:
        raise UsageError(f"no trusted key is called {wanted!r}; `edgehemo keys list` shows them")
    if len(found) > 1:
        named = ", ".join(f"{key.identifier} ({path})" for key, path in found)
        raise UsageError(
            f"{len(found)} trusted keys are called {wanted!r}: {named}; remove one file"
        )
    key, path = found[0]
    try:
        path.unlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be removed ({error.strerror})") from None
    return key, path


def new_key(folder: Path, name: str) -> tuple[Path, PublicKey]:
    """Make a key pair in a folder; the path of the private half. UsageError if the name is taken.

    The private half can be read by its owner only. Its public half beside it makes this machine
    trust it.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r}: a key's name is letters, digits, '.', '_' and '-'")
    private_path = folder / f"{name}{PRIVATE_SUFFIX}"
    public_path = folder / f"{name}{PUBLIC_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(private_path, UsageError):
        if public_path.exists():
            raise UsageError(f"{public_path} exists already; choose another --name")
        # Without a public half: an earlier call was interrupted between the two and is finished.
        if private_path.exists() and not _is_half(private_path):
            key = replace(read_private_key(private_path), name=name)
        else:
            key = PrivateKey(os.urandom(_KEY_BYTES), name)
            with written_atomically(private_path, private=True) as file:
                file.write(key.line.encode("utf-8"))
        write_text_atomically(public_path, key.public.line)
    return private_path, key.public


def _is_half(path: Path) -> bool:
    """Whether a file holds the beginning of a private key and no more."""
    data = path.read_bytes()[:1000]
    word = f"{_PRIVATE_WORD} ".encode()
    whole = len(word) + len(base64.b64encode(bytes(_KEY_BYTES)))
    return len(data) < whole and data[: len(word)] == word[: len(data)]


def read_public_key(path: Path) -> PublicKey:
    """UsageError where the file holds no public key."""
    raw, name = _read_line(path, _PUBLIC_WORD, "public")
    return PublicKey(raw, name)


def read_private_key(path: Path) -> PrivateKey:
    """UsageError where the file holds no private key."""
    seed, name = _read_line(path, _PRIVATE_WORD, "private")
    return PrivateKey(seed, name)


def signature_text(manifest: bytes, key: PrivateKey) -> str:
    """The signature file of a manifest, JSON of `SIGNATURE_SCHEMA`."""
    signed = _nacl().SigningKey(key.seed).sign(manifest).signature
    record = {
        "schema": SIGNATURE_SCHEMA,
        "algorithm": "ed25519",
        "key": key.public.identifier,
        "signature": base64.b64encode(signed).decode(),
    }
    return json.dumps(record, indent=2) + "\n"


def signed_with(content: bytes, key: PrivateKey) -> bytes:
    """The signature of any content, 64 bytes."""
    return bytes(_nacl().SigningKey(key.seed).sign(content).signature)


def is_signed_by(content: bytes, signature: bytes, key: PublicKey) -> bool:
    """Whether the private half of ``key`` signed exactly this content."""
    nacl = _nacl()
    from nacl.exceptions import BadSignatureError

    try:
        nacl.VerifyKey(key.raw).verify(content, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def check_signature(
    manifest: bytes, signature: bytes, origin: str, also: Sequence[PublicKey] = ()
) -> PublicKey:
    """The trusted key that signed a manifest; BundleError where there is none.

    origin: the bundle's name in messages. also: keys that are trusted beside this machine's.
    """
    stored = _signature_record(signature, origin)
    keys = {key.identifier: key for key in (*trusted_keys(), *also)}
    key = keys.get(str(stored["key"]))
    if key is None:
        where = " or ".join(str(folder) for folder in key_folders())
        raise BundleError(
            f"{origin}: signed with the key {stored['key']}, which this device does not trust; "
            f"put its public half into {where} if you trust it"
        )
    nacl = _nacl()
    from nacl.exceptions import BadSignatureError

    try:
        raw = base64.b64decode(str(stored["signature"]), validate=True)
        nacl.VerifyKey(key.raw).verify(manifest, raw)
    except (BadSignatureError, ValueError, binascii.Error):
        raise BundleError(
            f"{origin}: the signature does not fit the manifest: one of them was changed; "
            "install the bundle again from where it was made"
        ) from None
    return key


def _signature_record(signature: bytes, origin: str) -> dict[str, Any]:
    try:
        record = json.loads(signature)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("schema") != SIGNATURE_SCHEMA:
        raise BundleError(
            f"{origin}: its signature is not an {SIGNATURE_SCHEMA} signature; install it again"
        )
    if record.get("algorithm") != "ed25519" or not {"key", "signature"} <= record.keys():
        raise BundleError(f"{origin}: its signature is incomplete; install it again")
    return record


def _read_line(path: Path, word: str, what: str) -> tuple[bytes, str]:
    try:
        with path.open(encoding="utf-8") as file:
            parts = file.read(1000).split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise UsageError(f"{path}: {reason}; no {what} key can be read from it") from None
    if len(parts) < 2 or parts[0] != word:
        hint = "its private half" if parts[:1] == [_PRIVATE_WORD] else "something else"
        hint = "its public half" if parts[:1] == [_PUBLIC_WORD] else hint
        raise UsageError(
            f"{path}: is not a {what} key made by `edgehemo keys new`; it holds {hint}"
        )
    try:
        raw = base64.b64decode(parts[1], validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise UsageError(f"{path}: is a damaged {what} key; copy it again")
    return raw, parts[2] if len(parts) > 2 else path.stem


def _nacl() -> Any:
    try:
        import nacl.signing
    except ImportError:
        raise MissingDependencyError(
            "bundle signatures need PyNaCl, which is not installed: pip install pynacl"
        ) from None
    return nacl.signing
