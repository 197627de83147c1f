"""What is found of a publication, in what kiosks said and sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edgehemo.published.terms import FAILED, USED
from edgehemo_laboratory.steering.kept import Publication
from edgehemo_laboratory.steering.limits import (
    BEFORE_S,
    Figure,
    Found,
    Shares,
    failures,
    median_change,
    share_change,
    shift,
    silences,
)
from edgehemo_laboratory.storage.interface import Row, Statements

# The grade that is no anaemia; withheld samples have no grade.
_NO_ANAEMIA = "none"


@dataclass(frozen=True, slots=True)
class StageKiosk:
    """A kiosk in the stages of a publication. heard_at_s: by the receiver's clock."""

    number: int
    name: str
    site: str
    offered_at_s: int | None
    standing: str
    words: str
    standing_at_s: int | None
    used_at_s: int | None
    heard_at_s: int | None

    @property
    def uses(self) -> bool:
        return self.standing in USED

    @property
    def failed(self) -> bool:
        return self.standing in FAILED


@dataclass(frozen=True, slots=True)
class Examined:
    """What was looked at and found. kiosks: in its stages. results: that came from those that use
    it, made with it. figures: of results, by what they are of; None where too few came.
    """

    kiosks: tuple[StageKiosk, ...]
    found: tuple[Found, ...]
    results: int = 0
    figures: dict[str, Figure | None] = field(default_factory=dict)

    @property
    def offered(self) -> int:
        return sum(each.offered_at_s is not None for each in self.kiosks)

    @property
    def using(self) -> int:
        return sum(each.uses for each in self.kiosks)

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.kiosks)


async def kiosks_in(statements: Statements, kept: Publication) -> tuple[StageKiosk, ...]:
    """The kiosks in its stages, by name."""
    rows = await statements.rows(
        "SELECT k.number, k.name, k.site, p.offered_at_s, p.standing, p.words, p.standing_at_s, "
        "p.used_at_s, k.heard_at_s FROM publication_kiosk p JOIN kiosk k ON k.number = p.kiosk "
        "WHERE p.publication = $1 AND k.revoked_at IS NULL ORDER BY k.name",
        kept.number,
    )
    return tuple(StageKiosk(*row) for row in rows)


async def examined(statements: Statements, kept: Publication, now_s: int) -> Examined:
    """Everything that is known of how a publication does."""
    there = await kiosks_in(statements, kept)
    limits = kept.limits
    found = [
        failures(
            [
                f"{each.name}: {each.words or each.standing}"
                for each in there
                if each.failed and (each.standing_at_s or 0) >= kept.counted_from_s
            ],
            sum(each.uses or each.failed for each in there),
            limits,
        ),
        await _silent(statements, kept, there, now_s),
    ]
    results, figures = 0, dict[str, Figure | None]()
    used = [each for each in there if each.used_at_s is not None]
    if used:
        groups = await _groups(statements, kept, used)
        results = len(groups.after)
        figures = _figures(groups, limits.least_results)
        hgb = groups.has_hgb(limits.least_results)
        found += [
            shift("withheld", "The share without a result", figures["withheld"],
                  limits.withheld_share, "%"),
            shift("grade", "The share with anaemia", figures["grade"], limits.grade_share, "%"),
            shift("hgb", "The median haemoglobin", figures["hgb"], limits.hgb_g_per_l, "g/L")
            if hgb
            else shift("hgb", "The median of the haemoglobin index", figures["hgb"],
                       limits.hgb_index_share, "%"),
        ]  # fmt: skip
    return Examined(there, tuple(each for each in found if each is not None), results, figures)


async def _silent(
    statements: Statements, kept: Publication, there: Iterable[StageKiosk], now_s: int
) -> Found | None:
    """By the receiver's clock: of the kiosks that it was offered to long enough ago, and of those
    that were heard in the same time before and that it was not offered to.
    """
    since_s = now_s - kept.limits.silent_s
    offered = [each for each in there if each.offered_at_s is not None]
    asked = [each for each in offered if (each.offered_at_s or 0) <= since_s]
    quiet = [
        each
        for each in asked
        if (each.heard_at_s or 0) < since_s and (each.heard_at_s or 0) >= kept.counted_from_s - 1
    ]
    names = {each.number for each in offered}
    rows = await statements.rows(
        "SELECT number, heard_at_s FROM kiosk WHERE revoked_at IS NULL AND heard_at_s >= $1",
        since_s - kept.limits.silent_s,
    )
    others = [heard for number, heard in rows if number not in names]
    return silences(
        Shares(len(quiet), len(asked)),
        Shares(sum(heard < since_s for heard in others), len(others)),
        kept.limits,
    )


