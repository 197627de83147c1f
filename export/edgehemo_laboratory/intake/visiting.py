"""A kiosk asks what there is to do: also the sign that it lives when it has nothing to send."""

from __future__ import annotations

from edgehemo.interop.laboratory import Span, Visit
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.enrolment.kiosks import Kiosk
from edgehemo_laboratory.intake.missing import missing_of
from edgehemo_laboratory.intake.taking import NotItsRecordsError
from edgehemo_laboratory.storage.interface import Storage

# Results whose pictures are asked for in one visit.
MOST_RESULTS = 20


async def visited(
    storage: Storage, kiosk: Kiosk, visit: Visit, *, pictures: bool
) -> tuple[tuple[Span, ...], tuple[str, ...]]:
    """What is missing of its records, and whose pictures are wanted. pictures: whether this
    laboratory keeps any.
    """
    at_s = seconds_of(now())
    await storage.do(
        "UPDATE kiosk SET device = $1, software_version = $2, sent_at = $3, heard_at_s = $4, "
        "pinned = $5 WHERE number = $6",
        visit.device, visit.software_version, visit.sent_at, at_s, " ".join(visit.pinned),
        kiosk.number,
    )  # fmt: skip
    if visit.state is not None:
        await storage.do(
            "UPDATE kiosk SET state = $1, state_at_s = $2 WHERE number = $3",
            visit.state.model_dump_json(), at_s, kiosk.number,
        )  # fmt: skip
    owner = await storage.rows("SELECT kiosk FROM records WHERE store = $1", visit.store)
    if owner and owner[0][0] != kiosk.number:
        raise NotItsRecordsError("these records came from another kiosk before")
    if not owner:
        # Nothing came of them yet; what was noted there is on its way.
        return (), ()
    missing = await missing_of(storage, visit.store, noted=visit.noted)
    wanted: tuple[str, ...] = ()
    if pictures and visit.pictures and kiosk.pictures != "never":
        wanted = await _wanted(storage, kiosk, visit.store)
    return missing, wanted


async def _wanted(storage: Storage, kiosk: Kiosk, store: str) -> tuple[str, ...]:
    found = await storage.rows(
        "SELECT result_id FROM wanted_pictures WHERE store = $1 AND settled_at IS NULL "
        "ORDER BY at LIMIT $2",
        store, MOST_RESULTS,
    )  # fmt: skip
    if not found and kiosk.pictures == "all":
        found = await storage.rows(
            "SELECT result_id FROM result r WHERE store = $1 AND NOT EXISTS (SELECT 1 FROM "
            "wanted_pictures w WHERE w.store = r.store AND w.result_id = r.result_id) "
            "ORDER BY came_at_s LIMIT $2",
            store, MOST_RESULTS,
        )  # fmt: skip
    return tuple(row[0] for row in found)
