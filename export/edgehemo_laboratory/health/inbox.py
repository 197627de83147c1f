"""What came from the broker and is not kept yet: of each topic the last, of so many topics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from edgehemo_laboratory.health.told import FATES, Fate, Told, judged

# More topics than kiosks that one laboratory looks after.
MOST_TOPICS = 5000


class Inbox:
    """Filled by the listener's thread, emptied by whoever keeps. fates: what became of messages."""

    def __init__(self, most: int = MOST_TOPICS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], Told] = {}
        self._fates: Counter[Fate] = Counter(dict.fromkeys(FATES, 0))

    def put(self, topic: str, payload: bytes, *, came_at_s: int, retained: bool) -> None:
        """Judge a message and hold it; a later one of its topic takes its place."""
        found = judged(topic, payload, came_at_s=came_at_s, retained=retained)
        with self._lock:
            if not isinstance(found, Told):
                self._fates[found] += 1
                return
            key = (found.user, found.health.store)
            if key not in self._told and len(self._told) >= self._most:
                self._fates["crowded out"] += 1
                return
            self._told[key] = found

    def take(self) -> list[Told]:
        """All that is held; it is held no more."""
        with self._lock:
            held, self._told = list(self._told.values()), {}
        return held

    def put_back(self, told: Iterable[Told]) -> None:
        """It could not be kept; what came meanwhile counts before it."""
        with self._lock:
            for each in told:
                self._told.setdefault((each.user, each.health.store), each)

    def count(self, fate: Fate, number: int = 1) -> None:
        """So many messages ended so."""
        with self._lock:
            self._fates[fate] += number

    @property
    def fates(self) -> dict[Fate, int]:
        """How many messages ended in which way so far."""
        with self._lock:
            return dict(self._fates)
