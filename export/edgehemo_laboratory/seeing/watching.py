"""The fleet as it was judged last, kept by the server: judging hundreds of kiosks takes longer than
a page may.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from edgehemo_laboratory.clock import now
from edgehemo_laboratory.seeing.fleet_days import fleet_days
from edgehemo_laboratory.seeing.judging import Judged, judge
from edgehemo_laboratory.storage.interface import Storage

# What is older is judged anew; where that is quick the page waits for it.
FRESH_S = 300.0
QUICK_S = 0.1


class Watch:
    """Judges the fleet when a page asks for it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._last: tuple[Judged, datetime] | None = None
        self._at_s = self._took_s = 0.0
        self._under_way: asyncio.Task[None] | None = None

    async def judged(self) -> tuple[Judged, datetime]:
        """What was judged last, and when. A page waits where nothing was, or where it is quick;
        else it shows what there is, and the next shows what is new.
        """
        stale = time.monotonic() - self._at_s > FRESH_S
        if self._last is None or self._took_s < QUICK_S:
            await self._judge()
        elif stale and (self._under_way is None or self._under_way.done()):
            self._under_way = asyncio.create_task(self._judge())
        assert self._last is not None
        return self._last

    async def _judge(self) -> None:
        begun, at = time.monotonic(), now()
        days = await fleet_days(self._storage, at.date())
        self._last = (await asyncio.to_thread(judge, days), at)
        self._at_s = time.monotonic()
        self._took_s = self._at_s - begun
