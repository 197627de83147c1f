"""Files written whole or not at all; locks; strict records."""

from edgehemo.files.atomic import (
    dump_json,
    sha256_of_file,
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
    written_atomically,
)

__all__ = [
    "dump_json",
    "sha256_of_file",
    "write_bytes_atomically",
    "write_json_atomically",
    "write_text_atomically",
    "written_atomically",
]
