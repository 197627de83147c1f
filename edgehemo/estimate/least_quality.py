"""The least that a calibration must be able to do for its numbers to be given.

Asked where a calibration is fitted, and again where it is used: a profile may be older than this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgehemo.anaemia.who_grade import widest_bands_g_per_l
from edgehemo.guidance.withheld import NotGiven, not_given
from edgehemo.measurands import MEASURAND_FACTS

if TYPE_CHECKING:
    from edgehemo.profile.analyser import MeasurandCalibration

# The leave-one-out error over the error of always saying the mean of the others. At 1 the picture
# tells nothing; two tubes mixed up among eight give 0.8 to 1.3, good fits 0.2 to 0.6.
MAX_ERROR_OVER_MEAN = 0.8


def widest_reach(measurand: str) -> float | None:
    """The widest half interval (95 %) a calibration may give, None where there is no such limit.

    Of haemoglobin: WHO's bands from severe to no anaemia, at their widest (men, 50 g/L). A value
    at the one end could not be told from the other.
    """
    return widest_bands_g_per_l() if measurand == "hgb_g_per_l" else None


def why_too_poor(calibration: MeasurandCalibration) -> NotGiven | None:
    """Why a measurand's calibration is not good enough to stand on, None where it is."""
    facts = MEASURAND_FACTS[calibration.measurand]
    if calibration.nested_mae > MAX_ERROR_OVER_MEAN * calibration.mean_only_mae:
        return not_given(
            "CALIBRATION_ERROR_LARGE",
            measurand=facts.name,
            error=f"{calibration.nested_mae:.3g}",
            mean=f"{calibration.mean_only_mae:.3g}",
            share=f"{100 * MAX_ERROR_OVER_MEAN:.0f}",
        )
    widest = widest_reach(calibration.measurand)
    reach = calibration.t95 * calibration.prediction_sd
    if widest is not None and reach > widest:
        return not_given(
            "CALIBRATION_INTERVAL_WIDE",
            measurand=facts.name,
            reach=facts.with_unit(reach),
            widest=facts.with_unit(widest),
        )
    return None
