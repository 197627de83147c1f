"""What the engineer's pages ask of the camera and are told of it: the server's side of a look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgehemo.capture.protocol import CameraSettings
from edgehemo.kiosk.messages import (
    Levels,
    LookFailed,
    LookOrder,
    Order,
    SawLook,
    TookPicture,
)

# While pages ask for pictures the order is said again this often; it must be well within the time
# after which a look ends by itself (`edgehemo.kiosk.looking`).
AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the camera. settings: as it says itself. levels: of the newest picture.
    problem: the code and the line of what it last refused. taken: the files of pictures, and wanted
    how many were asked for.
    """

    settings: CameraSettings = field(default_factory=CameraSettings)
    levels: Levels | None = None
    problem: tuple[str, str] | None = None
    taken: tuple[str, ...] = ()
    wanted: int = 0

    @property
    def taking(self) -> bool:
        """Whether pictures are still to come."""
        return self.problem is None and len(self.taken) < self.wanted


class CameraLook:
    """One kiosk's look at its camera; every method may be called from any thread.

    from_thread: has something called by the event loop. send: gives the order to the process that
    owns the camera; None where there is none.
    """

    def __init__(
        self,
        from_thread: Callable[[Callable[[], object]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._from_thread, self._clock = from_thread, clock
        self.send: Callable[[Order], None] | None = None
        self.source = ""
        self._changed = threading.Condition()
        self._order: LookOrder | None = None
        self._said_s = 0.0
        self._number = 0
        self._seen = Seen()

    @property
    def seen(self) -> Seen:
        """What is known now."""
        return self._seen

    @property
    def is_open(self) -> bool:
        """Whether a look was asked for and nothing else since."""
        return self._order is not None

    def show(self, settings: CameraSettings, source: str | None = None) -> None:
        """Show the picture under these settings. source: another one than the kiosk's camera."""
        order = self._order
        named = source or self.source
        if order is not None and (order.settings, order.source) == (settings, named):
            self.renew()
            return
        self._ask(LookOrder(0, named, settings))

    def take(
        self,
        folder: Path,
        pictures: tuple[CameraSettings, ...],
        settings: CameraSettings,
        *,
        source: str | None = None,
        move: bool = False,
    ) -> None:
        """Have pictures kept in a folder; see `LookOrder`."""
        order = LookOrder(
            0, source or self.source, settings, str(folder), pictures=pictures, move=move
        )
        self._ask(order)

    def _ask(self, order: LookOrder) -> None:
        with self._changed:
            self._number += 1
            before = self._seen
            self._seen = Seen(before.settings, before.levels, None, (), len(order.pictures))
            # What is said again shows the picture and takes no other.
            self._order = replace(order, number=self._number, folder=None, pictures=(), move=False)
            self._said_s = self._clock()
        self._say(replace(order, number=self._number))

    def renew(self) -> None:
        """Somebody looks: go on."""
        with self._changed:
            order = self._order
            due = self._clock() - self._said_s >= AGAIN_S
            if order is None or not due or self._seen.taking:
                return
            self._said_s = self._clock()
        self._say(order)

    def forget(self) -> None:
        """Something else was ordered."""
        self._order = None

    def _say(self, order: LookOrder) -> None:
        send = self.send
        if send is not None:
            self._from_thread(lambda: send(order))

    def hear(self, report: SawLook | TookPicture | LookFailed) -> bool:
        """What the process says of this look; whether pages say something else now, beside the
        numbers of the picture.
        """
        with self._changed:
            if report.number != self._number:
                return False
            seen = self._seen
            if isinstance(report, SawLook):
                # A camera that shows pictures again is mended; what it did not take it still lacks.
                refused = seen.problem is not None and seen.problem[0] == "CAMERA_SETTING_REFUSED"
                problem = seen.problem if refused else None
                self._seen = replace(
                    seen, settings=report.settings, levels=report.levels, problem=problem
                )
            elif isinstance(report, TookPicture):
                self._seen = replace(seen, taken=(*seen.taken, report.file))
            else:
                self._seen = replace(seen, problem=(report.code, report.message))
            self._changed.notify_all()
            now = self._seen
        return (now.settings, now.problem, now.taken, now.levels is None) != (
            seen.settings,
            seen.problem,
            seen.taken,
            seen.levels is None,
        )

    def wait_taken(self, timeout_s: float) -> Seen:
        """Wait until the pictures that were asked for are there, or cannot be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._seen.taking, timeout_s)
            return self._seen

    def facts(self) -> dict[str, Any]:
        """What a page is told with each live picture; nothing where nobody looks."""
        levels = self._seen.levels
        if self._order is None or levels is None:
            return {}
        return {
            "rgb": [round(value) for value in levels.bright_rgb],
            "clipped": round(levels.clipped, 4),
            "black": round(levels.black, 4),
            "histogram": [round(share, 4) for share in levels.histogram],
        }
