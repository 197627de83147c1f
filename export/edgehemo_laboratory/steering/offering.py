"""What a kiosk is offered when it visits, and what it says of what runs there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgehemo.interop.laboratory import MOST_OFFERS, Offer
from edgehemo.published.reports import PublicationOutcome, Running
from edgehemo.published.terms import FAILED, USED, Standing
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.enrolment.kiosks import Kiosk
from edgehemo_laboratory.steering.kept import Publication, publications
from edgehemo_laboratory.steering.stages import chosen
from edgehemo_laboratory.storage.interface import Statements, Storage


async def runs_by_kiosk(statements: Statements) -> dict[int, Running]:
    """What each kiosk (its number) said last that runs there."""
    rows = await statements.rows("SELECT kiosk, body FROM running")
    return {kiosk: Running.model_validate(json.loads(body)) for kiosk, body in rows}


async def take_into_stage(change: Statements, kept: Publication) -> set[str]:
    """Have the kiosks in the stage that a publication is in; the names of all that are."""
    rows = await change.rows(
        "SELECT k.number, k.name, k.site, p.kiosk FROM kiosk k LEFT JOIN publication_kiosk p "
        "ON p.kiosk = k.number AND p.publication = $1 WHERE k.revoked_at IS NULL",
        kept.number,
    )
    sites: dict[str, list[str]] = {}
    numbers = {}
    for number, name, site, _ in rows:
        if kept.is_for(name, site):
            sites.setdefault(site, []).append(name)
            numbers[name] = number
    already = {name for _, name, _, there in rows if there is not None}
    found = chosen(kept.sha256, sites, kept.now.share, already)
    at_s = seconds_of(now())
    for name in sorted(found - already):
        await change.do(
            "INSERT INTO publication_kiosk (publication, kiosk, stage, chosen_at_s) "
            "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            kept.number, numbers[name], kept.stage, at_s,
        )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class Heard:
    """What a kiosk is offered from now on. failed: whether it said for the first time that it does
    not take one, or left one again.
    """

    offers: tuple[Offer, ...]
    failed: bool


async def heard(storage: Storage, kiosk: Kiosk, ran: Running, *, brought_by: str = "") -> Heard:
    """Note what runs on a kiosk, and what it is offered.

    brought_by: who brought it on a stick, empty where the kiosk said it itself.
    """

    async def work(change: Statements) -> Heard:
        at_s = seconds_of(now())
        body = ran.model_dump_json()
        known = await change.rows("SELECT body FROM running WHERE kiosk = $1", kiosk.number)
        await change.do(
            "INSERT INTO running (kiosk, body, at_s, brought_by) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (kiosk) DO UPDATE SET body = excluded.body, at_s = excluded.at_s, "
            "brought_by = excluded.brought_by",
            kiosk.number, body, at_s, brought_by,
        )  # fmt: skip
        if not known or _what_runs(json.loads(known[0][0])) != _what_runs(ran.model_dump()):
            said = {"runs": _what_runs(ran.model_dump())}
            by = brought_by or kiosk.name
            await note(change, "kiosk runs", kiosk.name, said, by=by, chain=kiosk.chain)
        everything = await publications(change)
        failed = await _note_outcomes(change, kiosk, ran, everything, at_s)
        offered = await _offered(change, kiosk, ran, everything)
        for each in offered:
            await change.do(
                "UPDATE publication_kiosk SET offered_at_s = $1 WHERE publication = $2 "
                "AND kiosk = $3 AND offered_at_s IS NULL",
                at_s, each.number, kiosk.number,
            )  # fmt: skip
        return Heard(tuple(each.offer for each in offered), failed)

    return await storage.change(work)


def _what_runs(said: Mapping[str, object]) -> dict[str, object]:
    """What of a report stands in the chain: not the same again at every visit."""
    return {name: said[name] for name in ("software_version", "bundle", "languages",
                                          "settings_sha256")}  # fmt: skip


async def _note_outcomes(
    change: Statements, kiosk: Kiosk, ran: Running, everything: Iterable[Publication], at_s: int
) -> bool:
    """Whether one failed there that had not."""
    failed = False
    outcomes = {each.publication: each for each in ran.outcomes}
    rows = await change.rows(
        "SELECT publication, standing, words FROM publication_kiosk WHERE kiosk = $1", kiosk.number
    )
    before = {number: (standing, words) for number, standing, words in rows}
    for each in everything:
        outcome = outcomes.get(each.sha256)
        standing, words = _standing(each, outcome, ran)
        if not standing or before.get(each.number) == (standing, words):
            continue
        if each.number not in before:
            # It came by stick, or the storage was put back.
            await change.do(
                "INSERT INTO publication_kiosk (publication, kiosk, stage, chosen_at_s) "
                "VALUES ($1, $2, $3, $4)",
                each.number, kiosk.number, each.stage, at_s,
            )  # fmt: skip
        await change.do(
            "UPDATE publication_kiosk SET standing = $1, words = $2, standing_at_s = $3, "
            "used_at_s = CASE WHEN $4 = 1 THEN COALESCE(used_at_s, $5) ELSE used_at_s END "
            "WHERE publication = $6 AND kiosk = $7",
            standing, words, at_s, int(standing in USED), at_s, each.number, kiosk.number,
        )  # fmt: skip
        if standing not in ("offered", "waiting", "putting"):
            said = {"standing": standing, "words": words}
            await note(
                change, "publication settled", each.called, said, by=kiosk.name, chain=kiosk.chain
            )
        failed = failed or standing in FAILED
    return failed


def _standing(
    each: Publication, outcome: PublicationOutcome | None, ran: Running
) -> tuple[Standing | str, str]:
    """How a publication stands on a kiosk; empty where it says nothing of it."""
    if outcome is not None:
        return outcome.standing, outcome.words
    if each.kind == "bundle" and ran.bundle is not None and ran.bundle.sha256 == each.digest:
        return "in use", ""
    return "", ""


async def _offered(
    change: Statements, kiosk: Kiosk, ran: Running, everything: Iterable[Publication]
) -> list[Publication]:
    """All that a kiosk is offered now: of each name the highest serial whose stage it is in."""
    found: dict[tuple[str, str], Publication] = {}
    for each in everything:
        if each.state != "staged" or each.kind not in ran.takes or ran.policy == "never":
            continue
        if not each.is_for(kiosk.name, kiosk.site):
            continue
        if each.serial < ran.highest.get(f"{each.kind} {each.name}", 0):
            continue
        known = found.get((each.kind, each.name))
        if known is not None and known.serial > each.serial:
            continue
        if await _is_in(change, kiosk, each):
            found[each.kind, each.name] = each
    return sorted(found.values(), key=lambda each: each.number)[:MOST_OFFERS]


async def _is_in(change: Statements, kiosk: Kiosk, each: Publication) -> bool:
    rows = await change.rows(
        "SELECT 1 FROM publication_kiosk WHERE publication = $1 AND kiosk = $2",
        each.number, kiosk.number,
    )  # fmt: skip
    if rows:
        return True
    # It came to the laboratory after the stage had begun.
    return kiosk.name in await take_into_stage(change, each)


async def is_offered(statements: Statements, kiosk: Kiosk, sha256: str) -> int | None:
    """The size of a file that a kiosk may fetch now; None where it may not."""
    rows = await statements.rows(
        "SELECT p.size FROM publication p JOIN publication_standing s ON s.publication = p.number "
        "JOIN publication_kiosk k ON k.publication = p.number WHERE p.sha256 = $1 "
        "AND k.kiosk = $2 AND s.state = 'staged'",
        sha256, kiosk.number,
    )  # fmt: skip
    return int(rows[0][0]) if rows else None
