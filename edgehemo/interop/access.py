"""How the sender comes to the records: through the kiosk's writer, or by opening them itself.

One process writes the records at a time. Beside a kiosk its writer is shared by threads; alone, the
records are opened for the moments in which something is written, so that a command that screens is
not kept out while a receiver is waited for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from edgehemo.errors import RecordsBusyError
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Reader, Store, Writer, told

SENDER_LOCK = ".sender.lock"
# How often a writer that another process holds is tried again.
_TRY_AGAIN_S = 0.5


class SenderStoppedError(Exception):
    """The sender was told to stop: nothing is written any more."""


class Access(Protocol):
    """The records of one device, to be read and written in turns by several threads."""

    folder: RecordsFolder

    def reading(self) -> contextlib.AbstractContextManager[Reader]:
        """To be read."""

    def writing(self) -> contextlib.AbstractContextManager[Writer]:
        """To be written. Raises SenderStoppedError where it must not be any more."""

    def stop(self) -> None:
        """Let nobody write any more."""


class SharedWriter:
    """Through the writer that a kiosk holds."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._stopped = False
        self._guard = threading.RLock()
        self.folder = writer.folder

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        with self.writing() as writer:
            yield writer

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        with self._guard:
            if self._stopped:
                raise SenderStoppedError
            yield self._writer

    def stop(self) -> None:
        with self._guard:
            self._stopped = True


class OwnWriter:
    """By opening the records. A writer that another process holds is waited for; waiting: called
    once a wait begins.
    """

    def __init__(self, store: Store, waiting: Callable[[RecordsBusyError], None]) -> None:
        self._store = store
        self._waiting = waiting
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self.folder = store.folder

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        if self._stopped.is_set():
            raise SenderStoppedError
        with self._store.reader() as reader:
            yield reader

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        with self._guard, self._opened() as writer:
            yield writer

    def _opened(self) -> Writer:
        told_of_it = False
        while not self._stopped.is_set():
            try:
                return self._store.writer(brief=True)
            except RecordsBusyError as error:
                if not told_of_it:
                    told_of_it = True
                    self._waiting(error)
                self._stopped.wait(_TRY_AGAIN_S)
        raise SenderStoppedError

    def stop(self) -> None:
        self._stopped.set()


@contextlib.contextmanager
def only_sender(folder: RecordsFolder) -> Iterator[bool]:
    """Whether this process is the one that sends, for as long as the context lasts.

    The system lets go of the lock however the process ends.
    """
    with told():
        handle = os.open(
            folder.path / SENDER_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


Clock = Callable[[], float]
wall_clock: Clock = time.time
