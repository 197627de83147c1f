"""Writes a package's JSON Schemas from its table of documents, or checks that they are current."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD
from edgehemo.files.atomic import dump_json, write_text_atomically
from edgehemo.files.json_schema import Document, json_schema

PATTERN = "*.schema.json"


def published(documents: Sequence[Document]) -> dict[str, str]:
    """The text of every schema file, by its name."""
    return {document.file_name: dump_json(json_schema(document)) for document in documents}


def stale(documents: Sequence[Document], folder: Path) -> list[str]:
    """Names of the files in ``folder`` that are missing, outdated, or of no document."""
    wanted = published(documents)
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob(PATTERN)}
    return sorted(
        name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
    )


def main(
    documents: Sequence[Document], folder: Path, arguments: Sequence[str] | None = None
) -> None:
    """The command line: write the schemas, or with ``--check`` name those that are not current."""

    @click.command()
    @click.option("--check", is_flag=True, help="Write nothing; exit code 1 when one is outdated.")
    def schemas(check: bool) -> int:
        """Make this package's JSON Schemas from its records."""
        outdated = stale(documents, folder)
        if check:
            for name in outdated:
                click.echo(f"{folder / name}: not current; run `make schemas`", err=True)
            return EXIT_WITHHELD if outdated else EXIT_DONE
        wanted = published(documents)
        for name in outdated:
            if name in wanted:
                write_text_atomically(folder / name, wanted[name])
            else:
                (folder / name).unlink()
            click.echo(folder / name)
        return EXIT_DONE

    raise SystemExit(schemas(arguments, standalone_mode=False))
