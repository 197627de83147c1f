"""What the server and PostgreSQL take of the machine, read from ``/proc``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Process:
    """One as it is now. began: in ticks since the machine's start; with the number it names it."""

    number: int
    parent: int
    ticks: int
    began: int
    memory_bytes: int


def processes() -> Iterator[Process]:
    """All of them."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            after = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            yield Process(
                int(path.parent.name), int(after[1]), int(after[11]) + int(after[12]),
                int(after[19]), int(after[21]) * _PAGE,
            )  # fmt: skip


@dataclass
class Usage:
    """server, database: give the number of the process that runs now, None where none does."""

    server: Callable[[], int | None]
    database: Callable[[], int | None]
    begun_s: float = field(default_factory=time.monotonic)
    # (process, its beginning) -> its ticks: what ended keeps those that were last seen.
    _ticks: dict[str, dict[tuple[int, int], int]] = field(
        default_factory=lambda: {"server": {}, "database": {}}
    )
    # Of the server: second of the run, process, bytes.
    memory: list[tuple[float, int, int]] = field(default_factory=list)

    def look(self) -> None:
        """Once."""
        server, database = self.server(), self.database()
        for each in processes():
            if each.number == server:
                self._ticks["server"][each.number, each.began] = each.ticks
                self.memory.append(
                    (time.monotonic() - self.begun_s, each.number, each.memory_bytes)
                )
            elif database is not None and database in (each.number, each.parent):
                self._ticks["database"][each.number, each.began] = each.ticks

    async def watch(self) -> None:
        """Again and again, until it is cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(_EVERY_S)

    def cpu_s(self, whose: str) -> float:
        """CPU seconds so far, of every process that it was."""
        return round(sum(self._ticks[whose].values()) / _TICKS, 1)

    def memory_by_minute(self) -> list[float]:
        """The most that the server had in each minute, in MB."""
        found: dict[int, int] = {}
        for second, _, size in self.memory:
            minute = int(second // 60)
            found[minute] = max(found.get(minute, 0), size)
        return [round(found[minute] / 1e6, 1) for minute in sorted(found)]

    def memory_slope(self, from_s: float) -> tuple[float, float]:
        """Of the last server after a second of the run: MB an hour by least squares, and over how
        many minutes.
        """
        last = self.memory[-1][1]
        points = [(second, size) for second, own, size in self.memory if own == last]
        points = [point for point in points if point[0] >= from_s]
        if len(points) < 3:
            return 0.0, 0.0
        mean_s = sum(second for second, _ in points) / len(points)
        mean = sum(size for _, size in points) / len(points)
        above = sum((second - mean_s) * (size - mean) for second, size in points)
        below = sum((second - mean_s) ** 2 for second, _ in points)
        minutes = (points[-1][0] - points[0][0]) / 60
        return round(above / below * 3600 / 1e6, 2), round(minutes, 1)
