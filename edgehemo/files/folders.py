"""Where this software's own files lie on a machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

# What holds for every user of the machine.
SYSTEM_FOLDER = Path("/etc/edgehemo")
_NAME = "edgehemo"

Kind = Literal["config", "data", "cache"]
# The XDG base directory specification: the variable that names a user's folder of a kind, and
# where it lies below the home where none does.
_ON_LINUX: dict[Kind, tuple[str, str]] = {
    "config": ("XDG_CONFIG_HOME", ".config"),
    "data": ("XDG_DATA_HOME", ".local/share"),
    "cache": ("XDG_CACHE_HOME", ".cache"),
}


def user_folder(kind: Kind) -> Path:
    """The user's own folder of a kind, by the conventions of the system; it is not made here."""
    if sys.platform == "linux":
        variable, below_home = _ON_LINUX[kind]
        named = Path(os.environ.get(variable, ""))
        # A relative one counts as none.
        return (named if named.is_absolute() else Path.home() / below_home) / _NAME
    # Every command asks for a folder: a device does not wait for what other systems need.
    import platformdirs  # noqa: PLC0415

    folders = {
        "config": platformdirs.user_config_dir,
        "data": platformdirs.user_data_dir,
        "cache": platformdirs.user_cache_dir,
    }
    return Path(folders[kind](_NAME, appauthor=False))
