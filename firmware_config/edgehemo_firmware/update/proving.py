"""A version is judged by another: it screens the stored slide in a process of its own.

Whoever judges runs `edgehemo_firmware.first_check` in the slot's environment and believes only an
exit code with the report that belongs to it. So a version that does not even start is judged too.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgehemo.device.version_state import Slot
from edgehemo.errors import EXIT_DONE
from edgehemo_firmware.first_check import CHECK_SCHEMA
from edgehemo_firmware.update.layout import Place, as_owner, clean_environment

# The slowest board takes a minute, an emulated one many; one that hangs is not waited for.
CHECK_TIMEOUT_S = 900
MODULE = "edgehemo_firmware.first_check"
# What is checked before the switch, while another version holds the records; and after it.
BEFORE_THE_SWITCH = ("slide", "equipment")
AFTER_THE_SWITCH = ("slide", "equipment", "records")
_MAX_REASON = 600


@dataclass(frozen=True, slots=True)
class Verdict:
    """passed; failed: it gave wrong answers or does not run; unfinished: it could not be ended, as
    where memory ran out. reason: of the last two.
    """

    kind: Literal["passed", "failed", "unfinished"]
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.kind == "passed"


def judge(
    place: Place, slot: Slot, checks: Sequence[str], timeout_s: float = CHECK_TIMEOUT_S
) -> Verdict:
    """Run a slot's first check, as the owner of the records where that is another."""
    command = place.command(
        f"{place.inside(place.slot(slot))}/bin/python", "-P", "-m", MODULE, *checks
    )
    owner = {} if command[0] == "chroot" else as_owner(place.records.path)
    with tempfile.TemporaryDirectory() as scratch:
        if "user" in owner:
            os.chown(scratch, owner["user"], owner["group"])
        home = "/tmp" if command[0] == "chroot" else scratch
        environment = {**clean_environment(), "HOME": home, "TMPDIR": home}
        try:
            done = subprocess.run(
                command,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                **owner,
            )
        except subprocess.TimeoutExpired:
            return Verdict("unfinished", f"the first check took longer than {timeout_s:.0f} s")
        except OSError as error:
            return Verdict("failed", f"the version cannot be started ({error})")
    return verdict_of(done.returncode, done.stdout, done.stderr)


def verdict_of(returncode: int, stdout: str, stderr: str) -> Verdict:
    """What an ended check says. A negative exit code is a signal's."""
    if returncode < 0:
        return Verdict("unfinished", f"the first check was killed (signal {-returncode})")
    report = _report(stdout)
    if report is None:
        said = _last_line(stderr) or f"it ended with {returncode} and said nothing"
        return Verdict("failed", f"the version does not run: {said}"[:_MAX_REASON])
    faults = [str(fault) for fault in report.get("faults", ["no word of faults"])]
    if returncode == EXIT_DONE and not faults:
        return Verdict("passed")
    said = "; ".join(faults) or f"it ended with {returncode}"
    return Verdict("failed", f"the first check failed: {said}"[:_MAX_REASON])


def _report(stdout: str) -> dict[str, Any] | None:
    try:
        report = json.loads(stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    right = isinstance(report, dict) and report.get("schema") == CHECK_SCHEMA
    return report if right else None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