@dataclass(frozen=True, slots=True)
class _Result:
    """kiosk: its number."""

    kiosk: int
    withheld: bool
    anaemia: bool | None
    hgb: float | None
    index: float | None


@dataclass(frozen=True, slots=True)
class _Groups:
    """Results of those that use it, since and before; and of the others over the same times."""

    after: list[_Result]
    before: list[_Result]
    others_after: list[_Result]
    others_before: list[_Result]

    @property
    def all(self) -> tuple[list[_Result], ...]:
        return self.after, self.before, self.others_after, self.others_before

    def has_hgb(self, least: int) -> bool:
        """Whether enough of them have a calibrated haemoglobin."""
        return all(
            sum(each.hgb is not None for each in group) >= max(1, least)
            for group in (self.after, self.before)
        )


async def _groups(statements: Statements, kept: Publication, used: list[StageKiosk]) -> _Groups:
    since = {each.number: each.used_at_s or 0 for each in used}
    first_s = min(since.values())
    in_stage = {each.number for each in await kiosks_in(statements, kept)}
    groups = _Groups([], [], [], [])
    rows = await statements.rows(
        "SELECT r.came_at_s, o.kiosk, r.outcome, r.grade, r.hgb_g_per_l, r.hgb_index, "
        "r.bundle_sha256, k.name, k.site, r.simulated FROM result r "
        "JOIN records o ON o.store = r.store JOIN kiosk k ON k.number = o.kiosk "
        "WHERE r.came_at_s >= $1 AND r.state <> 'withdrawn' AND k.revoked_at IS NULL",
        first_s - BEFORE_S,
    )
    # Slides that a microscope simulates are practice, except where there are no others.
    practice = any(not row[9] for row in rows)
    for row in rows:
        came_s, kiosk, bundle, name, site, simulated = (
            row[0],
            row[1],
            row[6],
            row[7],
            row[8],
            row[9],
        )
        if simulated and practice:
            continue
        result = _result(row)
        if kiosk in since:
            with_it = bundle == kept.digest if kept.kind == "bundle" else came_s >= since[kiosk]
            if with_it and came_s >= kept.counted_from_s:
                groups.after.append(result)
            elif not with_it and since[kiosk] - BEFORE_S <= came_s < since[kiosk]:
                groups.before.append(result)
        elif kiosk not in in_stage and kept.is_for(name, site):
            (groups.others_after if came_s >= first_s else groups.others_before).append(result)
    return groups


def _result(row: Row) -> _Result:
    _, kiosk, outcome, grade, hgb, index, *_ = row
    withheld = outcome == "withheld"
    anaemia = None if withheld or grade is None else grade != _NO_ANAEMIA
    return _Result(kiosk, withheld, anaemia, hgb, index)


def _figures(groups: _Groups, least: int) -> dict[str, Figure | None]:
    withheld = [Shares(sum(each.withheld for each in group), len(group)) for group in groups.all]
    graded = [[each for each in group if each.anaemia is not None] for group in groups.all]
    grades = [Shares(sum(bool(each.anaemia) for each in group), len(group)) for group in graded]
    hgb = groups.has_hgb(least)
    values = [_values(group, hgb) for group in groups.all]
    if not hgb:
        values = _relative(values)
    return {
        "withheld": share_change(withheld[0], withheld[1], withheld[2], withheld[3], least),
        "grade": share_change(grades[0], grades[1], grades[2], grades[3], least),
        "hgb": median_change(values[0], values[1], values[2], values[3], max(1, least)),
    }


def _values(group: Iterable[_Result], hgb: bool) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for each in group:
        value = each.hgb if hgb else each.index
        if value is not None:
            found.setdefault(each.kiosk, []).append(value)
    return found


def _relative(values: list[dict[int, list[float]]]) -> list[dict[int, list[float]]]:
    """As shares of the median of all: an index has no unit that limits could be in."""
    everything = sorted(each for group in values for kiosk in group.values() for each in kiosk)
    middle = everything[len(everything) // 2] if everything else 1.0
    scale = abs(middle) or 1.0
    return [
        {kiosk: [each / scale for each in known] for kiosk, known in group.items()}
        for group in values
    ]
