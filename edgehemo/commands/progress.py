"""Where long work is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import click

from edgehemo.commands.logs import wanted
from edgehemo.files.names import for_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

# A bar appears on what takes longer than this.
PROGRESS_AFTER_S = 1.0
# Where there is no terminal, a line is written after so long, then after each tenth or half
# minute, and never sooner after the last one: a log of a day's work stays readable.
PLAIN_AFTER_S = 10.0
PLAIN_EVERY_S = 30.0
PLAIN_SHARE = 0.1

T = TypeVar("T")


class Progress:
    """Tells on standard error how far work is; nothing where ``-q`` was given.

    doing: a word or two (``screening``). total: how much there is, None where nobody knows. long:
    known to take long, so that its beginning is told too.
    """

    def __init__(self, doing: str, total: int | None = None, *, long: bool = False) -> None:
        asked = wanted()
        self._doing = doing
        self._total = total
        self._done = 0
        self._quiet = asked.quiet
        self._told_from_the_start = long or asked.verbose > 0
        self._started_s = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        # When the last plain line was written, None before the first, and what was done then.
        self._told_s: float | None = None
        self._told_done = 0

    def __enter__(self) -> Self:
        if self._told_from_the_start and not self._quiet and not sys.stderr.isatty():
            of = "" if self._total is None else f", {self._total} to do"
            self._tell(f"{self._doing} begins{of}", self._started_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._told_s is not None and error is None:
            now_s = time.monotonic()
            self._tell(f"{self._doing} done: {self._done}, {now_s - self._started_s:.0f} s", now_s)

    def advance(self, note: str = "") -> None:
        """One more is done; ``note`` is shown beside the bar."""
        self.reach(self._done + 1, note)

    def reach(self, done: int, note: str = "") -> None:
        """So many are done in all."""
        self._done = done
        if self._quiet:
            return
        if self._bar is None:
            now_s = time.monotonic()
            if not sys.stderr.isatty():
                if self._line_is_due(now_s):
                    self._tell(self._line(now_s, note), now_s)
                return
            if now_s - self._started_s <= PROGRESS_AFTER_S:
                return
            self._bar = _bar()
            self._task = self._bar.add_task(self._doing, total=self._total)
            self._bar.start()
        if self._task is not None:
            described = for_terminal(f"{self._doing} {note}".rstrip())
            self._bar.update(self._task, completed=self._done, description=described)

    def _line_is_due(self, now_s: float) -> bool:
        if self._told_s is None:
            return now_s - self._started_s > PLAIN_AFTER_S
        waited_s = now_s - self._told_s
        if waited_s <= PLAIN_AFTER_S:
            return False
        tenth = self._total is not None and self._done - self._told_done >= (
            PLAIN_SHARE * self._total
        )
        return tenth or waited_s >= PLAIN_EVERY_S

    def _line(self, now_s: float, note: str) -> str:
        of = ""
        if self._total:
            of = f" of {self._total} ({100 * self._done // self._total} %)"
        beside = f", {note}" if note else ""
        return f"{self._doing}: {self._done}{of}, {now_s - self._started_s:.0f} s{beside}"

    def _tell(self, line: str, now_s: float) -> None:
        click.echo(for_terminal(line), err=True)
        self._told_s, self._told_done = now_s, self._done


def tracked(items: Iterable[T], doing: str, total: int, *, shown: bool = True) -> Iterator[T]:
    """The items, telling how far they are used up; ``shown`` False tells nothing."""
    if not shown:
        yield from items
        return
    with Progress(doing, total) as progress:
        for item in items:
            yield item
            progress.advance()


def tell(line: str) -> None:
    """A line on what is being done, on standard error; nothing where ``-q`` was given."""
    if not wanted().quiet:
        click.echo(for_terminal(line), err=True)


def _bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
