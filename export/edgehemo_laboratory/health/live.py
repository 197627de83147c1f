"""How kiosks are by their own last word, and whether they still speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from edgehemo.files.strict import Count, NonNegative, Record
from edgehemo.interop.health import TOLD_EVERY_S, Health
from edgehemo_laboratory.clock import length_of
from edgehemo_laboratory.storage.interface import Statements

# After so long without a word a kiosk is silent.
LIVE_S = 3 * TOLD_EVERY_S
# What is worth a person's look.
OLD_BACKUP_S = 2 * 86_400
HOT_CELSIUS = 80.0
# live: it said so lately. gone: it said goodbye, or the broker lost it. silent: neither, for some
# time; the broker may be away.
LiveWord = Literal["live", "gone", "silent"]


class LiveEntry(Record, frozen=True, kw_only=True):
    """What a kiosk said of itself last, by a broker. since_s: seconds since anything came of it, by
    this machine's clock. told_s: since it last said how it is; null where it never did. The rest is
    what it said then, ages with what has passed since. worth_a_look: short phrases; empty where all
    is well.
    """

    word: LiveWord
    since_s: Count
    told_s: Count | None = None
    software_version: str | None = None
    bundle_sha256: str | None = None
    control: str | None = None
    blocked: str | None = None
    camera: str | None = None
    fault: str | None = None
    free_mb: NonNegative | None = None
    waiting: Count | None = None
    refused: Count | None = None
    backup_age_s: Count | None = None
    result_age_s: Count | None = None
    celsius: float | None = None
    worth_a_look: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of what was kept. told_at_s: when it last said how it is."""

    came_at_s: int
    online: bool
    told_at_s: int | None
    said: str


async def kept(statements: Statements) -> dict[int, Kept]:
    """Of every kiosk that a broker ever told of: its number -> the row."""
    rows = await statements.rows("SELECT kiosk, came_at_s, online, told_at_s, said FROM health")
    return {kiosk: Kept(came, bool(online), told, said) for kiosk, came, online, told, said in rows}


async def live_kiosks(statements: Statements, *, now_s: int) -> Mapping[int, LiveEntry]:
    """How kiosks are now, by their number; those that no broker ever told of are left out."""
    return {kiosk: entry_of(row, now_s=now_s) for kiosk, row in (await kept(statements)).items()}


def entry_of(row: Kept, *, now_s: int) -> LiveEntry:
    """One of them at a time of this machine's clock."""
    since_s = max(0, now_s - row.came_at_s)
    word: LiveWord = "gone"
    if row.online:
        word = "live" if since_s <= LIVE_S else "silent"
    said = _said(row)
    if row.told_at_s is None or said is None:
        return LiveEntry(word=word, since_s=since_s)
    told_s = max(0, now_s - row.told_at_s)
    backup_s, result_s = (
        _age_s(at, said.at, told_s) for at in (said.last_backup_at, said.last_result_at)
    )
    return LiveEntry(
        word=word,
        since_s=since_s,
        told_s=told_s,
        software_version=said.software_version,
        bundle_sha256=said.bundle_sha256,
        control=said.control,
        blocked=said.blocked,
        camera=said.camera,
        fault=said.fault,
        free_mb=said.free_mb,
        waiting=said.waiting,
        refused=said.refused,
        backup_age_s=backup_s,
        result_age_s=result_s,
        celsius=said.celsius,
        worth_a_look=tuple(_worth_a_look(said, backup_s)),
    )


def _said(row: Kept) -> Health | None:
    try:
        return msgspec.json.decode(row.said, type=Health) if row.said else None
    except msgspec.MsgspecError:
        # Another version of this software kept it.
        return None


def _age_s(at: str | None, clock: str | None, told_s: int) -> int | None:
    """How old something is that a kiosk dated, whatever its clock: by that clock, and what has
    passed since by ours.
    """
    if at is None or clock is None:
        return None
    try:
        passed_s = (datetime.fromisoformat(clock) - datetime.fromisoformat(at)).total_seconds()
    except (TypeError, ValueError):
        return None
    return max(0, int(passed_s)) + told_s


def _worth_a_look(said: Health, backup_age_s: int | None) -> Sequence[str]:
    found = []
    if said.fault is not None:
        found.append(f"stopped: {said.fault}")
    if said.blocked is not None:
        found.append(f"gives no results: {said.blocked}")
    if said.camera == "missing":
        found.append("its camera is not plugged in")
    if said.space in ("low", "too little") and said.free_mb is not None:
        found.append(f"{said.free_mb / 1000:.1f} GB left")
    if backup_age_s is not None and backup_age_s > OLD_BACKUP_S:
        found.append(f"no backup for {length_of(backup_age_s)}")
    if said.last_backup_at is None and said.results:
        found.append("never backed up")
    if said.refused:
        found.append(f"{said.refused} messages refused")
    if said.celsius is not None and said.celsius >= HOT_CELSIUS:
        found.append(f"hot: {said.celsius:.0f} °C")
    return found
