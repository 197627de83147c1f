"""Where things lie on an installed device: one table of its places, users and groups.

The system may be read-only. All that changes lies on the data partition: the records, the log, the
settings, the two versions of the program and the link that says which of them runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DATA_MOUNT = "/data"
# What the label of the data partition is where `edgehemo` makes or looks for one.
DATA_LABEL = "EDGEHEMO-DATA"
DATA = "/data/edgehemo"
VERSIONS = f"{DATA}/versions"
CURRENT = f"{DATA}/current"
SETTINGS = f"{DATA}/settings"
# A link of the system's leads there, so that a supervisor's change outlasts a restart.
CONFIGURATION = f"{SETTINGS}/device.toml"
CONFIGURATION_LINK = "/etc/edgehemo/device.toml"
MANIFEST = "/etc/edgehemo/installed.json"
COMMAND = "/usr/local/bin/edgehemo"
PROGRAMS = "/usr/local/lib/edgehemo"
UNITS = "/etc/systemd/system"
# How the kiosk ended, while its page says that it is out of service.
ENDED = "/run/edgehemo-kiosk/ended"
STICK_FOLDER = "/run/media/edgehemo"
STICK_MOUNT = f"{STICK_FOLDER}/stick"

# The service's user, and the browser's, which may not look into the data.
USER, SCREEN_USER = "edgehemo", "edgehemo-screen"
# The same numbers everywhere, so that a data partition keeps its owner when the system is new.
USER_NUMBERS: Mapping[str, int] = {USER: 861, SCREEN_USER: 862}
GROUPS: Mapping[str, tuple[str, ...]] = {
    USER: ("video",),
    SCREEN_USER: ("video", "render", "input"),
}

# A kiosk that shows no progress for so long is ended and begun again.
WATCHDOG_S = 60
# What the process that serves takes beside what `memory_limit_mb` gives to the screening.
SERVER_MB = 160


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the data partition, made at every start. mode: octal."""

    path: str
    mode: int
    owner: str
    group: str


FOLDERS: tuple[Folder, ...] = (
    # Sticky: the service makes files here, and can neither move nor remove what is root's.
    Folder(DATA, 0o1775, "root", USER),
    Folder(VERSIONS, 0o755, "root", "root"),
    Folder(f"{DATA}/records", 0o700, USER, USER),
    Folder(f"{DATA}/log", 0o750, USER, USER),
    Folder(SETTINGS, 0o750, USER, USER),
)
