"""``python -m edgehemo_export.languages [--check]``."""

from __future__ import annotations

import sys

import click

from edgehemo.files.atomic import write_bytes_atomically
from edgehemo_export.languages.files import wanted_files


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where a file is not right.")
def main(check: bool) -> None:
    """Bring the kiosk's language files up to date."""
    stale = [
        (path, content)
        for path, content in wanted_files().items()
        if not path.exists() or path.read_bytes() != content
    ]
    for path, content in stale:
        click.echo(f"{'not right' if check else 'written'}: {path}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomically(path, content)
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
