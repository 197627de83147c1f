"""From which score on a finding is reported, and how sure it then is: fitted on the tune part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from edgehemo.bundle.manifest import KindOperatingPoint, ScoreCalibration
from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.finder import calibrate
from edgehemo_export.models.finder.evaluation import IDENTITY_POINT, Examined

# Spread of the prior around an uncalibrated score (log slope 0, intercept 0): it decides only
# where right and wrong candidates are too few, or too well apart, to fix a slope.
CALIBRATION_PRIOR_SD = (0.5, 2.0)


def fit_operating_points(
    examined: Sequence[Examined], complete: Callable[[Examined, str], bool]
) -> dict[str, KindOperatingPoint]:
    """Score calibration, threshold and count error of each kind, from the tune part.

    ``complete`` tells whether every cell of a kind is labelled in an image; only such images
    count, since a cell without a label would be taken for a false one. The threshold is where as
    many cells are reported as were labelled.
    """
    points: dict[str, KindOperatingPoint] = {}
    for index, kind in enumerate(CELL_KINDS):
        # A data root may hold no set that labels every cell of a kind: then what there is serves.
        usable = [item for item in examined if complete(item, kind)] or list(examined)
        if not usable:
            points[kind] = IDENTITY_POINT.model_copy(update={"threshold": 0.5})
            continue
        chosen = [(item.candidates[:, 5] == index) & item.interior_candidates for item in usable]
        scores = np.concatenate([i.candidates[c, 4] for i, c in zip(usable, chosen, strict=True)])
        truth = np.concatenate([i.matched[c] for i, c in zip(usable, chosen, strict=True)])
        labelled = sum(int(((i.label_kinds == index) & i.interior_labels).sum()) for i in usable)
        clipped = np.clip(scores, 1e-6, 1 - 1e-6)
        logit = np.log(clipped / (1 - clipped)).astype(np.float64)
        slope, intercept = _fitted_logistic(logit, truth)
        # Labelled cells that no candidate reached belong into an unbiased expected count.
        wanted, low, high = float(labelled), intercept - 3.0, intercept + 3.0
        for _ in range(60):
            middle = (low + high) / 2
            total = float(expit(slope * logit + middle).sum())
            low, high = (middle, high) if total < wanted else (low, middle)
        calibration = ScoreCalibration(slope=slope, intercept=(low + high) / 2)
        bare = KindOperatingPoint(threshold=0.5, calibration=calibration, count_relative_sd=0.0)
        probability = calibrate(scores, bare)
        ranked = np.sort(probability)[::-1]
        position = min(max(1, labelled), len(ranked)) - 1
        threshold = float(np.clip(ranked[position], 0.3, 0.7)) if len(ranked) else 0.5
        errors, squares = 0.0, 0.0
        for item, mask in zip(usable, chosen, strict=True):
            p = calibrate(item.candidates[mask, 4], bare).astype(float)
            n = float(((item.label_kinds == index) & item.interior_labels).sum())
            errors += (p.sum() - n) ** 2 - float((p * (1 - p)).sum())
            squares += n**2
        spread = float(np.sqrt(max(0.0, errors) / max(1.0, squares)))
        points[kind] = KindOperatingPoint(
            threshold=threshold, calibration=calibration, count_relative_sd=spread
        )
    return points


def _fitted_logistic(logit: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of P(right | logit) = sigmoid(slope logit + intercept), by MAP."""
    sign = np.where(truth, 1.0, -1.0)
    slope_sd, intercept_sd = CALIBRATION_PRIOR_SD

    def cost(at: NDArray[np.float64]) -> float:
        margin = sign * (np.exp(at[0]) * logit + at[1])
        prior = (at[0] / slope_sd) ** 2 + (at[1] / intercept_sd) ** 2
        return float(np.logaddexp(0.0, -margin).sum() + 0.5 * prior)

    found = minimize(cost, np.zeros(2), method="Nelder-Mead")
    return float(np.exp(found.x[0])), float(found.x[1])
