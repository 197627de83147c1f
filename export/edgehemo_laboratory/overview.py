"""The kiosks as lists and pages show them: standing, silence, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from edgehemo.interop.laboratory import Span
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.enrolment.kiosks import Kiosk, kiosks
from edgehemo_laboratory.health.live import live_kiosks
from edgehemo_laboratory.intake.missing import missing_everywhere
from edgehemo_laboratory.output import KioskEntry, RecordsEntry
from edgehemo_laboratory.storage.interface import Row, Statements


async def kiosk_entries(
    statements: Statements, certificates: Certificates, *, only: Kiosk | None = None
) -> list[KioskEntry]:
    """All kiosks, by name; or one of them."""
    coming = certificates.prepared
    digest = None if coming is None else coming.digest
    by_kiosk = await _records(statements)
    at = seconds_of(now())
    live = await live_kiosks(statements, now_s=at)
    return [
        KioskEntry.of(
            each,
            by_kiosk.get(each.number, []),
            now_s=at,
            coming=digest,
            live=live.get(each.number),
        )
        for each in (await kiosks(statements) if only is None else [only])
    ]


async def _records(statements: Statements) -> dict[int, list[RecordsEntry]]:
    found: dict[int, list[RecordsEntry]] = {}
    results = _counts(
        await statements.rows("SELECT store, sum(results) FROM result_day GROUP BY store")
    )
    refused = _counts(
        await statements.rows(
            "SELECT store, count(*) FROM arrival WHERE outcome = 'refused' GROUP BY store"
        )
    )
    doubled = _counts(await statements.rows("SELECT store, count(*) FROM doubled GROUP BY store"))
    missing = await missing_everywhere(statements)
    for kiosk, store in await statements.rows("SELECT kiosk, store FROM records ORDER BY made_at"):
        found.setdefault(kiosk, []).append(
            RecordsEntry(
                store=store,
                results=results.get(store, 0),
                missing=list(missing.get(store, ())),
                refused=refused.get(store, 0),
                doubled=doubled.get(store, 0),
            )
        )
    return found


def spans_text(spans: Sequence[Span], most: int = 10) -> str:
    """Rows of numbers in words: ``4, 7 to 9``."""
    shown = [f"{first}" if first == last else f"{first} to {last}" for first, last in spans[:most]]
    return ", ".join([*shown, *(["and more"] if len(spans) > most else [])])


def _counts(rows: list[Row]) -> dict[str, int]:
    return {store: int(number) for store, number in rows}
