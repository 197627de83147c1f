"""Kiosks as they look from the laboratory: what each has noted, and what was acknowledged."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from edgehemo.interop.laboratory import Batch, Item
from tests.support.laboratory import batch, item, result

WEEK_S = 7 * 86_400.0
# Results that a kiosk makes in a week without a network, each by its own clock.
OF_A_WEEK = 200
# One in so many results is corrected or withdrawn once it was signed.
CHANGED = 0.1


@dataclass
class Kiosk:
    """One. ahead_s: of its clock, before the true one. waiting: what it has noted and the
    laboratory has not acknowledged, oldest first. noted: identities of all that it ever noted.
    newest: result -> its last version. away_until_s: it has no network before, monotonic; None
    where it has one.
    """

    name: str
    store: str
    chance: random.Random
    ahead_s: float = 0.0
    away_until_s: float | None = None
    sequence: int = 0
    results: int = 0
    waiting: list[Item] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)

    @property
    def clock_s(self) -> float:
        """What its own clock says, seconds since 1970."""
        return time.time() + self.ahead_s

    def note(self, at_s: float | None = None) -> None:
        """A result is signed, and may be corrected or withdrawn after that. at_s: by its clock."""
        self.results += 1
        made_at = _text(self.clock_s if at_s is None else at_s)
        versions = [("signed", 2)]
        if self.chance.random() < CHANGED:
            versions.append((self.chance.choice(["corrected", "withdrawn"]), 3))
        for what, version in versions:
            self.sequence += 1
            said = result(self.results, version, change=what, store=self.store, made_at=made_at)
            one = item(self.sequence, said)
            self.waiting.append(one)
            self.noted.add(one.identity)
            self.newest[said["id"]] = version

    def note_a_week(self) -> None:
        """What was made while there was no network."""
        until_s = self.clock_s
        for number in range(OF_A_WEEK):
            self.note(until_s - WEEK_S * (1 - number / OF_A_WEEK))

    def next_batch(self, most: int) -> Batch:
        """What goes next: of each result one version, as the outbox has it."""
        chosen: list[Item] = []
        seen: set[str] = set()
        for each in self.waiting:
            if len(chosen) == most:
                break
            called = json.loads(bytes(each.result))["id"]
            if called not in seen:
                chosen.append(each)
            seen.add(called)
        made = batch(*chosen, store=self.store)
        return msgspec.structs.replace(made, sent_at=_text(self.clock_s), device=self.name)

    def settle(self, stored: set[str]) -> None:
        """A receipt names these."""
        self.acknowledged |= stored
        self.waiting = [each for each in self.waiting if each.identity not in stored]


def _text(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")


def kiosks(count: int, away_share: float) -> list[Kiosk]:
    """So many; the first share of them are to be without a network for a week."""
    made = [Kiosk(f"kiosk-{at}", f"{at:032x}", random.Random(at)) for at in range(count)]
    for kiosk in made[: round(count * away_share)]:
        kiosk.away_until_s = float("inf")
    return made
