"""A reader in a process of its own, and what becomes of an item that ends it."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgehemo.images.child import Child, ChildEndedError, ChildLateError
from edgehemo_laboratory.errors import LaboratoryError, StorageError

READER = "edgehemo_laboratory.archive.reader_process"
# A reader opens the bundle's models.
_OPENING_S = 180.0


class ReaderBrokenError(LaboratoryError):
    """No reader can be started: nothing can be read here."""


@dataclass(frozen=True, slots=True)
class ReaderSetting:
    """How a reader is started. limit_s: what one item may take. tries: how often an item that ends
    its reader, or that fails, is begun. module: what runs.
    """

    archive: str
    bundle: str | None
    bundle_sha256: str
    networks: tuple[str, ...]
    limit_s: float
    tries: int
    module: str = READER


class Reader:
    """One reader, started when it is first asked and again after it ended."""

    def __init__(self, setting: ReaderSetting) -> None:
        self._setting = setting
        self._child: Child | None = None
        # How often it was started anew because an item ended it.
        self.restarted = 0

    def ask(
        self, what: str, ask: Mapping[str, Any], body: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        """The row of an item, and what was read of it, compressed.

        An item that ends its reader, or that it fails on, is begun ``tries`` times and then set
        aside: ``status``, ``error_kind`` (crash, time limit, error, missing), ``error``. Raises
        StorageError where the archive cannot be reached, ReaderBrokenError.
        """
        kind = said = ""
        for tried in range(1, self._setting.tries + 1):
            try:
                row, blob = self._asked({**ask, "what": what}, body)
            except ChildLateError:
                kind, said = "time limit", f"it took longer than {self._setting.limit_s:g} s"
                self._ended()
            except ChildEndedError:
                kind, said = "crash", self._why_ended()
                self._ended()
            else:
                if "storage" in row:
                    raise StorageError(row["storage"])
                if "status" in row:
                    return {**row, "tries": tried}, blob
                ((kind, said),) = row.items()
        aside = {"status": "set aside", "error_kind": kind, "error": said}
        return {**aside, "tries": self._setting.tries}, b""

    def rss_bytes(self) -> int:
        """What memory the reader holds; 0 where none runs."""
        if self._child is None:
            return 0
        with (
            contextlib.suppress(OSError, ValueError),
            open(  # noqa: PTH123
                f"/proc/{self._child.pid}/statm", encoding="ascii"
            ) as file,
        ):
            return int(file.read().split()[1]) * 4096
        return 0

    def close(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def _asked(self, ask: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        child = self._running()
        until = time.monotonic() + self._setting.limit_s
        head = json.dumps(ask).encode()
        child.write_line({"head": len(head), "body": len(body)}, until)
        child.write(head + body, until)
        told = child.read_line(until)
        answer = bytearray(told["head"] + told["body"])
        child.read_into(memoryview(answer), until)
        row: dict[str, Any] = json.loads(answer[: told["head"]])
        return row, bytes(answer[told["head"] :])

    def _running(self) -> Child:
        if self._child is not None and self._child.running:
            return self._child
        self.close()
        setting = self._setting
        wanted = {
            "archive": setting.archive,
            "bundle": setting.bundle,
            "bundle_sha256": setting.bundle_sha256,
            "networks": list(setting.networks),
        }
        try:
            child = Child(
                setting.module,
                [json.dumps(wanted)],
                environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        except (OSError, MemoryError, ChildEndedError, ChildLateError) as error:
            raise ReaderBrokenError(f"no reader can be started ({type(error).__name__})") from None
        try:
            told = child.read_line(time.monotonic() + _OPENING_S)
        except (ChildEndedError, ChildLateError):
            child.end()
            raise ReaderBrokenError("a reader ended before it had opened the bundle") from None
        if "broken" in told:
            child.end()
            raise ReaderBrokenError(str(told["broken"]))
        self._child = child
        return child

    def _why_ended(self) -> str:
        status = None if self._child is None else self._child.exit_status(1.0)
        if status is None or status >= 0:
            return f"the reader ended by itself, exit status {status}"
        with contextlib.suppress(ValueError):
            return f"the reader was ended by {signal.Signals(-status).name}"
        return f"the reader was ended by signal {-status}"

    def _ended(self) -> None:
        self.restarted += 1
        self.close()
