"""Estimates as a calibrated device makes them: a straight line fitted on other samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.estimate.estimators import BY_NAME
from edgehemo.estimate.values import SampleIndices
from edgehemo.measurands import Measurand

# Named like an estimator, it knows what the fields were drawn with: no reader can know more.
DRAWN = "what was drawn"
# Estimators that are reported side by side; the first of each is the network's.
COMPARED: Mapping[Measurand, tuple[str, ...]] = {
    "hgb_g_per_l": (
        "network-hgb",
        "network-and-absorbance",
        "network-and-dark-share",
        "dark-share",
        "absorbance",
    ),
    "hct_l_per_l": ("network-hct", "network-and-cover", "cover"),
    "rbc_1e12_per_l": ("network-rbc", "cover-per-cell-area"),
}
SHORT: Mapping[Measurand, str] = {
    "hgb_g_per_l": "HGB",
    "hct_l_per_l": "HCT",
    "rbc_1e12_per_l": "RBC",
}


@dataclass(frozen=True)
class Estimates:
    """Of one measurand by one estimator: estimated and reference values (n,)."""

    estimated: NDArray[np.float64]
    reference: NDArray[np.float64]

    def figures(self, chosen: NDArray[np.intp]) -> dict[str, float]:
        """Mean absolute error and correlation of some of them."""
        a, b = self.estimated[chosen], self.reference[chosen]
        out = {"MAE": float(np.abs(a - b).mean())}
        if len(a) > 2 and a.std() > 0 and b.std() > 0:
            out["PCC"] = float(np.corrcoef(a, b)[0, 1])
        return out


def line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def features(pooled: Sequence[SampleIndices], estimator: str) -> NDArray[np.float64] | None:
    """One estimator's feature of each sample (n,), None where one lacks it or it has several."""
    rows = [BY_NAME[estimator].values(sample.mean) for sample in pooled]
    if any(row is None or len(row) != 1 for row in rows):
        return None
    return np.array([row[0] for row in rows if row is not None])


def estimates(x: NDArray[np.float64], reference: NDArray[np.float64]) -> Estimates:
    """Each sample by a least-squares line through all the others (leave-one-out).

    x: a feature of each sample (n,). reference: what an analyser says (n,).
    """
    out = np.empty(len(x))
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        slope, intercept = line(x[others], reference[others])
        out[i] = slope * x[i] + intercept
    return Estimates(out, reference)
