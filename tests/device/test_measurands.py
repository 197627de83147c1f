"""The table of what is told of blood: whole, consistent with the keys, with codes that check."""

from __future__ import annotations

from typing import get_args

import pytest

from edgehemo.estimate.values import FieldIndices, SampleEstimate
from edgehemo.measurands import (
    BLOOD_FACTS,
    DERIVED_FACTS,
    MEASURAND_FACTS,
    MEASURANDS,
    BloodQuantity,
    DerivedIndex,
)

# What a key ends with -> the unit as people write it and as UCUM does.
UNITS = {
    "_g_per_l": ("g/L", "g/L"),
    "_l_per_l": ("L/L", "L/L"),
    "_1e12_per_l": ("10^12/L", "10*12/L"),
    "_fl": ("fL", "fL"),
    "_pg": ("pg", "pg"),
}
# Of each quantity the code in common use that says "by Automated count".
AUTOMATED = {"4544-3", "789-8", "787-2", "785-6", "786-4"}


def luhn_check_digit(digits: str) -> int:
    """Mod 10, as LOINC's Users' Guide (appendix) computes its check digits."""
    doubled = "".join(str(2 * int(d)) if i % 2 == 0 else d for i, d in enumerate(digits[::-1]))
    return -sum(map(int, doubled)) % 10


def test_every_quantity_has_its_row_in_the_order_of_records() -> None:
    assert tuple(MEASURAND_FACTS) == MEASURANDS
    assert tuple(DERIVED_FACTS) == get_args(DerivedIndex)
    assert tuple(BLOOD_FACTS) == (*MEASURANDS, *get_args(DerivedIndex))
    assert set(BLOOD_FACTS) <= set(SampleEstimate.__dataclass_fields__)


@pytest.mark.parametrize("key", BLOOD_FACTS)
def test_a_unit_is_the_one_its_key_says(key: BloodQuantity) -> None:
    facts = BLOOD_FACTS[key]
    name, _, _ = key.partition("_")
    assert facts.key == key and facts.name == name.upper()
    assert (facts.unit, facts.ucum) == UNITS[key.removeprefix(name)]
    assert facts.label == facts.label.lower()
    assert 0 <= facts.shown_decimals < facts.decimals


@pytest.mark.parametrize("key", BLOOD_FACTS)
def test_a_code_checks_and_claims_no_automated_count(key: BloodQuantity) -> None:
    number, _, check = BLOOD_FACTS[key].loinc.partition("-")
    assert int(check) == luhn_check_digit(number)
    assert BLOOD_FACTS[key].loinc not in AUTOMATED
    assert luhn_check_digit("4544") == 3 and luhn_check_digit("789") == 8


def test_a_measurand_names_an_index_that_a_field_has() -> None:
    for facts in MEASURAND_FACTS.values():
        assert isinstance(getattr(FieldIndices, facts.index), property)


def test_derived_indices_of_a_healthy_panel() -> None:
    panel = {"hgb_g_per_l": 140.0, "hct_l_per_l": 0.42, "rbc_1e12_per_l": 4.7}
    found = {
        key: facts.with_unit(facts.factor * panel[facts.numerator] / panel[facts.denominator])
        for key, facts in DERIVED_FACTS.items()
    }
    assert found == {"mcv_fl": "89 fL", "mch_pg": "29.8 pg", "mchc_g_per_l": "333 g/L"}
    assert DERIVED_FACTS["mch_pg"].formula == "MCH = HGB / RBC"


def test_values_as_they_are_written() -> None:
    rbc = MEASURAND_FACTS["rbc_1e12_per_l"]
    assert (rbc.stored(4.56789), rbc.stored(None)) == ("4.568", "")
    assert (rbc.shown(4.56789), rbc.with_unit(4.5)) == ("4.57", "4.50 10^12/L")
    assert rbc.typeset_unit == "10¹²/L"
    assert MEASURAND_FACTS["hct_l_per_l"].typeset_unit == "L/L"
