"""Can the values of one row be one person's blood? Pure."""

from __future__ import annotations

from collections.abc import Mapping

from edgehemo.measurands import DERIVED_FACTS, MEASURAND_FACTS, DerivedIndex, Measurand

# Red-cell indices that blood can have, in the units of `DERIVED_FACTS`. The normal ranges are MCV
# 83 to 101 fL, MCH 27 to 32 pg, MCHC 315 to 345 g/L (Dacie and Lewis, Practical Haematology). The
# limits lie where disease ends and error begins: cells of severe thalassaemia and iron deficiency
# on the one side, megaloblastic cells on the other; of MCHC some 380 g/L, as much haemoglobin as a
# red cell can hold (Bain, Blood Cells; the ISLH consensus rules of 2005 have an MCHC 20 g/L above
# the upper limit looked into as an error of the sample).
PHYSIOLOGICAL: Mapping[DerivedIndex, tuple[float, float]] = {
    "mcv_fl": (45.0, 150.0),
    "mch_pg": (12.0, 50.0),
    "mchc_g_per_l": (220.0, 380.0),
}


def impossible_indices(reference: Mapping[Measurand, float]) -> list[str]:
    """What no one's blood is like, one phrase each; nothing where a part was not measured."""
    faults = []
    for name, (low, high) in PHYSIOLOGICAL.items():
        facts = DERIVED_FACTS[name]
        above, below = reference.get(facts.numerator), reference.get(facts.denominator)
        if above is None or below is None or below <= 0:
            continue
        value = facts.factor * above / below
        if not low <= value <= high:
            parts = (
                f"{MEASURAND_FACTS[facts.numerator].name} {above:g} / "
                f"{MEASURAND_FACTS[facts.denominator].name} {below:g}"
            )
            faults.append(
                f"{facts.name} {value:.0f} {facts.unit} ({parts}) is outside {low:g} to {high:g}: "
                "a value is wrong or a tube is mixed up"
            )
    return faults
