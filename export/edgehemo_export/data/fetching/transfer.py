"""Fetching one file over HTTP so that what is interrupted goes on where it stopped.

A file in transfer lies under its name with ``.part``; a small note beside it says from where, of
which size and which version. The next call asks for the rest alone (RFC 9110, section 14: ``Range``
with ``If-Range``), and begins anew where the server has another version or gives no parts.

pooch 1.9, which other projects fetch data sets with, removes what it has when a transfer breaks
off: a file of 50 MB that broke off after 40 and 45 MB took 135 MB and three calls there, 50 MB and
one call here. With its transfer, its archive digests and its unpacking replaced, nothing of it
would be left in use.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgehemo.errors import MissingDependencyError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.strict import Count, Record, RecordError
from edgehemo.version import __version__
from edgehemo_export.data.fetching.problems import DataSetError, NoSpaceError, space_watched

if TYPE_CHECKING:
    import httpx

# Called with bytes that are there and their total, None where the server does not tell it.
Progress = Callable[[int, int | None], None]

# How often a transfer is tried again that brought nothing, and how long is waited before each.
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
# A server may ask for a longer wait (Retry-After), up to this.
LONGEST_WAIT_S = 120.0
TIMEOUT_S = 30.0
# The server is busy, or something between is: worth another try.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Note(Record, frozen=True, kw_only=True):
    """What a ``.part`` is part of. version: the entity tag or the date that the server gave."""

    url: str
    version: str | None
    total: Count | None


class _InterruptedError(Exception):
    """A try that ended too soon. wait_s: how long the server asks to wait."""

    def __init__(self, said: str, wait_s: float = 0.0) -> None:
        super().__init__(said)
        self.wait_s = wait_s


@dataclass
class Transfer:
    """One file on its way. url: from where. place: where it will lie whole. tell: is told why and
    how long is waited. waits_s: before each try after one that brought nothing.
    """

    url: str
    place: Path
    progress: Progress | None = None
    tell: Callable[[str], None] | None = None
    waits_s: tuple[float, ...] = WAITS_S
    sleep: Callable[[float], None] = time.sleep
    # Of the request under way, which failed without bringing anything.
    _idle: int = field(default=0, init=False)

    @property
    def part(self) -> Path:
        """The file while it is not whole."""
        return self.place.with_name(f"{self.place.name}.part")

    @property
    def note(self) -> Path:
        """What the part is part of."""
        return self.place.with_name(f"{self.place.name}.part.json")

    def fetch(self) -> Path:
        """Get the rest of the file; its place. Raises DataSetError, and NoSpaceError where it does
        not fit, of which then nothing stays. Any other ending leaves the part for the next call.
        """
        httpx = _httpx()
        self.place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                space_watched(self.place.parent, self.place.name),
                httpx.Client(
                    follow_redirects=True,
                    timeout=TIMEOUT_S,
                    headers={
                        "User-Agent": f"edgehemo/{__version__}",
                        # As it lies there: a part of a file that is packed on the way is of no use.
                        "Accept-Encoding": "identity",
                    },
                ) as client,
            ):
                while not self._whole(client, httpx):
                    pass
        except NoSpaceError:
            self.discard()
            raise
        self.part.replace(self.place)
        self.note.unlink(missing_ok=True)
        return self.place

    def discard(self) -> None:
        """Remove what is there of it."""
        for path in (self.part, self.note):
            path.unlink(missing_ok=True)

    def _whole(self, client: httpx.Client, httpx: Any) -> bool:
        """One try. Whether the file is whole now; waits after one that brought nothing."""
        before = self._there()
        try:
            self._ask(client)
            return True
        except _InterruptedError as stopped:
            said, wait_s = str(stopped), stopped.wait_s
        except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
            raise DataSetError(f"{self.url}: cannot be fetched ({error})") from None
        except httpx.TransportError as error:
            said, wait_s = str(error) or type(error).__name__, 0.0
        if self._there() > before:
            self._idle = 0
        elif self._idle == len(self.waits_s):
            kept = f"; {_mb(before)} MB are kept" if before else ""
            raise DataSetError(
                f"{self.url}: cannot be fetched ({said}){kept}. Look at the network, then call the "
                "same command again: it goes on where it stopped"
            )
        wait_s = min(LONGEST_WAIT_S, max(wait_s, self.waits_s[self._idle]))
        if self.tell is not None:
            self.tell(f"{self.place.name}: {said}; trying again in {wait_s:.0f} s")
        self.sleep(wait_s)
        self._idle = min(self._idle + 1, len(self.waits_s))
        return False

    def _ask(self, client: httpx.Client) -> None:
        note, there = self._known(), self._there()
        asked = {}
        if note is not None and there:
            asked["Range"] = f"bytes={there}-"
            if note.version is not None:
                asked["If-Range"] = note.version
        else:
            there = 0
        with client.stream("GET", self.url, headers=asked) as answer:
            if answer.status_code == 416 and note is not None:
                if there == note.total:
                    return
                self.discard()
                raise _InterruptedError("the server has another file there now")
            if answer.status_code == 206 and "Range" in asked:
                start, total = _range_of(answer.headers.get("Content-Range", ""))
                assert note is not None
                if start != there or total != note.total:
                    self.discard()
                    raise _InterruptedError("the server has another file there now")
            elif answer.status_code == 200:
                there, total = 0, _length_of(answer.headers.get("Content-Length"))
                self._write_note(answer, total)
            else:
                raise self._refused(answer)
            self._need_room(there, total)
            self._take(answer, there, total)

    def _take(self, answer: httpx.Response, there: int, total: int | None) -> None:
        with self.part.open("r+b" if there else "wb") as file:
            file.seek(there)
            file.truncate()
            # As they come: httpx loses what it has gathered of a block when the line breaks.
            for block in answer.iter_raw():
                file.write(block)
                there += len(block)
                if self.progress is not None:
                    self.progress(there, total)
        if total is not None and there != total:
            raise _InterruptedError(f"it broke off after {there} of {total} bytes")

    def _refused(self, answer: httpx.Response) -> Exception:
        status = answer.status_code
        said = f"the server answered {status} {answer.reason_phrase}".rstrip()
        if status in _PASSING:
            asked = answer.headers.get("Retry-After", "")
            return _InterruptedError(said, float(asked) if asked.isdecimal() else 0.0)
        return DataSetError(f"{self.url}: cannot be fetched ({said})")

    def _need_room(self, there: int, total: int | None) -> None:
        if total is None:
            return
        free = shutil.disk_usage(self.place.parent).free
        needed = total - there
        if needed > free:
            raise NoSpaceError(
                f"{self.place.parent}: {self.place.name} needs {_mb(needed)} MB and {_mb(free)} MB "
                "are free. Free some and call the same command again, or give another folder with "
                "--data"
            )

    def _there(self) -> int:
        with contextlib.suppress(OSError):
            return self.part.stat().st_size
        return 0

    def _known(self) -> Note | None:
        """The note on the part, None where there is none, or one of another address.

        A part whose version nobody told is gone on with only where its size is known: a file that
        was changed meanwhile mostly has another.
        """
        try:
            note = Note.model_validate(msgspec.json.decode(self.note.read_bytes()))
        except (OSError, RecordError, msgspec.DecodeError):
            return None
        if note.url != self.url or (note.version is None and note.total is None):
            return None
        return note

    def _write_note(self, answer: httpx.Response, total: int | None) -> None:
        tag = answer.headers.get("ETag", "")
        # A weak tag says that two files mean the same, not that their bytes are the same.
        strong = tag if tag and not tag.startswith("W/") else None
        version = strong or answer.headers.get("Last-Modified")
        note = Note(url=self.url, version=version, total=total)
        # The part of what was there before goes first: the new note is not on it.
        self.part.unlink(missing_ok=True)
        write_text_atomically(self.note, note.model_dump_json())


def _httpx() -> Any:
    try:
        import httpx  # noqa: PLC0415  an optional part, and only fetching needs it
    except ImportError:
        raise MissingDependencyError(
            'fetching data sets needs httpx: pip install ".[host]"'
        ) from None
    return httpx


def _range_of(said: str) -> tuple[int | None, int | None]:
    """First byte and whole size of a ``Content-Range``."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", said.strip())
    return (int(found[1]), int(found[2])) if found else (None, None)


def _length_of(said: str | None) -> int | None:
    return int(said) if said is not None and said.isdecimal() else None


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f}"
