"""What every section needs: texts of figures, counts, and pictures of answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.evaluation.statistics import EvaluationFigure
from edgehemo_export.studies.remya.cohorts import CLASSES
from edgehemo_export.studies.remya.networks import STARTS
from edgehemo_export.studies.remya.results import Answers, Found, Run
from edgehemo_export.studies.remya.trial import pictures_of
from edgehemo_export.studies.study import Measure


def exact_text(figure: EvaluationFigure) -> str:
    """Bounds of an exact interval in brackets."""
    return "" if figure.low is None else f"({figure.low:.3f} to {figure.high:.3f})"


def start_text(found: Found, arm: str) -> str:
    """What an arm's network started from, in short."""
    return STARTS[found.starts[arm].kind].split(" (")[0]


def arrays_of(found: Found, answers: Answers, run: Run) -> NDArray[np.uint8]:
    """The pictures (n, side, side, 3) behind answers, prepared as a run saw them."""
    arrays = getattr(found.material.decoded, run.asked.config.prepared)
    chosen: NDArray[np.uint8] = arrays[found.material.decoded.places(answers.pictures)]
    return chosen


def own_arrays(found: Found, run: Run) -> NDArray[np.uint8]:
    """The pictures that a run's indices point into, prepared as it saw them."""
    arrays = getattr(found.material.decoded, run.asked.config.prepared)
    pictures = pictures_of(run.asked.config, found.material)
    chosen: NDArray[np.uint8] = arrays[found.material.decoded.places(pictures)]
    return chosen


def per_class(labels: Sequence[int]) -> tuple[int, int]:
    """How many of either class, in the order of `CLASSES`."""
    return sum(label == 0 for label in labels), sum(label == 1 for label in labels)


def short_name(label: int) -> str:
    """``control`` or ``anaemia``."""
    return CLASSES[int(label)].removesuffix("-like")


def cell(measure: Measure | None) -> str:
    """A measure with its interval for a table."""
    return "none" if measure is None else str(measure)


def share(value: float) -> str:
    """A share without an interval for a table."""
    return f"{value:.3f}" if np.isfinite(value) else "none"
