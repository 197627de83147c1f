"""`edgehemo outbox send` for tests: waits of a twentieth, and a clock that jumps where asked.

python -m tests.support.quick_sender [--jumps] outbox send
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgehemo.interop.outbox import Row
    from edgehemo.interop.receivers.door import Parcel

_YEAR_S = 365 * 86_400


def _let_the_clock_jump() -> None:
    """Every few seconds it is another year, as on a device whose clock forgot the time."""
    read, chance = time.time, random.Random()
    state = {"until": 0.0, "ahead": 0.0}

    def jumping() -> float:
        now = time.monotonic()
        if now > state["until"]:
            state["until"] = now + chance.uniform(0.5, 3)
            state["ahead"] = chance.choice([0, _YEAR_S, -_YEAR_S, 3600, -3600, -40 * _YEAR_S])
        return max(0.0, read() + state["ahead"])

    time.time = jumping


def _forget_identities() -> None:
    from edgehemo.interop import lane

    kept = lane._parcel

    def forgetful(row: Row, body: bytes) -> Parcel:
        again = hashlib.sha256(f"{random.random()}".encode()).hexdigest()
        return replace(kept(row, body), identity=again)

    lane._parcel = forgetful


def main() -> None:
    arguments = sys.argv[1:]
    if "--jumps" in arguments:
        arguments.remove("--jumps")
        _let_the_clock_jump()
    if "--forgetful" in arguments:
        arguments.remove("--forgetful")
        _forget_identities()
    from edgehemo.cli import run
    from edgehemo.interop import states

    states.FIRST_WAIT_S = 0.25
    states.LONGEST_WAIT_S = 5.0
    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
