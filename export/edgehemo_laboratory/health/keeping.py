"""What each kiosk said of its health last is kept, with when it came by this machine's clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.errors import place_of
from edgehemo.interop.health import NO_USER
from edgehemo_laboratory.errors import StorageError
from edgehemo_laboratory.health.inbox import Inbox
from edgehemo_laboratory.health.told import Fate, Told
from edgehemo_laboratory.storage.interface import Statements, Storage

log = logging.getLogger(__name__)

# What came is written together, so often: hundreds of kiosks are a few rows each time.
EVERY_S = 5.0
_KEEP = (
    "INSERT INTO health (kiosk, came_at_s, online, told_at_s, said) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (kiosk) DO UPDATE SET came_at_s = excluded.came_at_s, online = excluded.online, "
    "told_at_s = CASE WHEN excluded.online = 1 THEN excluded.told_at_s ELSE health.told_at_s END, "
    "said = CASE WHEN excluded.online = 1 THEN excluded.said ELSE health.said END"
)


@dataclass(frozen=True, slots=True)
class _Kiosks:
    """by_name: name -> number. by_store: identifier of records -> number of whose they are.
    revoked: numbers.
    """

    by_name: dict[str, int]
    by_store: dict[str, int]
    revoked: frozenset[int]

    @classmethod
    async def read(cls, statements: Statements) -> _Kiosks:
        rows = await statements.rows("SELECT name, number, revoked_at FROM kiosk")
        return cls(
            {name: number for name, number, _ in rows},
            dict(await statements.rows("SELECT store, kiosk FROM records")),
            frozenset(number for _, number, revoked_at in rows if revoked_at is not None),
        )

    def whose(self, told: Told) -> int | Fate:
        """The number of the kiosk that said it.

        A broker's user that is called as a kiosk is that kiosk. One that several devices share says
        nothing: then it goes by the records.
        """
        owner = self.by_store.get(told.health.store)
        named = None if told.user == NO_USER else self.by_name.get(told.user)
        if named is not None and owner is not None and owner != named:
            return "foreign"
        found = owner if named is None else named
        return "unknown" if found is None or found in self.revoked else found


async def keep(storage: Storage, told: Sequence[Told]) -> list[Fate]:
    """Keep what was said, in one transaction; what became of each. StorageError: none is kept."""

    async def work(change: Statements) -> list[Fate]:
        kiosks = await _Kiosks.read(change)
        known = {
            kiosk: (bool(online), said)
            for kiosk, online, said in await change.rows("SELECT kiosk, online, said FROM health")
        }
        fates: list[Fate] = []
        for each in sorted(told, key=lambda one: one.came_at_s):
            kiosk = kiosks.whose(each)
            if not isinstance(kiosk, int):
                fates.append(kiosk)
                continue
            fates.append("taken")
            online = each.health.online
            said = each.health.model_dump_json() if online else ""
            was_online, last = known.get(kiosk, (None, ""))
            if each.retained and was_online == online and (not online or last == said):
                # The broker says again what was heard when it was said.
                continue
            at_s = each.came_at_s
            await change.do(_KEEP, kiosk, at_s, int(online), at_s if online else None, said)
        return fates

    return await storage.change(work)


async def keep_on(storage: Storage, inbox: Inbox, every_s: float = EVERY_S) -> None:
    """Keep what comes, until it is cancelled. Whatever goes wrong, it goes on."""
    away = False
    while True:
        await asyncio.sleep(every_s)
        told = inbox.take()
        if not told:
            continue
        try:
            for fate in await keep(storage, told):
                inbox.count(fate)
            away = False
        except StorageError as error:
            inbox.put_back(told)
            if not away:
                log.warning("the health of kiosks is not kept for now: %s", error)
            away = True
        except Exception as error:
            log.error("the health of kiosks: %s at %s", type(error).__name__, place_of(error))
