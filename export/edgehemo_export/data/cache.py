"""One disk cache for prepared data: what was made once from pictures or drawn is read again.

An entry is one file of arrays under a digest of everything that its content depends on: the kind
of content and its version (`VERSIONS`), the versions of this software and of OpenCV, and what the
caller names:
contents of files (`content_of`), labels, options, the digest of a bundle. So other labels or
another finder never meet old content.

Several processes may prepare the same thing at once (torchrun starts one a device): the first one
makes it, the others wait and read. An entry is published whole, by a rename; what a killed process
left half written is never read, and removed by who makes the entry next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.version import __version__

Kind = Literal[
    "canonical-field",
    "cell-crops",
    "cell-masks",
    "drawn-cells",
    "field-tiles",
    "isolated-cells",
    "screen-field",
    "simulated-field",
    "simulated-sample",
    "simulated-tiles",
    "study-patient",
]
# Raise a kind's number when the code that prepares it gives something else for the same input.
VERSIONS: Mapping[Kind, int] = {
    "canonical-field": 1,
    "cell-crops": 1,
    "cell-masks": 1,
    "drawn-cells": 1,
    "field-tiles": 1,
    "isolated-cells": 1,
    "screen-field": 1,
    "simulated-field": 1,
    "simulated-sample": 1,
    "simulated-tiles": 1,
    "study-patient": 1,
}
Arrays = Mapping[str, NDArray[Any]]

_KEY = "__key__"
_NAME_DIGITS = 32


def prepared(
    cache: Path | None, kind: Kind, depends_on: Mapping[str, Any], make: Callable[[], Arrays]
) -> Arrays:
    """The arrays that ``make`` gives for what they depend on, from the cache where it holds them.

    cache: its folder; None makes them anew. depends_on: everything the content depends on beside
    the code: numbers, strings, arrays, configurations, contents of files; TypeError for anything
    whose value cannot be told. What ``make`` raises passes through, and nothing is stored.
    """
    if cache is None:
        return make()
    key = key_of(kind, depends_on)
    path = entry_path(cache, kind, key)
    found = _read(path, key)
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        found = _read(path, key)  # who held the lock before may have made it
        if found is not None:
            return found
        for left in path.parent.glob(f".{path.name}.*.part"):
            left.unlink(missing_ok=True)
        made = make()
        write_bytes_atomically(path, _packed(made, key))
    return made


def key_of(kind: Kind, depends_on: Mapping[str, Any]) -> str:
    """The digest an entry goes by, SHA-256 in hexadecimal."""
    whole = {
        "kind": kind,
        "version": VERSIONS[kind],
        "software": [__version__, cv2.__version__],
        "of": depends_on,
    }
    text = json.dumps(_plain(whole), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def entry_path(cache: Path, kind: Kind, key: str) -> Path:
    """Where an entry lies."""
    return cache / kind / f"{key[:_NAME_DIGITS]}.npz"


def content_of(path: Path) -> str:
    """SHA-256 of a file's content; read again when its size or time of change is another."""
    status = path.stat()
    return _content(str(path), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=100_000)
def _content(path: str, _size: int, _mtime_ns: int, _inode: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON can hold it, the same for equal values alone."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return ["array", value.dtype.str, list(value.shape), digest]
    if isinstance(value, BaseModel):
        return _plain(value.model_dump())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return ["set", sorted(json.dumps(_plain(item)) for item in value)]
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    raise TypeError(f"a cache entry cannot depend on a {type(value).__name__}: give its content")


def _packed(arrays: Arrays, key: str) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{_KEY: np.array(key)}, **arrays)
    return buffer.getvalue()


def _read(path: Path, key: str) -> Arrays | None:
    """The arrays of an entry; None where there is none, or a damaged one, or another key's."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored[_KEY]) != key:
                return None
            return {name: stored[name] for name in stored.files if name != _KEY}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One maker of an entry at a time. The lock ends with the process, also when it is killed."""
    lock = path.with_name(f".{path.name}.lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        # Who waits for this very file finds the entry; who comes later finds it without a lock.
        lock.unlink(missing_ok=True)
    finally:
        os.close(handle)
