"""``python -m edgehemo.interop.openelis``: write the profile and the messages anew."""

from __future__ import annotations

from pathlib import Path

from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.interop.openelis.examples import files


def main() -> None:
    """Write the files into this folder."""
    for name, content in files().items():
        write_bytes_atomically(Path(__file__).with_name(name), content)


if __name__ == "__main__":
    main()
