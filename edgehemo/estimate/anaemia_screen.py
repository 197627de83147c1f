"""The anaemia screen of a sample: anaemia-like or control-like, by a network, from its fields.

A research aid beside the haemoglobin: it names no disease and grades nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgehemo.estimate.network import ANAEMIA_CLASS, ANAEMIA_LOG_ODDS

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import KindOperatingPoint
    from edgehemo.estimate.values import FieldIndices

ScreenClass = Literal["anaemia-like", "control-like", "uncertain"]
# Of a sample's fields the screen must have read at least this share: where it knows a few by chance
# the light or stain is another one.
LEAST_READ_SHARE = 0.5
# Between these calibrated probabilities the sample is called neither.
UNCERTAIN_LOW, UNCERTAIN_HIGH = 0.35, 0.65
NOTE = (
    "research aid: how much the fields look like those of anaemic samples it was trained on; of "
    "fields of a microscope it had never seen it could tell next to nothing; no diagnosis, and no "
    "substitute for a haemoglobin"
)


@dataclass(frozen=True, slots=True)
class AnaemiaScreenResult:
    """score: calibrated probability (0-1) of anaemia-like. fields: how many it stands on."""

    score: float
    result: ScreenClass
    fields: int


def screen_sample(
    fields: Sequence[FieldIndices], point: KindOperatingPoint
) -> AnaemiaScreenResult | None:
    """The sample's result from its accepted fields; None where the screen read too few of them.

    The mean log odds of the fields, calibrated for samples as the bundle says.
    """
    odds = [field.model[ANAEMIA_LOG_ODDS] for field in fields if ANAEMIA_LOG_ODDS in field.model]
    if not odds or len(odds) < LEAST_READ_SHARE * len(fields):
        return None
    calibration = point.calibration
    score = sigmoid(calibration.slope * sum(odds) / len(odds) + calibration.intercept)
    return AnaemiaScreenResult(score, class_of(score), len(odds))


def class_of(score: float) -> ScreenClass:
    """What a calibrated probability is called."""
    if score >= UNCERTAIN_HIGH:
        return "anaemia-like"
    return "control-like" if score <= UNCERTAIN_LOW else "uncertain"


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


__all__ = [
    "ANAEMIA_CLASS",
    "NOTE",
    "AnaemiaScreenResult",
    "ScreenClass",
    "class_of",
    "screen_sample",
]
