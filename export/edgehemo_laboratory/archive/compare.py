"""One bundle's reading of an archive held against another's, sample by sample.

A difference's interval comes of drawing patients with replacement (a sample without a patient is
its own): samples of one person are alike, and fields of one sample more so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.measurands import MEASURAND_FACTS, MEASURANDS
from edgehemo_laboratory.archive.equipment import ReadingFile
from edgehemo_laboratory.archive.output import (
    Change,
    ComparedReading,
    CompareOutput,
    GradeChange,
    GroupEntry,
    Mover,
    OutcomeChange,
)
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.archive.queries import Queries, queries
from edgehemo_laboratory.archive.tables import Table
from edgehemo_laboratory.errors import LaboratoryError

Numbers = NDArray[np.float64]

# Fewer patients say nothing of how far a difference could be chance.
LEAST_PATIENTS = 5
RESAMPLES, LEAST_RESAMPLES = 2000, 200
# Patients times resamples that are drawn at most.
_DRAWN = 20_000_000
_AT_ONCE = 50
MOVERS = 12
# Pictures shown of a sample that moved.
PICTURES_A_MOVER = 3


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A number that both readings say of each sample as a fraction, pooled as sums above sums
    below. columns: those of the table it is made from. relative: told as a change in percent.
    """

    name: str
    label: str
    unit: str
    decimals: int
    relative: bool
    above: Callable[[Mapping[str, Numbers], str], Numbers]
    below: Callable[[Mapping[str, Numbers], str], Numbers]


def _column(name: str) -> Callable[[Mapping[str, Numbers], str], Numbers]:
    return lambda columns, side: columns[f"{side}_{name}"]


def _one(name: str) -> Callable[[Mapping[str, Numbers], str], Numbers]:
    """1 where there is a value: the pooled number is then a mean over samples."""
    return lambda columns, side: np.where(np.isfinite(columns[f"{side}_{name}"]), 1.0, np.nan)


def _measured() -> list[_Quantity]:
    return [
        _Quantity(
            name, MEASURAND_FACTS[name].label, MEASURAND_FACTS[name].unit,
            2 if name == "hgb_g_per_l" else 4, False, _column(name), _one(name),
        )
        for name in MEASURANDS
    ]  # fmt: skip


QUANTITIES: tuple[_Quantity, ...] = (
    _Quantity(
        "refused_share", "fields refused", "%", 2, False, _column("refused"), _column("fields")
    ),
    *_measured(),
    *(
        _Quantity(name, label, "a field", 2, True, _column(name), _column("accepted"))
        for name, label in (
            ("rbc", "red cells found"),
            ("wbc", "white cells found"),
            ("platelet", "platelets found"),
        )
    ),
    *(
        _Quantity(name, label, "", 4, True, _column(name), _one(name))
        for name, label in (
            ("hgb_index", "haemoglobin index"),
            ("hct_index", "haematocrit index"),
            ("rbc_index", "red-cell index"),
        )
    ),
)
_SHARES = frozenset({"refused_share"})
_NUMBERS = (
    "fields", "accepted", "refused", "rbc", "wbc", "platelet", "hgb_index", "hct_index",
    "rbc_index", *MEASURANDS,
)  # fmt: skip


def compare(
    archive: Archive, old: ReadingFile, new: ReadingFile, *, seed: int = 0
) -> CompareOutput:
    """What changes from one reading to another, over all samples that both have.

    LaboratoryError where they have none in common.
    """
    if old.reading == new.reading:
        raise LaboratoryError("both are the same reading; name another bundle")
    with queries(archive, (old.reading, "old_"), (new.reading, "new_")) as asked:
        table = _samples(asked)
        (both, unread) = asked.one(
            "SELECT count(*) FILTER (o.status = 'read' AND n.status = 'read'), count(*) FILTER "
            "(o.status IS DISTINCT FROM 'read' OR n.status IS DISTINCT FROM 'read') "
            "FROM (SELECT DISTINCT sample_key FROM fields) f "
            "LEFT JOIN old_samples_now o USING (sample_key) "
            "LEFT JOIN new_samples_now n USING (sample_key)"
        )
        if not both:
            raise LaboratoryError(
                "no sample is read by both bundles; `edgehemo archive reread --bundle` reads with "
                "the one that is missing"
            )
        samples = _Samples(table)
        rng = np.random.default_rng(seed)
        sites: list[str | None] = [None]
        if len(known := sorted({site for site in samples.sites if site is not None})) > 1:
            sites += known
        groups = [_group(samples, site, rng) for site in sites]
        movers = _movers(asked, samples)
    return CompareOutput(
        archive=archive.about,
        old=_reading(old),
        new=_reading(new),
        samples=both,
        unread=unread,
        groups=groups,
        outcomes=_outcomes(samples),
        grades=_grades(samples),
        movers=movers,
    )


