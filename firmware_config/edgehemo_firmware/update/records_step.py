"""What an update asks of the records, in a process that runs as their owner.

``python -m edgehemo_firmware.update.records_step DATA [VERSION] [--go-back] [--leave-newer]`` says
what going back to a version of the records takes, or goes back. It prints one line of JSON:
``version`` of the records (0: none), whether the way leads ``back`` by a copy, what would be
``lost``; or ``error``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EdgeHemoError, RecordsError
from edgehemo.records import going_back
from edgehemo.records.folder import RecordsFolder
from edgehemo_firmware.update.layout import Place, as_owner

_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class RecordsFound:
    """version: of the records now, 0 where there are none. back: whether a copy must be put in
    their place to go back. lost: what was done since, in words.
    """

    version: int
    back: bool
    lost: str


def version_now(place: Place) -> int:
    """The version of the records on the device; 0 where there are none."""
    return _asked(place, None).version


def ask(place: Place, version: int) -> RecordsFound:
    """What going back to a version of the records takes. RecordsError where there is no way."""
    return _asked(place, version)


def go_back(place: Place, version: int, *, leave_newer: bool) -> RecordsFound:
    """Take the records back to a version; see `edgehemo.records.going_back`."""
    return _asked(place, version, "--go-back", *(["--leave-newer"] if leave_newer else []))


def _asked(place: Place, version: int | None, *options: str) -> RecordsFound:
    if not place.records.exists():
        return RecordsFound(0, False, "")
    asked = [] if version is None else [str(version), *options]
    command = [sys.executable, "-P", "-m", __name__, str(place.data), *asked]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        **as_owner(place.records.path),
    )
    told: dict[str, Any] = {}
    with contextlib.suppress(ValueError, IndexError):
        told = json.loads(done.stdout.splitlines()[-1])
    if "error" in told:
        raise RecordsError(str(told["error"]))
    if done.returncode or "version" not in told:
        raise RecordsError(f"the records could not be asked: {done.stderr.strip()[-300:]}")
    return RecordsFound(told["version"], told["back"], told["lost"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Say or do it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("version", type=int, nargs="?")
    parser.add_argument("--go-back", action="store_true")
    parser.add_argument("--leave-newer", action="store_true")
    options = parser.parse_args(arguments)
    folder = RecordsFolder.below(options.data)
    try:
        found = going_back.version_now(folder)
        if options.version is None:
            way = going_back.WayBack(found)
        elif options.go_back:
            way = going_back.go_back(folder, options.version, leave_newer=options.leave_newer)
        else:
            way = going_back.way_back(folder, options.version)
    except EdgeHemoError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return EXIT_BAD_INPUT
    told = {"version": found, "back": way.copy is not None, "lost": way.lost}
    sys.stdout.write(json.dumps(told) + "\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
