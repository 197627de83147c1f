"""How far a field lies from those the models were trained on.

The envelope comes with the model bundle, made by `fit_envelope` from the training fields:
``{"features": [names], "mean": [...], "precision": [[...]], "warn_above": x, "fail_above": y}``,
the distance being Mahalanobis'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.field.illumination import Illumination
from edgehemo.quality.check import Check
from edgehemo.quality.regions import FieldRegions
from edgehemo.quality.stain import background_tint
from edgehemo.quality.verdicts import flagged

ENVELOPE_FEATURES = (
    "cell_od_red",
    "cell_od_green",
    "cell_od_blue",
    "background_tint",
    "cell_cover",
)
# A direction in which the training fields hardly vary must not make every new field an outlier.
_RIDGE_SHARE = 0.02


def envelope_features(regions: FieldRegions, illumination: Illumination) -> NDArray[np.float64]:
    """`ENVELOPE_FEATURES` of one field, float64 (5,); NaN where there are no cells to measure."""
    density = regions.body_density() or (float("nan"),) * 3
    return np.array(
        [*density, background_tint(illumination.background_rgb), regions.cell_cover],
        dtype=np.float64,
    )


def fit_envelope(features: NDArray[np.float64]) -> dict[str, Any]:
    """The envelope of training fields, features float64 (fields, 5); rows with NaN are left out.

    The limits are the distances that 1 % of the training fields exceed (warn) and 1.5 times that
    (fail). Raises ValueError with fewer than 20 fields.
    """
    rows = features[np.isfinite(features).all(axis=1)]
    if len(rows) < 20:
        raise ValueError(f"an envelope needs at least 20 measurable fields, got {len(rows)}")
    mean = rows.mean(axis=0)
    covariance = np.cov(rows, rowvar=False)
    covariance += _RIDGE_SHARE * np.diag(np.diag(covariance)) + 1e-9 * np.eye(len(mean))
    precision = np.linalg.inv(covariance)
    centred = rows - mean
    distances = np.sqrt(np.einsum("ij,jk,ik->i", centred, precision, centred))
    warn_above = float(np.quantile(distances, 0.99))
    return {
        "features": list(ENVELOPE_FEATURES),
        "mean": mean.tolist(),
        "precision": precision.tolist(),
        "warn_above": warn_above,
        "fail_above": 1.5 * warn_above,
    }


def envelope_check(features: NDArray[np.float64], envelope: Mapping[str, Any]) -> Check:
    """Verdict on the distance of ``features`` (`ENVELOPE_FEATURES`) from the envelope.

    Raises ValueError for an envelope of other features: it belongs to another version.
    """
    if tuple(envelope["features"]) != ENVELOPE_FEATURES:
        raise ValueError("the bundle's envelope is of other features than this software measures")
    warn_above, fail_above = float(envelope["warn_above"]), float(envelope["fail_above"])
    offset = features - np.asarray(envelope["mean"], dtype=np.float64)
    if not np.isfinite(offset).all():
        return flagged("envelope", None, fail_above, "OUTSIDE_ENVELOPE", "fail")
    square = float(offset @ np.asarray(envelope["precision"], dtype=np.float64) @ offset)
    distance = float(np.sqrt(max(0.0, square)))
    if distance > fail_above:
        return flagged("envelope", distance, fail_above, "OUTSIDE_ENVELOPE", "fail")
    if distance > warn_above:
        return flagged("envelope", distance, warn_above, "OUTSIDE_ENVELOPE", "warn")
    return Check("envelope", distance, fail_above, "pass")
