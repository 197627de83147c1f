"""What is told of blood: three measurands and what follows from them, one row each.

A measurand is what an analyser measures and this project estimates; the red-cell indices are
derived from them. Whoever writes a name, a label, a unit, decimals or a code takes it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Measurand = Literal["hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l"]
MEASURANDS: tuple[Measurand, ...] = get_args(Measurand)
# What a living person's blood can be, by measurand; beyond it the unit is wrong or the number is.
PLAUSIBLE: Mapping[Measurand, tuple[float, float]] = MappingProxyType(
    {
        "hgb_g_per_l": (20.0, 260.0),
        "hct_l_per_l": (0.05, 0.80),
        "rbc_1e12_per_l": (0.5, 9.5),
    }
)
DerivedIndex = Literal["mcv_fl", "mch_pg", "mchc_g_per_l"]
BloodQuantity = Measurand | DerivedIndex


@dataclass(frozen=True, slots=True)
class QuantityFacts:
    """One quantity of blood.

    key: what files and records call it, unit included. name: what laboratories call it for short.
    label: in words, within a sentence. unit: as plain text. decimals: that files hold, below what
    any analyser or image can tell apart. shown_decimals: that people read. loinc: its code, of
    those that claim no method: an estimate from pictures is no automated count. ucum: its unit for
    other systems.
    """

    key: BloodQuantity
    name: str
    label: str
    unit: str
    decimals: int
    shown_decimals: int
    loinc: str
    ucum: str

    @property
    def typeset_unit(self) -> str:
        """The unit as a page prints it, powers raised."""
        return self.unit.replace("^12", "¹²")

    def stored(self, value: float | None) -> str:
        """A value with the decimals of files, without its unit; empty for None."""
        return "" if value is None else f"{value:.{self.decimals}f}"

    def shown(self, value: float) -> str:
        """A value with the decimals people read, without its unit."""
        return f"{value:.{self.shown_decimals}f}"

    def with_unit(self, value: float) -> str:
        """A value as people read it, such as ``98 g/L``."""
        return f"{self.shown(value)} {self.unit}"


@dataclass(frozen=True, slots=True)
class MeasurandFacts(QuantityFacts):
    """A measurand. index: the field's index nearest to it, which needs no calibration.
    index_meaning: that index in words.
    """

    key: Measurand
    index: str
    index_meaning: str


@dataclass(frozen=True, slots=True)
class DerivedFacts(QuantityFacts):
    """A red-cell index: ``factor`` times ``numerator`` over ``denominator``."""

    key: DerivedIndex
    numerator: Measurand
    denominator: Measurand
    factor: float

    @property
    def formula(self) -> str:
        """Such as ``MCV = HCT / RBC``."""
        above, below = MEASURAND_FACTS[self.numerator], MEASURAND_FACTS[self.denominator]
        return f"{self.name} = {above.name} / {below.name}"


# Of LOINC's codes those that name no method; 4544-3, 789-8, 787-2, 785-6 and 786-4, which usually
# stand in such lists, say "by Automated count".
MEASURAND_FACTS: Mapping[Measurand, MeasurandFacts] = MappingProxyType(
    {
        facts.key: facts
        for facts in (
            MeasurandFacts(
                key="hgb_g_per_l",
                name="HGB",
                label="haemoglobin",
                unit="g/L",
                decimals=1,
                shown_decimals=0,
                loinc="718-7",
                ucum="g/L",
                index="hgb_index",
                index_meaning="mean green optical density of the fields",
            ),
            MeasurandFacts(
                key="hct_l_per_l",
                name="HCT",
                label="haematocrit",
                unit="L/L",
                decimals=4,
                shown_decimals=3,
                loinc="20570-8",
                ucum="L/L",
                index="hct_index",
                index_meaning="share of the fields covered by cells",
            ),
            MeasurandFacts(
                key="rbc_1e12_per_l",
                name="RBC",
                label="red cells",
                unit="10^12/L",
                decimals=3,
                shown_decimals=2,
                loinc="26453-1",
                ucum="10*12/L",
                index="rbc_index",
                index_meaning="red cells per mm² of smear",
            ),
        )
    }
)

DERIVED_FACTS: Mapping[DerivedIndex, DerivedFacts] = MappingProxyType(
    {
        facts.key: facts
        for facts in (
            DerivedFacts(
                key="mcv_fl",
                name="MCV",
                label="mean cell volume",
                unit="fL",
                decimals=1,
                shown_decimals=0,
                loinc="30428-7",
                ucum="fL",
                numerator="hct_l_per_l",
                denominator="rbc_1e12_per_l",
                factor=1000.0,  # L/L over 10^12/L is 10^-12 L = 1000 fL
            ),
            DerivedFacts(
                key="mch_pg",
                name="MCH",
                label="mean cell haemoglobin",
                unit="pg",
                decimals=2,
                shown_decimals=1,
                loinc="28539-5",
                ucum="pg",
                numerator="hgb_g_per_l",
                denominator="rbc_1e12_per_l",
                factor=1.0,  # g/L over 10^12/L is pg
            ),
            DerivedFacts(
                key="mchc_g_per_l",
                name="MCHC",
                label="mean cell haemoglobin concentration",
                unit="g/L",
                decimals=1,
                shown_decimals=0,
                loinc="28540-3",
                ucum="g/L",
                numerator="hgb_g_per_l",
                denominator="hct_l_per_l",
                factor=1.0,  # g/L over L/L is g/L of red cells
            ),
        )
    }
)

# All of them, in the order of records and pages.
BLOOD_FACTS: Mapping[BloodQuantity, QuantityFacts] = MappingProxyType(
    {facts.key: facts for facts in (*MEASURAND_FACTS.values(), *DERIVED_FACTS.values())}
)
