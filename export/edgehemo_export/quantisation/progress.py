"""Where an export is: how many artefacts are done, how long it took, how long it may still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgehemo_export.quantisation.options import Say

# Beyond this, minutes say more than seconds.
MINUTES_FROM_S = 120


@dataclass
class ExportProgress:
    """Puts before each line that is told how far the export is.

    total: artefacts asked for. tell: takes the lines. clock: seconds.
    """

    total: int
    tell: Say
    clock: Callable[[], float] = time.monotonic
    _done: int = field(default=0, init=False)
    _made: int = field(default=0, init=False)
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock()

    def say(self, text: str) -> None:
        self.tell(f"{self.standing}: {text}")

    def finished(self, text: str, *, taken_over: bool = False) -> None:
        """One more artefact is done with, well or not; one taken over took no time."""
        self._done += 1
        self._made += not taken_over
        self.say(text)

    @property
    def standing(self) -> str:
        """``2 of 15 done, 4 min, about 26 min left``; what is left once one was made."""
        passed_s = self.clock() - self._began_s
        said = f"{self._done} of {self.total} done, {_duration(passed_s)}"
        left = self.total - self._done
        if not self._made or not left:
            return said
        return f"{said}, about {_duration(passed_s / self._made * left)} left"


def _duration(seconds: float) -> str:
    if seconds < MINUTES_FROM_S:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
