"""What is purged: pictures of old results, as the device's policy says, once they lie elsewhere.

Only pictures go. The result, its versions, every number that was read and the chain stay.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgehemo.errors import RecordsError
from edgehemo.records.backup import last_backup
from edgehemo.records.policy import RecordsSection
from edgehemo.records.store import Reader, Writer


@dataclass(frozen=True, slots=True)
class Purgeable:
    """What the policy lets go. waiting: results that are old enough and lie nowhere else yet, or
    are held.
    """

    pictures: tuple[str, ...]
    bytes: int
    results: int
    waiting: int


def purgeable(reader: Reader, policy: RecordsSection, now: datetime) -> Purgeable:
    """What may be purged at ``now``. RecordsError where the policy keeps pictures for ever.

    A result whose clock was not set has no age and keeps its pictures.
    """
    if policy.keep_pictures_days is None:
        raise RecordsError(
            "pictures are kept for ever here: set keep_pictures_days under [records] in the device "
            "configuration to let old ones go"
        )
    before_s = int((now - timedelta(days=policy.keep_pictures_days)).timestamp())
    backup = last_backup(reader)
    upto = 0 if backup is None else backup.upto
    old = {
        number: (identifier, audit, state)
        for number, identifier, audit, state in reader.rows(
            "SELECT r.number, r.id, r.audit, l.state FROM result r "
            "JOIN latest l ON l.result = r.number WHERE r.made_at_s < ? AND r.clock = 'set'",
            (before_s,),
        )
    }
    exported = _exported(reader)
    free = {
        number
        for number, (identifier, audit, state) in old.items()
        if state != "held" and (audit <= upto or identifier in exported)
    }
    pictures: dict[str, int] = {}
    results: set[int] = set()
    for sha256, size, number in reader.rows(
        "SELECT f.sha256, c.bytes, f.result FROM result r "
        "JOIN result_field f ON f.result = r.number JOIN content c ON c.sha256 = f.sha256 "
        "WHERE r.made_at_s < ? AND r.clock = 'set' AND c.purged_at IS NULL",
        (before_s,),
    ):
        if number in free and (sha256 in pictures or _is_free(reader, sha256, free)):
            pictures[sha256] = size
            results.add(number)
    return Purgeable(
        tuple(sorted(pictures)), sum(pictures.values()), len(results), len(old) - len(free)
    )


def purge(writer: Writer, policy: RecordsSection, now: datetime, *, by: str) -> Purgeable:
    """Purge what the policy lets go; rows first, so that a power cut leaves nothing half done."""
    found = purgeable(writer, policy, now)
    if not found.pictures:
        return found
    with writer.transaction() as connection:
        at = writer.stamp().text
        connection.executemany(
            "UPDATE content SET purged_at = ? WHERE sha256 = ?",
            [(at, sha256) for sha256 in found.pictures],
        )
        connection.executemany(
            "INSERT OR IGNORE INTO intended VALUES (?)", [(sha256,) for sha256 in found.pictures]
        )
        details = {
            "pictures": len(found.pictures),
            "bytes": found.bytes,
            "results": found.results,
            "older_than_days": policy.keep_pictures_days,
        }
        writer.note("pictures purged", details=details, by=by)
    writer.finish_intended()
    return found


def _is_free(reader: Reader, sha256: str, free: set[int]) -> bool:
    """Whether no younger result and no sample being taken stands on a picture, too."""
    users = reader.rows("SELECT result FROM result_field WHERE sha256 = ?", (sha256,))
    taken = reader.rows("SELECT 1 FROM taking_field WHERE sha256 = ? LIMIT 1", (sha256,))
    return not taken and all(number in free for (number,) in users)


def _exported(reader: Reader) -> set[str]:
    """The results that left the device with their pictures."""
    rows = reader.rows("SELECT subject, details FROM audit WHERE action = 'result exported'")
    return {subject for subject, details in rows if json.loads(details).get("pictures")}
