"""From a result's record to the view of its report, in one language and unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edgehemo.report import first_page as page
from edgehemo.report.evidence import Pictures, sections
from edgehemo.report.histogram import Histogram
from edgehemo.report.standing import Standing
from edgehemo.report.verdict import verdict_of
from edgehemo.report.view import ReportView
from edgehemo.screening.recorded import AuditHead
from edgehemo.words.language import Words

NO_PICTURES = Pictures()


def report_view(
    record: Mapping[str, Any],
    words: Words,
    *,
    pictures: Pictures = NO_PICTURES,
    sizes: Histogram | None = None,
    standing: Standing | None = None,
    practice: bool = False,
) -> ReportView:
    """The view of a result as result.json holds it.

    pictures: what of it is shown. sizes: None where no cell could be measured. standing: of a
    stored result, None of one that is not stored here. practice: nothing of it is kept.
    """
    _ = words._
    made_at = datetime.fromisoformat(record["provenance"]["created_at"])
    override = None if standing is None else standing.grade
    verdict = verdict_of(record, words, override, None if standing is None else standing.person)
    banners = page.banners(record, words, standing, practice=practice)
    heading = _("Blood smear screening report")
    loud = list(filter(None, (_capitals(banner.text) for banner in banners if banner.loud)))
    sample, head = record["labels"]["sample"], _head(record, standing)
    return ReportView(
        language=words.language,
        name=" · ".join([*loud[:2], *filter(None, [sample]), heading]),
        heading=heading,
        facts=page.facts(record, words, standing, made_at),
        notice=page.notice(words),
        banners=banners,
        verdict=verdict,
        note=page.note(record, words, standing),
        unit=words.unit,
        hgb_interval=(
            ""
            if verdict.hgb is None
            else _("haemoglobin, 95 %: {low} to {high}", low=verdict.hgb[1], high=verdict.hgb[2])
        ),
        scale=page.grade_scale(record["anaemia"], words),
        quantities=() if record["withheld"] is not None else page.quantities(record, words),
        todo=page.todo(record, verdict, words),
        sure=page.sure(record, verdict, words),
        attention=page.attention(record, words),
        not_given=page.not_given(record, words),
        signature=page.signature(words, standing, is_stored=head is not None),
        headings=page.headings(words),
        sections=sections(record, words, pictures, sizes, standing),
        audit=_audit(words, head),
        code=_code(record, standing, head),
        code_said=_("QR code: the result and where it stands in the records"),
        page_of=words._("{n} of {all}"),
        made_at=made_at,
    )


def _capitals(text: str) -> str:
    """What stands in capitals at the beginning of a text."""
    found = re.match(r"(?:[^\W\d_a-z]{2,}\b[\s\u00a0]*)+", text)
    return "" if found is None or not found[0].isupper() else found[0].strip()


def _head(record: Mapping[str, Any], standing: Standing | None) -> AuditHead | None:
    """The head of the records' chain: now's, or the one once the result was stored."""
    if standing is not None:
        return standing.audit
    noted = record.get("audit")
    return None if noted is None else AuditHead(**noted)


def _audit(words: Words, head: AuditHead | None) -> tuple[str, ...]:
    """Where the result stands in the chain of the records."""
    if head is None:
        return ()
    _ = words._
    return (
        _("Records: chain {chain}, store {store}.", chain=str(head), store=head.store[:8]),
        _(
            "The records are chained, so that a later change shows: tamper-evident, not "
            "tamper-proof. Note these digits where you file this paper."
        ),
    )


def _code(record: Mapping[str, Any], standing: Standing | None, head: AuditHead | None) -> str:
    """What the QR code says: readable without a network, the same in every language."""
    if head is None:
        return ""
    version, state = 1, "unsigned"
    if standing is not None:
        version, state = standing.versions[-1].version, standing.state
    return (
        f"edgehemo {record['result_id']} version {version} {state} chain {head} "
        f"store {head.store[:8]}"
    )
