"""Numbers of a kiosk's records that never came, though higher ones did."""

from __future__ import annotations

from edgehemo.interop.laboratory import MOST_SPANS, Span
from edgehemo_laboratory.storage.interface import Statements

# The mark of what is whole is moved once it would move so far: it saves looking and means nothing.
_MOVE_BY = 20


async def missing_everywhere(statements: Statements) -> dict[str, tuple[Span, ...]]:
    """What never came, of all records at once: store -> rows of numbers, where there are any."""
    found: dict[str, list[Span]] = {}
    rows = await statements.rows(
        "SELECT store, before, sequence FROM (SELECT a.store, a.sequence, coalesce(lag(a.sequence) "
        "OVER (PARTITION BY a.store ORDER BY a.sequence), r.whole) AS before FROM records r "
        "JOIN arrival a ON a.store = r.store AND a.sequence > r.whole) AS pair "
        "WHERE sequence > before + 1 ORDER BY store, sequence"
    )
    for store, before, sequence in rows:
        found.setdefault(store, []).append((before + 1, sequence - 1))
    ends = await statements.rows(
        "SELECT store, whole, noted, coalesce((SELECT max(sequence) FROM arrival a "
        "WHERE a.store = r.store), 0) FROM records r"
    )
    for store, whole, noted, highest in ends:
        if noted > max(whole, highest):
            found.setdefault(store, []).append((max(whole, highest) + 1, noted))
    return {store: tuple(spans[:MOST_SPANS]) for store, spans in found.items()}


async def missing_of(
    statements: Statements, store: str, *, noted: int | None = None
) -> tuple[Span, ...]:
    """What never came of a kiosk's records; the first `MOST_SPANS` rows of numbers. noted: the
    highest number that the kiosk says it has, None to go by what it said before.
    """
    if noted is not None:
        await statements.do(
            "UPDATE records SET noted = $1 WHERE store = $2 AND noted < $1", noted, store
        )
    found = await statements.rows("SELECT whole, noted FROM records WHERE store = $1", store)
    if not found:
        return ()
    whole, until = found[0]
    # Gaps alone: those numbers before which one is missing, and the highest.
    rows = await statements.rows(
        "SELECT before, sequence FROM (SELECT sequence, "
        "coalesce(lag(sequence) OVER (ORDER BY sequence), $2) AS before FROM arrival "
        "WHERE store = $1 AND sequence > $2) AS pair WHERE sequence > before + 1 "
        "ORDER BY sequence LIMIT $3",
        store, whole, MOST_SPANS,
    )  # fmt: skip
    ((highest,),) = await statements.rows(
        "SELECT coalesce(max(sequence), 0) FROM arrival WHERE store = $1", store
    )
    spans: list[Span] = [(before + 1, sequence - 1) for before, sequence in rows]
    if until > highest and len(spans) < MOST_SPANS:
        spans.append((max(whole, highest) + 1, until))
    first_missing = spans[0][0] if spans else highest + 1
    if first_missing - 1 >= whole + _MOVE_BY:
        await statements.do(
            "UPDATE records SET whole = $1 WHERE store = $2 AND whole < $1",
            first_missing - 1, store,
        )  # fmt: skip
    return tuple(spans)
