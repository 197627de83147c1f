"""The steps of a study on the disk: each whole or not there, and made again when it is stale."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from edgehemo.errors import UsageError
from edgehemo.files.atomic import (
    dump_json,
    sha256_of_file,
    write_bytes_atomically,
    write_text_atomically,
)
from edgehemo.version import __version__

AnswerT = TypeVar("AnswerT")

PARTS = "parts"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


@dataclass(frozen=True)
class DonePart:
    """A step that was done. seconds: making it took. taken_up: it was there already."""

    name: str
    seconds: float
    taken_up: bool


@dataclass(frozen=True)
class UsedData:
    """The files a study read: how many, how large, and one digest over names and contents."""

    files: int
    bytes: int
    sha256: str


class PartStore:
    """The steps of one run below its folder.

    What a step depends on (a part of the configuration, the data, this version) is hashed; the hash
    stands in its file, and a step whose file has another is made again. begun, done: told before
    and after each step.
    """

    def __init__(
        self,
        out: Path,
        *,
        begun: Callable[[str], None] = lambda name: None,
        finished: Callable[[DonePart], None] = lambda part: None,
    ) -> None:
        self.folder = out / PARTS
        self.done: list[DonePart] = []
        self.data: UsedData | None = None
        self._begun, self._finished = begun, finished

    def use(self, root: Path, files: Iterable[Path]) -> None:
        """The data that every step depends on; once, before the first."""
        if self.data is not None:
            raise ValueError("a study says once which files it uses")
        digest = hashlib.sha256()
        count = size = 0
        for name, path in sorted((relative_name(root, path), path) for path in set(files)):
            try:
                content = sha256_of_file(path)
                size += path.stat().st_size
            except OSError as error:
                raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None
            digest.update(f"{content}  {name}\n".encode())
            count += 1
        self.data = UsedData(count, size, digest.hexdigest())

    def part(self, name: str, make: Callable[[], Any], of: object) -> Any:
        """See `StudyContext.part`."""
        key, file = self._key(name, of), self.folder / f"{name}.json"
        stored = _stored(file, key)
        if stored is None:
            seconds, answer = self._made(name, make)
            write_text_atomically(
                file, dump_json({"key": key, "seconds": seconds, "answer": answer})
            )
            stored = _stored(file, key)
            assert stored is not None, "just written"
            # What a training kept to go on from is large, and the part is done.
            shutil.rmtree(self.folder / f"{name}.work", ignore_errors=True)
            return self._told(DonePart(name, seconds, taken_up=False), stored["answer"])
        return self._told(DonePart(name, stored["seconds"], taken_up=True), stored["answer"])

    def arrays(
        self, name: str, make: Callable[[], Mapping[str, NDArray[Any]]], of: object
    ) -> dict[str, NDArray[Any]]:
        """See `StudyContext.arrays`."""
        key = self._key(name, of)
        note, file = self.folder / f"{name}.json", self.folder / f"{name}.npz"
        stored = _stored(note, key)
        if stored is not None:
            found = _arrays(file, stored["answer"]["sha256"])
            if found is not None:
                return self._told(DonePart(name, stored["seconds"], taken_up=True), found)
        seconds, made = self._made(name, make)
        whole = io.BytesIO()
        np.savez_compressed(whole, allow_pickle=False, **made)
        data = whole.getvalue()
        write_bytes_atomically(file, data)
        answer = {"sha256": hashlib.sha256(data).hexdigest()}
        write_text_atomically(note, dump_json({"key": key, "seconds": seconds, "answer": answer}))
        return self._told(DonePart(name, seconds, taken_up=False), dict(made))

    def work(self, name: str, of: object) -> Path:
        """See `StudyContext.work`."""
        key, folder = self._key(name, of), self.folder / f"{name}.work"
        mark = folder / "key"
        if not mark.is_file() or mark.read_text(encoding="utf-8") != key:
            shutil.rmtree(folder, ignore_errors=True)
            write_text_atomically(mark, key)
        return folder

    def clear_work(self) -> None:
        """Remove what parts stored on their way: all of them are done."""
        for folder in self.folder.glob("*.work"):
            shutil.rmtree(folder, ignore_errors=True)

    def _key(self, name: str, of: object) -> str:
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is no name of a part: small letters, digits, . _ -")
        if self.data is None:
            raise ValueError("a study says which files it uses before its first part")
        needs = {"version": __version__, "data": self.data.sha256, "of": plain(of)}
        return hashlib.sha256(json.dumps(needs, sort_keys=True).encode()).hexdigest()

    def _made(self, name: str, make: Callable[[], Any]) -> tuple[float, Any]:
        self._begun(name)
        start = time.monotonic()
        answer = make()
        return round(time.monotonic() - start, 2), answer

    def _told(self, part: DonePart, answer: AnswerT) -> AnswerT:
        self.done.append(part)
        self._finished(part)
        return answer


def relative_name(root: Path, path: Path) -> str:
    """A file's name below the data root, with forward slashes; its whole path elsewhere."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def plain(value: object) -> Any:
    """What can be hashed as JSON of configurations, records, tuples and numbers."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a part cannot depend on {type(value).__name__}")


def _stored(file: Path, key: str) -> dict[str, Any] | None:
    """What a part's file holds; None where it is not there, damaged, or of something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = isinstance(found, dict) and found.keys() == {"key", "seconds", "answer"}
    return found if fits and found["key"] == key else None


def _arrays(file: Path, digest: str) -> dict[str, NDArray[Any]] | None:
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != digest:
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}
