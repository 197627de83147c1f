"""What a column of an analyser's table holds: its quantity, and its unit as the name says it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgehemo.measurands import DERIVED_FACTS, MEASURAND_FACTS, MEASURANDS, Measurand

# What names the pictures of a row.
PLACES = ("image", "sample")
# Words that a column of a measurand begins with.
WORDS: Mapping[Measurand, tuple[str, ...]] = {
    "hgb_g_per_l": ("hgb", "hb", "haemoglobin", "hemoglobin"),
    "hct_l_per_l": ("hct", "haematocrit", "hematocrit", "pcv"),
    "rbc_1e12_per_l": ("rbc", "red_cells", "red_blood_cells", "erythrocytes"),
}
# Units as names say them -> the factor that makes them ours. One mmol of haemoglobin's monomer is
# 16.114 g (ICSH).
UNITS: Mapping[Measurand, Mapping[str, float]] = {
    "hgb_g_per_l": {
        "g_per_l": 1.0, "g_l": 1.0, "g_per_dl": 10.0, "g_dl": 10.0, "g_per_100ml": 10.0,
        "mmol_per_l": 16.114, "mmol_l": 16.114,
    },
    "hct_l_per_l": {
        "l_per_l": 1.0, "l_l": 1.0, "%": 0.01, "percent": 0.01, "per_cent": 0.01, "pct": 0.01,
    },
    "rbc_1e12_per_l": {
        "1e12_per_l": 1.0, "1e12_l": 1.0, "10_12_per_l": 1.0, "10_12_l": 1.0, "x10_12_l": 1.0,
        "10e12_l": 1.0, "t_per_l": 1.0, "t_l": 1.0, "1e6_per_ul": 1.0, "1e6_ul": 1.0,
        "10_6_per_ul": 1.0, "10_6_ul": 1.0, "x10_6_ul": 1.0, "10e6_ul": 1.0, "m_per_ul": 1.0,
    },
}  # fmt: skip
# What else a blood count holds: not read, and near to nothing.
_OTHER = (*(facts.name.lower() for facts in DERIVED_FACTS.values()), "wbc", "plt", "mpv", "rdw")
_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is read. name: as the table writes it; factor: into the measurand's unit."""

    name: str
    index: int
    measurand: Measurand
    factor: float


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table. places: image or sample -> number of its column."""

    places: Mapping[str, int]
    measured: tuple[Column, ...]


def columns_of(header: Sequence[str]) -> tuple[Columns, list[str]]:
    """The columns that a header names, and what is wrong with it.

    Upper and lower case are the same. A column near to a known one is a fault: passed over, it
    would be missing without a word.
    """
    places: dict[str, int] = {}
    measured: dict[Measurand, Column] = {}
    faults: list[str] = []
    for index, name in enumerate(header):
        plain = plain_name(name)
        if plain in PLACES:
            if plain in places:
                faults.append(f"column {name!r} occurs twice")
            places.setdefault(plain, index)
            continue
        measurand = _quantity(plain)
        if measurand is None:
            faults += _near(name, plain)
            continue
        factor = _factor(measurand, plain)
        if factor is None:
            faults.append(_without_unit(name, measurand))
        elif (other := measured.get(measurand)) is not None:
            faults.append(
                f"column {name!r} occurs twice"
                if other.name == name
                else f"columns {other.name!r} and {name!r} hold the same: leave one out"
            )
        else:
            measured[measurand] = Column(name, index, measurand, factor)
    if not places:
        faults.append("no column `image` or `sample`")
    if not measured:
        faults.append(f"none of the columns {', '.join(MEASURANDS)}")
    ordered = tuple(measured[name] for name in MEASURANDS if name in measured)
    return Columns(places, ordered), faults


def recognised(header: Sequence[str]) -> int:
    """How many columns of a header are known, to tell by which sign its cells are separated."""
    plain = [plain_name(name) for name in header]
    return sum(name in PLACES or _quantity(name) is not None for name in plain)


def plain_name(name: str) -> str:
    """A column's name in small letters, what is no letter, digit or % as one ``_``."""
    text = name.strip().casefold().replace("µ", "u").replace("μ", "u")
    return re.sub(r"[^0-9a-z%]+", "_", text).strip("_")


def _quantity(plain: str) -> Measurand | None:
    for measurand, words in WORDS.items():
        if any(plain == word or plain.startswith(f"{word}_") for word in words):
            return measurand
    return None


def _factor(measurand: Measurand, plain: str) -> float | None:
    for word in WORDS[measurand]:
        if plain.startswith(f"{word}_"):
            factor = UNITS[measurand].get(plain[len(word) + 1 :])
            if factor is not None:
                return factor
    return None


def _without_unit(name: str, measurand: Measurand) -> str:
    facts = MEASURAND_FACTS[measurand]
    others = [unit for unit, factor in UNITS[measurand].items() if factor != 1.0]
    word = WORDS[measurand][0]
    also = f" or {word}_{others[0]}" if others and others[0] != "%" else ""
    also = f" or {word}_percent" if measurand == "hct_l_per_l" else also
    return (
        f"column {name!r} is not read: it does not say a known unit of {facts.name}. "
        f"Name it {measurand}{also}, or by another name if it is none"
    )


def _near(name: str, plain: str) -> list[str]:
    if plain.partition("_")[0] in _OTHER:
        return []
    near = difflib.get_close_matches(plain, (*PLACES, *MEASURANDS), n=1, cutoff=_NEAR)
    if not near:
        return []
    return [f"column {name!r} is not read: did you mean {near[0]!r}? If not, rename it"]
