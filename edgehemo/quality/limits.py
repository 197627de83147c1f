"""The one table of quality limits, each with its unit and what it stands on.

"Measured" limits were set on the first part of the real sets (alternating blocks of neighbouring
file numbers of bccd, chula_rbc12, chula_disease, txl_pbc, anerbc) and judged once on the other.
Keys are ``<check>.<fail|warn>_<below|above>``.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.images.whole import MIN_MISSING_SHARE


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: its value, unit, and the evidence or source it stands on."""

    value: float
    unit: str
    evidence: str


LIMITS: dict[str, Limit] = {
    "whole_picture.fail_above": Limit(
        MIN_MISSING_SHARE,
        "share",
        "measured: none in 2,104 real fields; less moves no number by more",
    ),
    "specimen.fail_below": Limit(
        0.35, "likeness 0-1", "measured: real fields against photographs, text, shapes and noise"
    ),
    "colour.fail_below": Limit(
        0.025,
        "transmittance",
        "measured: real fields over 0.11, the same in grey or toned, with noise, under 0.011",
    ),
    "exposure.fail_below": Limit(
        70.0, "counts", "measured: darkest real fields about 138; half of the darkest is refused"
    ),
    "exposure.warn_below": Limit(100.0, "counts", "measured: darkest real fields about 138"),
    "highlights.fail_above": Limit(
        0.20, "share", "a background clipped over a fifth of the field has no measurable level"
    ),
    "highlights.warn_above": Limit(0.03, "share", "measured: real fields under 0.01"),
    "shadows.fail_above": Limit(0.20, "share", "a fifth of the field without any signal"),
    "shadows.warn_above": Limit(0.02, "share", "measured: real fields under 0.001"),
    "evenness.fail_above": Limit(
        0.50, "share", "a fourth-order surface follows a fall-off of half; beyond it is untested"
    ),
    "evenness.warn_above": Limit(0.30, "share", "measured: real fields under 0.17"),
    "field_stop.fail_below": Limit(0.20, "share", "too little of the picture is smear"),
    "field_stop.warn_below": Limit(0.55, "share", "measured: phones at an eyepiece 0.58 to 0.88"),
    "background.fail_below": Limit(
        0.05, "share", "below it the illumination cannot be fitted; measured: real fields over 0.28"
    ),
    "background.warn_below": Limit(0.15, "share", "measured: real fields over 0.28"),
    "scale_cells.fail_below": Limit(4.0, "cells", "edgehemo.field.scale.MIN_CELLS"),
    "scale_cells.warn_below": Limit(8.0, "cells", "standard error of the median over 5 %"),
    "scale_spread.warn_above": Limit(
        0.30, "relative IQR", "measured: real fields under 0.30; widths then mix kinds of cells"
    ),
    "cell_widths.fail_above": Limit(
        1.5, "ratio", "measured: real fields of right scale under 1.30; clumps and white cells 1.7"
    ),
    "cell_widths.warn_above": Limit(
        1.32, "ratio", "measured: real fields of right scale under 1.3"
    ),
    "scale_agreement.fail_above": Limit(
        1.8, "ratio", "next objective or camera mode; beyond any macrocytosis or microcytosis"
    ),
    "scale_agreement.warn_above": Limit(
        1.35, "ratio", "MCV 50 to 130 fL moves the diameter by less than a quarter"
    ),
    "focus.fail_below": Limit(
        2.4, "1/um", "measured: sharp real fields over 2.8, blurred by 1.25 um under 2.33"
    ),
    "focus.fail_below_share_of_reference": Limit(
        0.55,
        "share of the profile's reference",
        "measured: 96 % of sharp fields keep it over sets of mixed slides, 3 % blurred by 1.25 um",
    ),
    "focus.fail_below_share_of_best": Limit(
        0.60,
        "share of the sharpest field of the slide so far",
        "measured: 98.5 % of neighbouring sharp fields keep it, a 1 um disc leaves 0.55",
    ),
    "fine_detail.fail_below": Limit(
        -6.85,
        "ln share of power",
        "measured: midway between sharp real fields (over -6.42) and a 1 um blur (under -7.3)",
    ),
    "finest_detail.fail_below": Limit(
        -9.25,
        "ln share of power",
        "measured: between sharp real fields (over -8.98) and a 0.7 um blur (under -9.5; in crops "
        "of strong noise under -8.2)",
    ),
    "cell_count.fail_below": Limit(5.0, "cells", "a counting error of 45 % or more (Poisson)"),
    "cell_count.warn_below": Limit(15.0, "cells", "a counting error of 26 % or more (Poisson)"),
    "crowding.fail_above": Limit(
        0.80, "share", "red cells side by side cover 0.78 at most (square packing of discs)"
    ),
    "crowding.warn_above": Limit(0.65, "share", "measured: real fields under 0.62"),
    "clumping.warn_above": Limit(0.80, "share", "measured: nine of ten real fields are below"),
    "rouleaux.warn_above": Limit(0.20, "share", "measured: real fields under 0.17"),
    "nucleus_contrast.warn_below": Limit(
        0.03,
        "optical density",
        "measured: white cells of BCCD over 0.05, of TXL-PBC 98 % over 0.02",
    ),
    "stain_separation.warn_below": Limit(
        5.0,
        "degrees",
        "measured: white cells of BCCD over 14, of TXL-PBC over 5.6; red cells taken for white "
        "ones under 4",
    ),
    "nucleated_red_cells.warn_above": Limit(0.25, "share", "measured: human fields under 0.21"),
    "nucleated_red_cells.fail_above": Limit(
        0.60, "share", "most of the red cells; no human blood has so many"
    ),
    "spread.warn_above": Limit(75.0, "um", "ten red cells wide; measured: real fields under 73"),
    "stain_density.fail_below": Limit(
        0.045, "optical density", "measured: palest real fields 0.049"
    ),
    "stain_density.warn_below": Limit(
        0.07, "optical density", "measured: 3 % of real fields are paler"
    ),
    "stain_density.fail_above": Limit(0.60, "optical density", "measured: real fields under 0.32"),
    "stain_density.warn_above": Limit(0.40, "optical density", "measured: real fields under 0.32"),
    "stain_colour.warn_below": Limit(0.05, "ratio", "measured: real fields 0.07 to 0.90"),
    "stain_colour.warn_above": Limit(0.95, "ratio", "measured: real fields 0.07 to 0.90"),
    "stain_colour.fail_above": Limit(
        1.15, "ratio", "greener than grey: no stain of blood; measured: real fields under 0.90"
    ),
    "background_colour.warn_above": Limit(0.40, "ln ratio", "measured: real fields under 0.38"),
    "background_colour.fail_above": Limit(
        1.0, "ln ratio", "a channel at a third of another: clipped or noisy one way or the other"
    ),
    "stain_drift.warn_above": Limit(2.0, "SD", "Westgard 1-2s: a warning"),
    "stain_drift.fail_above": Limit(5.0, "SD", "far outside any control limit"),
    "stain_strength.warn_below": Limit(
        0.55, "share of the reference", "severe iron deficiency: MCH 15 pg of 29"
    ),
    "stain_strength.fail_below": Limit(
        0.40,
        "share of the reference",
        "paler than anaemia makes; measured: fields of one microscope and stain keep 0.43",
    ),
    "light_drift.warn_above": Limit(3.0, "SD", "Westgard 1-3s on the background"),
    "artefacts.warn_above": Limit(0.005, "share", "a pointer or scale bar: masked, worth removing"),
    "artefacts.fail_above": Limit(0.20, "share", "a fifth of the field is not blood"),
}


def limit(name: str) -> float:
    """The value of a limit of `LIMITS`; KeyError names one that does not exist."""
    return LIMITS[name].value
