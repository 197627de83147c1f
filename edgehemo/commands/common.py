"""What the commands share: options, reading images one by one, progress, and JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edgehemo.commands.progress import Progress as Progress
from edgehemo.commands.progress import tell as tell
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, FieldError
from edgehemo.files.atomic import dump_json, write_text_atomically
from edgehemo.files.names import for_terminal

if TYPE_CHECKING:
    from edgehemo.capture.protocol import FailedSource
    from edgehemo.files.strict import Record
    from edgehemo.images.frame import Frame

log = logging.getLogger(__name__)

STDOUT = "-"
# What a command says of one image.
Entry = TypeVar("Entry", bound="Record")

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
    help="Scale of the images, where the profile does not give it.",
)
images_argument = click.argument("images", metavar="IMAGE...", nargs=-1, required=True)


def read_each(
    sources: Iterable[str], read: Callable[[Frame], Entry], doing: str
) -> list[Entry | FailedSource]:
    """One entry an image in the order given; an unreadable one is ``{image, error}``.

    Each unreadable one is also one line on standard error; the rest goes on.
    """
    from edgehemo.capture import FailedSource, frames

    entries: list[Entry | FailedSource] = []
    sources = list(sources)
    with Progress(doing, total_of(sources)) as progress:
        for item in frames(sources):
            if isinstance(item, FailedSource):
                entries.append(failed(item.image, item.error))
            else:
                try:
                    entries.append(read(item))
                except FieldError as error:
                    entries.append(failed(item.source, str(error)))
            progress.advance()
    unread = sum(isinstance(entry, FailedSource) for entry in entries)
    log.info("%d images, %d cannot be read", len(entries), unread)
    return entries


def total_of(sources: Sequence[str]) -> int | None:
    """How many images there are to do, None where nobody knows; says which folders are not read."""
    from edgehemo.capture.folders import count_of, folders_left_out

    for line in folders_left_out(sources):
        complain(line)
    return count_of(sources)


def failed(image: str, error: str) -> FailedSource:
    """The entry of an unreadable image, said on standard error as well."""
    from edgehemo.capture import FailedSource

    complain(error)
    return FailedSource(image, error)


def complain(error: str) -> None:
    """One line on standard error, as every complaint of the command line looks."""
    click.echo(for_terminal(f"edgehemo: {' '.join(error.split())}"), err=True)


def readable(entries: Iterable[Entry | FailedSource]) -> Iterator[Entry]:
    """The entries that are not errors."""
    from edgehemo.capture import FailedSource

    return (entry for entry in entries if not isinstance(entry, FailedSource))


def exit_code(entries: Iterable[object], *, withheld: bool) -> int:
    """2 where any input could not be read, else 1 where something was withheld, else 0."""
    from edgehemo.capture import FailedSource

    if any(isinstance(entry, FailedSource) for entry in entries):
        return EXIT_BAD_INPUT
    return EXIT_WITHHELD if withheld else EXIT_DONE


def write_json(json_file: str | None, output: Record) -> None:
    """Write the command's JSON where ``--json`` asks for it; NaN and infinity become null."""
    if json_file is None:
        return
    text = dump_json(output.model_dump())
    if json_file == STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_text_atomically(Path(json_file), text)


def say(line: str, json_file: str | None = None) -> None:
    """A line for people on standard output, unless the JSON goes there."""
    if json_file != STDOUT:
        click.echo(for_terminal(line))
