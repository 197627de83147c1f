"""The kiosk's own log: where it lies, and its last lines. Nothing of a patient stands in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgehemo.device.configuration import DeviceConfiguration

# Read back from its end, so much at most.
_TAIL_BYTES = 200_000
_LINE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (DEBUG|INFO|WARNING|ERROR|CRITICAL) ([\w.]+): (.*)"
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """at: as it stands there, UTC. level: as `logging` calls it. text: without them."""

    at: str
    level: str
    text: str

    @property
    def is_trouble(self) -> bool:
        """Whether something went wrong."""
        return self.level in ("WARNING", "ERROR", "CRITICAL")


def log_path(device: DeviceConfiguration) -> Path:
    """Where the kiosk of a device writes its log."""
    return device.data_dir / "log" / "kiosk.log"


def last_lines(path: Path) -> list[LogLine]:
    """The last lines of a log, the newest first; none where there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            found.append(LogLine(match[1], match[2], match[4]))
        elif found:
            # A message of several lines.
            last = found[-1]
            found[-1] = LogLine(last.at, last.level, f"{last.text} {line.strip()}")
    return found[::-1]
