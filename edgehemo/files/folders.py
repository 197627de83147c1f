"""Where this software's own files lie on a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs

# What holds for every user of the machine.
SYSTEM_FOLDER = Path("/etc/edgehemo")


def user_folder(kind: Literal["config", "data", "cache"]) -> Path:
    """The user's own folder of a kind, by the conventions of the system; it is not made here."""
    folders = {
        "config": platformdirs.user_config_dir,
        "data": platformdirs.user_data_dir,
        "cache": platformdirs.user_cache_dir,
    }
    return Path(folders[kind]("edgehemo", appauthor=False))
