"""The QR code of a signed result: what a telephone reads from the screen, without any network.

Plain lines, the same in every language. Nothing of the patient is in them but the sample's number,
which is a pseudonym.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from edgehemo.records.results import StoredResult
from edgehemo.records.versions import amendments_of
from edgehemo.report.verdict import GRADES
from edgehemo.screening.recorded import AuditHead
from edgehemo.words.language import Unit, Words

# What the lines are, for whoever reads them by a program.
CODE_SCHEMA = "edgehemo.code/1"
# The quiet edge that readers need, in modules.
_EDGE = 4


def code_lines(
    result: StoredResult,
    record: Mapping[str, Any],
    head: AuditHead,
    unit: Unit,
    *,
    marked: bool = False,
) -> tuple[str, ...]:
    """Of a stored result as it stands now. record: as result.json holds it. head: of the chain.
    unit: the site's. marked: whether a control slide that failed later asks that it is confirmed.
    """
    latest, sample = result.latest, record["sample"]
    lines = [
        CODE_SCHEMA,
        f"result {result.id} version {latest.version} {latest.state}",
        f"sample {latest.sample}",
        f"made {result.made_at}",
    ]
    if result.site is not None:
        lines.append(f"site {result.site}")
    lines.append(_graded(result, record))
    hgb = sample["hgb_g_per_l"]
    if hgb is not None:
        value, low, high = (_number(hgb[part], unit) for part in ("value", "low", "high"))
        lines.append(f"HGB {value} {unit}, 95 % {low} to {high}")
    if result.simulated:
        lines.append("SIMULATED")
    if sample["calibration"] == "demonstration":
        lines.append("DEMONSTRATION")
    if marked:
        lines.append("CONTROL FAILED after it: confirm before use")
    lines.append(f"chain {head} store {head.store[:8]}")
    return (*lines, "screening only, not a diagnosis")


def _graded(result: StoredResult, record: Mapping[str, Any]) -> str:
    override = amendments_of(result.latest).override
    if override is not None:
        grade = override.grade if override.grade in GRADES else "withdrawn"
        return f"grade {grade} (set by a person)"
    if record["withheld"] is not None:
        return f"withheld {record['withheld']['code']}"
    anaemia = record["anaemia"]
    return "grade not given" if anaemia is None else f"grade {anaemia['grade']}"


def _number(g_per_l: float, unit: Unit) -> str:
    return Words("en", unit).hgb(g_per_l)


def code_svg(lines: tuple[str, ...]) -> bytes:
    """The code as an SVG file, dark on light in every theme, without a size of its own."""
    import segno  # noqa: PLC0415 - only the page of a signed result needs it

    target = io.BytesIO()
    segno.make("\n".join(lines), error="m", micro=False).save(
        target, kind="svg", border=_EDGE, xmldecl=False, omitsize=True, light="#fff", dark="#000"
    )
    return target.getvalue()
