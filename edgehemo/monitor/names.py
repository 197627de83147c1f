"""What people said of the names that models gave: how often they changed one, and what can teach.

Only the newest word on a cell counts. Cells are looked at because somebody wanted to, most often
the doubtful ones: a rate of changed names is that of the cells that were looked at, not of all.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.cells.cell import UNCERTAIN
from edgehemo.monitor.series import Rows, Scope
from edgehemo.statistics.binomial import share_interval

# A type whose name was changed in at least this share of the cells looked at, surely (the lower end
# of the 95 % interval), is learnt badly for this device.
DUE_ABOVE = 0.10
# Fewer cells of a type than this say nothing.
MIN_LOOKED_AT = 20
# The same of samples whose cells look unlike all that was learnt, of the latest weeks.
UNFAMILIAR_ABOVE = 0.20
MIN_RESULTS = 20


@dataclass(frozen=True, slots=True)
class NamesOf:
    """The cells of one type, as the model named them, that people looked at. looked_at: those
    confirmed, renamed or no cell; low, high: 95 % interval of the share changed. became: the
    commonest of the other names.
    """

    kind: str
    type: str
    looked_at: int
    changed: int
    low: float
    high: float
    became: tuple[tuple[str, int], ...]

    @property
    def due(self) -> bool:
        """Whether the model should learn this type anew."""
        return self.looked_at >= MIN_LOOKED_AT and self.low > DUE_ABOVE


@dataclass(frozen=True, slots=True)
class Reviewed:
    """All reviews of a period. names: by type, the most changed first. learnable: cells that a
    person named, by kind and that name: what a training can be given; settled: how many of them
    the model had left uncertain. unfamiliar: results whose cells look unlike all that was learnt,
    of ``results``.
    """

    names: tuple[NamesOf, ...]
    learnable: tuple[tuple[str, str, int], ...]
    settled: int
    unfamiliar: int
    results: int

    @property
    def due(self) -> tuple[NamesOf, ...]:
        return tuple(item for item in self.names if item.due)

    @property
    def abroad(self) -> bool:
        """Whether too many samples look unlike all that was learnt."""
        low, _ = share_interval(self.unfamiliar, self.results)
        return (
            self.results >= MIN_RESULTS
            and self.unfamiliar >= UNFAMILIAR_ABOVE * self.results
            and low > UNFAMILIAR_ABOVE / 2
        )


def reviewed(reader: Rows, scope: Scope | None = None) -> Reviewed:
    """Read the reviews of the results in a scope."""
    where, values = (scope or Scope()).where()
    rows = reader.rows(
        "SELECT kind, model_type, verdict, type, count(*) FROM ("
        "SELECT e.kind, e.model_type, e.verdict, e.type, max(e.number) "
        "FROM review e JOIN result r ON r.number = e.result "
        f"WHERE {where} GROUP BY e.result, e.field, e.cell) "
        "GROUP BY kind, model_type, verdict, type",
        values,
    )
    seen: dict[tuple[str, str], dict[str, int]] = {}
    kept: dict[tuple[str, str], int] = {}
    learnable: dict[tuple[str, str], int] = {}
    settled = 0
    for kind, model_type, verdict, given, count in rows:
        if verdict in ("confirmed", "renamed") and given is not None:
            learnable[kind, given] = learnable.get((kind, given), 0) + count
            if model_type == UNCERTAIN:
                settled += count
        if model_type in (None, UNCERTAIN) or verdict == "unsure":
            continue
        if verdict == "confirmed":
            kept[kind, model_type] = kept.get((kind, model_type), 0) + count
        else:
            named = given or "no cell"
            others = seen.setdefault((kind, model_type), {})
            others[named] = others.get(named, 0) + count
    names = []
    for kind, model_type in {*seen, *kept}:
        others = seen.get((kind, model_type), {})
        changed = sum(others.values())
        looked_at = changed + kept.get((kind, model_type), 0)
        low, high = share_interval(changed, looked_at)
        became = tuple(sorted(others.items(), key=lambda item: (-item[1], item[0]))[:3])
        names.append(NamesOf(kind, model_type, looked_at, changed, low, high, became))
    names.sort(key=lambda item: (-item.low, item.kind, item.type))
    ((unfamiliar, results),) = reader.rows(
        "SELECT coalesce(sum(m.unfamiliar), 0), count(*) FROM result r "
        f"JOIN measured m ON m.result = r.number WHERE {where} AND r.outcome = 'reported'",
        values,
    )
    return Reviewed(
        tuple(names),
        tuple((kind, given, count) for (kind, given), count in sorted(learnable.items())),
        settled,
        int(unfamiliar),
        int(results),
    )