def scatter(
    archive: Archive, old: ReadingFile, new: ReadingFile, most: int
) -> list[tuple[Any, ...]]:
    """Sample, old and new value of at most so many samples: of haemoglobin where both have it, else
    of its index.
    """
    with queries(archive, (old.reading, "old_"), (new.reading, "new_")) as asked:
        for name in ("hgb_g_per_l", "hgb_index"):
            found = asked.rows(
                f"SELECT n.sample, o.{name}, n.{name}, '{name}' FROM old_samples_now o "
                f"JOIN new_samples_now n USING (sample_key) WHERE o.{name} IS NOT NULL "
                f"AND n.{name} IS NOT NULL ORDER BY md5(sample_key) LIMIT ?",
                [most],
            )
            if found:
                return found
    return []


class _Samples:
    """The samples that both readings have, as columns."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.columns: dict[str, Numbers] = {
            f"{side}_{name}": np.array(table.column(f"{side}_{name}").to_pylist(), dtype=np.float64)
            for side in ("old", "new")
            for name in _NUMBERS
        }
        self.sites: list[str | None] = table.column("site").to_pylist()
        patients = table.column("patient").to_pylist()
        _, codes = np.unique(np.array(patients, dtype=object).astype(str), return_inverse=True)
        self.patients: NDArray[np.intp] = codes.astype(np.intp)

    def __len__(self) -> int:
        return len(self.sites)

    def texts(self, name: str) -> list[str | None]:
        found: list[str | None] = self._table.column(name).to_pylist()
        return found

    def of(self, site: str | None) -> NDArray[np.bool_]:
        """Which samples are of a site; all for None."""
        return np.array([site is None or each == site for each in self.sites], dtype=np.bool_)


def _samples(asked: Queries) -> Table:
    """A row a sample that both readings have, a column of each reading's beside the other's."""
    sides = ", ".join(
        f"{short}.{name}::DOUBLE AS {side}_{name}"
        for short, side in (("o", "old"), ("n", "new"))
        for name in _NUMBERS
    )
    texts = ", ".join(
        f"{short}.{name} AS {side}_{name}"
        for short, side in (("o", "old"), ("n", "new"))
        for name in ("outcome", "grade", "red_types", "white_types")
    )
    return asked.table(
        "SELECT sample_key, n.site, n.sample, coalesce(n.patient, sample_key) AS patient, "
        f"{sides}, {texts} FROM old_samples_now o JOIN new_samples_now n USING (sample_key) "
        "WHERE o.status = 'read' AND n.status = 'read' ORDER BY sample_key"
    )


def _group(samples: _Samples, site: str | None, rng: np.random.Generator) -> GroupEntry:
    """All changes in one site, or in all."""
    chosen = samples.of(site)
    fractions: dict[str, tuple[_Quantity, Numbers]] = {}
    for quantity in QUANTITIES:
        sums = np.stack(
            [
                part(samples.columns, side)
                for side in ("old", "new")
                for part in (quantity.above, quantity.below)
            ],
            axis=1,
        )
        fractions[quantity.name] = (quantity, sums)
    for kind, label in (("red_types", "red cells"), ("white_types", "white cells")):
        for name, sums in _types(samples, kind).items():
            called = f"{kind}:{name}"
            quantity = _Quantity(
                called, f"{name} of {label}", "%", 2, False, _column(""), _column("")
            )
            fractions[called] = (quantity, sums)
    patients = samples.patients[chosen]
    changes = _changes(
        [(quantity, sums[chosen]) for quantity, sums in fractions.values()], patients, rng
    )
    return GroupEntry(
        site=site,
        samples=int(chosen.sum()),
        patients=len(np.unique(patients)),
        fields=int(np.nansum(samples.columns["new_fields"][chosen])),
        changes=changes,
    )


def _types(samples: _Samples, kind: str) -> dict[str, Numbers]:
    """Type -> old above, old below, new above, new below of each sample; a sample that lacks it on
    one side has NaN.
    """
    told = [
        [json.loads(text) if text else None for text in samples.texts(f"{side}_{kind}")]
        for side in ("old", "new")
    ]
    names = sorted({name for side in told for each in side if each for name in each})
    found: dict[str, Numbers] = {}
    for name in names:
        sums = np.full((len(samples), 4), np.nan)
        for row, (old, new) in enumerate(zip(*told, strict=True)):
            if old is None or new is None:
                continue
            for place, each in ((0, old), (2, new)):
                sums[row, place] = each.get(name, 0.0)
                # Shares of one sample are a mean's parts; counts are those of all their kind.
                sums[row, place + 1] = 1.0 if kind == "red_types" else sum(each.values())
        found[name] = sums
    return found


def _changes(
    fractions: Sequence[tuple[_Quantity, Numbers]],
    patients: NDArray[np.intp],
    rng: np.random.Generator,
) -> list[Change]:
    """The change of each quantity, with its interval by patients drawn with replacement."""
    _, codes = np.unique(patients, return_inverse=True)
    many = int(codes.max()) + 1 if len(codes) else 0
    sums = np.zeros((many, 4 * len(fractions)))
    counted = []
    for place, (_, rows) in enumerate(fractions):
        known = np.isfinite(rows).all(axis=1)
        counted.append(int(known.sum()))
        np.add.at(sums[:, 4 * place : 4 * place + 4], codes[known], rows[known])
    drawn = _drawn(sums, rng) if many >= LEAST_PATIENTS else None
    found = []
    for place, (quantity, _) in enumerate(fractions):
        if not counted[place]:
            continue
        part = slice(4 * place, 4 * place + 4)
        old, new, change = _fraction(sums[:, part].sum(axis=0)[None], quantity.relative)
        low = high = None
        if drawn is not None:
            _, _, changes = _fraction(drawn[:, part], quantity.relative)
            finite = changes[np.isfinite(changes)]
            if len(finite) >= len(changes) // 2:
                low, high = (float(end) for end in np.quantile(finite, (0.025, 0.975)))
        scale = 100.0 if quantity.unit == "%" else 1.0
        by = 100.0 if quantity.relative else scale
        found.append(
            Change(
                name=quantity.name,
                label=quantity.label,
                unit=quantity.unit,
                relative=quantity.relative,
                samples=counted[place],
                old=_told(old[0] * scale, quantity.decimals),
                new=_told(new[0] * scale, quantity.decimals),
                change=_told(change[0] * by, quantity.decimals),
                low=None if low is None else _told(low * by, quantity.decimals),
                high=None if high is None else _told(high * by, quantity.decimals),
            )
        )
    return found


def _drawn(sums: Numbers, rng: np.random.Generator) -> Numbers:
    """Sums over patients drawn with replacement, a row a drawing."""
    many = len(sums)
    wanted = max(LEAST_RESAMPLES, min(RESAMPLES, _DRAWN // many))
    rows = []
    for begin in range(0, wanted, _AT_ONCE):
        count = min(_AT_ONCE, wanted - begin)
        weights = rng.multinomial(many, np.full(many, 1.0 / many), size=count)
        rows.append(weights.astype(np.float64) @ sums)
    return np.concatenate(rows)


def _fraction(sums: Numbers, relative: bool) -> tuple[Numbers, Numbers, Numbers]:
    """Old and new fraction and the change, of rows of sums."""
    with np.errstate(divide="ignore", invalid="ignore"):
        old, new = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
        change = new / old - 1.0 if relative else new - old
    return old, new, change


def _told(value: float, decimals: int) -> float | None:
    return round(float(value), decimals) if np.isfinite(value) else None


def _outcomes(samples: _Samples) -> list[OutcomeChange]:
    """How many samples are reported and withheld by each."""
    return [
        OutcomeChange(old=old or "", new=new or "", samples=count)
        for (old, new), count in sorted(
            _pairs(samples.texts("old_outcome"), samples.texts("new_outcome")).items()
        )
    ]


def _grades(samples: _Samples) -> list[GradeChange]:
    """How many samples have which grade by each; those without any by both are left out."""
    pairs = _pairs(samples.texts("old_grade"), samples.texts("new_grade"))
    return [
        GradeChange(old=old, new=new, samples=count)
        for (old, new), count in sorted(pairs.items(), key=lambda item: str(item[0]))
        if old is not None or new is not None
    ]


def _pairs(
    old: Sequence[str | None], new: Sequence[str | None]
) -> dict[tuple[str | None, str | None], int]:
    found: dict[tuple[str | None, str | None], int] = {}
    for pair in zip(old, new, strict=True):
        found[pair] = found.get(pair, 0) + 1
    return dict(sorted(found.items(), key=lambda item: str(item[0])))


def _movers(asked: Queries, samples: _Samples) -> list[Mover]:
    """The samples that changed most: in haemoglobin where both have it, else in its index."""
    for name in ("hgb_g_per_l", "hgb_index"):
        change = samples.columns[f"new_{name}"] - samples.columns[f"old_{name}"]
        if np.isfinite(change).any():
            break
    else:
        return []
    order = np.argsort(-np.abs(np.nan_to_num(change)), kind="stable")[:MOVERS]
    keys, names = samples.texts("sample_key"), samples.texts("sample")
    found = []
    for row in order:
        if not np.isfinite(change[row]) or change[row] == 0:
            continue
        pictures = asked.rows(
            "SELECT f.sha256, f.page, o.accepted, n.accepted FROM fields f "
            "LEFT JOIN old_fields_rows o USING (item) LEFT JOIN new_fields_rows n USING (item) "
            "WHERE f.sample_key = ? ORDER BY (o.accepted IS DISTINCT FROM n.accepted) DESC, "
            "abs(coalesce(o.hgb_index, 0) - coalesce(n.hgb_index, 0)) DESC, f.position LIMIT ?",
            [keys[row], PICTURES_A_MOVER],
        )
        found.append(
            Mover(
                sample=names[row] or "",
                site=samples.sites[row],
                quantity=name,
                old=float(samples.columns[f"old_{name}"][row]),
                new=float(samples.columns[f"new_{name}"][row]),
                pictures=[
                    f"{digest}.{page}" if page else str(digest) for digest, page, *_ in pictures
                ],
            )
        )
    return found


def _reading(file: ReadingFile) -> ComparedReading:
    return ComparedReading(
        reading=file.reading,
        bundle=file.bundle,
        bundle_sha256=file.bundle_sha256,
        software_version=file.versions.get("edgehemo", ""),
    )
