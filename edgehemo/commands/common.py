"""What the commands share: options, reading images one by one, progress, and JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehemo.commands.progress import Progress as Progress
from edgehemo.commands.progress import tell as tell
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, FieldError
from edgehemo.files.atomic import dump_json, write_text_atomically

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame

log = logging.getLogger(__name__)

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
    help="Scale of the images, where the profile does not give it.",
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
    log.info("%d images, %d cannot be read", len(entries), sum("error" in e for e in entries))
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
