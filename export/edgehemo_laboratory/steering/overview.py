"""Publications as lists and pages show them, and what runs where."""

from __future__ import annotations

from datetime import UTC, datetime

from edgehemo_laboratory.clock import now, seconds_of, text_of
from edgehemo_laboratory.enrolment.kiosks import kiosks
from edgehemo_laboratory.steering.changing import waits_for
from edgehemo_laboratory.steering.findings import Examined, examined
from edgehemo_laboratory.steering.kept import Publication, publications
from edgehemo_laboratory.steering.offering import runs_by_kiosk
from edgehemo_laboratory.steering.output import (
    FigureEntry,
    FindingEntry,
    PublicationEntry,
    PublicationKioskEntry,
    PublicationsOutput,
    RunsEntry,
)
from edgehemo_laboratory.storage.interface import Statements


async def overview(statements: Statements) -> PublicationsOutput:
    """All of it, the newest first."""
    return PublicationsOutput(
        publications=[await entry_of(statements, each) for each in await publications(statements)],
        running=await running_entries(statements),
        untold=await untold(statements),
    )


async def entry_of(statements: Statements, kept: Publication) -> PublicationEntry:
    """One publication with everything that is known of it."""
    at_s = seconds_of(now())
    seen = await examined(statements, kept, at_s)
    return PublicationEntry(
        number=kept.number,
        kind=kept.kind,
        name=kept.name,
        serial=kept.serial,
        sha256=kept.sha256,
        digest=kept.digest,
        signed_by=kept.signed_by,
        bytes=kept.size,
        state=kept.state,
        why=kept.why,
        stage=kept.stage + 1,
        stages=list(kept.stages),
        limits=kept.limits,
        by_itself=kept.by_itself,
        sites=sorted(kept.sites),
        for_kiosks=sorted(kept.kiosks),
        holds_again=kept.back_to,
        made_at=kept.made_at,
        by=kept.by,
        chosen=len(seen.kiosks),
        offered=seen.offered,
        using=seen.using,
        failed=seen.failed,
        share_using=seen.using / len(seen.kiosks) if seen.kiosks else 0.0,
        results=seen.results,
        waits_for=waits_for(kept, seen, at_s),
        figures=_figures(seen),
        findings=await _findings(statements, kept.number),
        kiosks=_kiosks(seen, at_s),
    )


def _figures(seen: Examined) -> list[FigureEntry]:
    return [
        FigureEntry(name=name, value=None, low=None, high=None)
        if figure is None
        else FigureEntry(name=name, value=figure.value, low=figure.low, high=figure.high)
        for name, figure in seen.figures.items()
    ]


def _kiosks(seen: Examined, at_s: int) -> list[PublicationKioskEntry]:
    return [
        PublicationKioskEntry(
            kiosk=each.name,
            site=each.site,
            offered=each.offered_at_s is not None,
            standing=each.standing,
            words=each.words,
            silent_s=None if each.heard_at_s is None else max(0, at_s - each.heard_at_s),
        )
        for each in seen.kiosks
    ]


async def _findings(statements: Statements, number: int) -> list[FindingEntry]:
    rows = await statements.rows(
        "SELECT at_s, kind, words, value, low, high, of_limit FROM finding WHERE publication = $1 "
        "ORDER BY at_s, kind",
        number,
    )
    return [
        FindingEntry(
            at=text_of(datetime.fromtimestamp(at_s, UTC)),
            kind=kind,
            words=words,
            value=value,
            low=low,
            high=high,
            limit=limit,
        )
        for at_s, kind, words, value, low, high, limit in rows
    ]


async def running_entries(statements: Statements) -> list[RunsEntry]:
    """What runs on each kiosk that said it, by name."""
    runs = await runs_by_kiosk(statements)
    told = {
        kiosk: (at_s, by)
        for kiosk, at_s, by in await statements.rows("SELECT kiosk, at_s, brought_by FROM running")
    }
    at_s = seconds_of(now())
    return [
        RunsEntry(
            kiosk=each.name,
            site=each.site,
            software_version=ran.software_version,
            bundle=ran.bundle,
            languages=list(ran.languages),
            settings_sha256=ran.settings_sha256,
            policy=ran.policy,
            said_s=max(0, at_s - told[each.number][0]),
            brought_by=told[each.number][1],
        )
        for each in await kiosks(statements)
        if (ran := runs.get(each.number)) is not None and each.revoked_at is None
    ]


async def untold(statements: Statements) -> list[str]:
    """Kiosks in service that never said what runs there."""
    runs = await runs_by_kiosk(statements)
    return [
        each.name
        for each in await kiosks(statements)
        if each.revoked_at is None and each.enrolled_at is not None and each.number not in runs
    ]
