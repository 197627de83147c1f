"""What the commands share: options, reading images one by one, progress, and JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, FieldError
from edgehemo.files.atomic import dump_json, write_text_atomically

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from edgehemo.images.frame import Frame

# A progress bar appears on what takes longer than this.
PROGRESS_AFTER_S = 1.0
STDOUT = "-"

json_option = click.option(
    "--json", "json_file", metavar="FILE", help="Write JSON to FILE, - for standard output."
)
bundle_option = click.option(
    "--bundle",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Model bundle instead of the shipped one.",
)
profile_option = click.option(
    "--profile",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Calibration profile of this microscope.",
)
scale_option = click.option(
    "--um-per-px",
    type=click.FloatRange(min=0, min_open=True),
    help="Scale of the images, where no profile says it.",
)
images_argument = click.argument("images", metavar="IMAGE...", nargs=-1, required=True)


def read_each(
    sources: Iterable[str], read: Callable[[Frame], dict[str, Any]], doing: str
) -> list[dict[str, Any]]:
    """One entry an image in the order given; an unreadable one is ``{image, error}``.

    Each unreadable one is also one line on standard error; the rest goes on.
    """
    from edgehemo.capture import FailedSource, frames

    entries = []
    with Progress(doing) as progress:
        for item in frames(list(sources)):
            if isinstance(item, FailedSource):
                entries.append(failed(item.image, item.error))
            else:
                try:
                    entries.append({"image": item.source, **read(item)})
                except FieldError as error:
                    entries.append(failed(item.source, str(error)))
            progress.advance()
    return entries


def failed(image: str, error: str) -> dict[str, Any]:
    """The entry of an unreadable image, said on standard error as well."""
    complain(error)
    return {"image": image, "error": error}


def complain(error: str) -> None:
    """One line on standard error, as every complaint of the command line looks."""
    click.echo(f"edgehemo: {' '.join(error.split())}", err=True)


def readable(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The entries that are not errors."""
    return (entry for entry in entries if "error" not in entry)


def exit_code(entries: Iterable[dict[str, Any]], *, withheld: bool) -> int:
    """2 where any input could not be read, else 1 where something was withheld, else 0."""
    if any("error" in entry for entry in entries):
        return EXIT_BAD_INPUT
    return EXIT_WITHHELD if withheld else EXIT_DONE


def write_json(json_file: str | None, command: str, content: dict[str, Any]) -> None:
    """Write the command's JSON with its schema where ``--json`` asks for it."""
    write_record(json_file, {"schema": f"edgehemo.{command}/1", **content})


def write_record(json_file: str | None, record: dict[str, Any]) -> None:
    """Write a record that names its schema already where ``--json`` asks for it."""
    if json_file is None:
        return
    text = dump_json(record)
    if json_file == STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_text_atomically(Path(json_file), text)


def say(line: str, json_file: str | None = None) -> None:
    """A line for people on standard output, unless the JSON goes there."""
    if json_file != STDOUT:
        click.echo(line)


class Progress:
    """A progress bar on standard error: only on a terminal, only after `PROGRESS_AFTER_S`."""

    def __init__(self, doing: str, total: int | None = None) -> None:
        self._doing = doing
        self._total = total
        self._done = 0
        self._started_s = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, note: str = "") -> None:
        """One more is done; ``note`` is shown beside the bar."""
        self._done += 1
        if self._bar is None:
            late = time.monotonic() - self._started_s > PROGRESS_AFTER_S
            if not (late and sys.stderr.isatty()):
                return
            self._bar = _bar()
            self._task = self._bar.add_task(self._doing, total=self._total)
            self._bar.start()
        if self._task is not None:
            described = f"{self._doing} {note}".rstrip()
            self._bar.update(self._task, completed=self._done, description=described)


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
