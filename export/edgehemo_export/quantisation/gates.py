"""How good an artefact must stay: the one table of gates, by task and by precision.

It drives the export, what a failed one says, the documentation and the tests. An artefact is
measured against PyTorch on kept-out samples, each side the way the device reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgehemo.bundle.manifest import ModelTask, Precision
from edgehemo.inference.verification import GATES as DIFFERENCE_GATES
from edgehemo_export.quantisation.formats import ALL_PRECISIONS

# Metric names to values, for one artefact or for PyTorch.
Figures = dict[str, float]

# The figures that every artefact has: how far it answers from PyTorch, and, of a regression, how
# far it follows PyTorch beyond what it was calibrated on.
DIFFERENCE, MEAN_DIFFERENCE = "largest_difference", "mean_difference"
FOLLOWED = "followed_beyond_calibration"

Sense = Literal["fall", "rise", "move", "at least", "at most"]


@dataclass(frozen=True)
class Gate:
    """One figure of an artefact and its limit.

    sense: what may be at most the limit: the figure's ``fall`` or ``rise`` from PyTorch's, how far
    it may ``move`` from it either way (a share of PyTorch's); or the figure itself is to be ``at
    least`` or ``at most`` the limit. fails: what is said of one that fails, a template of
    ``amount`` and ``limit``. rule: the gate in words, of ``limit``. precisions: where it holds.
    """

    figure: str
    sense: Sense
    limit: float
    fails: str
    rule: str
    precisions: tuple[Precision, ...] = ALL_PRECISIONS

    def amount(self, pytorch: Figures, artefact: Figures) -> float:
        """What is held against the limit."""
        value = artefact[self.figure]
        if self.sense == "fall":
            return pytorch[self.figure] - value
        if self.sense == "rise":
            return value - pytorch[self.figure]
        if self.sense == "move":
            return value / max(1.0, pytorch[self.figure]) - 1
        return value

    def problem(self, pytorch: Figures, artefact: Figures) -> str | None:
        """What an artefact fails by, None where it passes; what is no number fails."""
        amount = self.amount(pytorch, artefact)
        passes = (
            amount >= self.limit
            if self.sense == "at least"
            else (abs(amount) if self.sense == "move" else amount) <= self.limit
        )
        return None if passes else self.fails.format(amount=amount, limit=self.limit)

    @property
    def says(self) -> str:
        return self.rule.format(limit=self.limit)


def problems(
    gates: Sequence[Gate], pytorch: Figures, artefact: Figures, precision: Precision
) -> list[str]:
    """One line for each gate that an artefact of this precision fails."""
    found = [gate.problem(pytorch, artefact) for gate in gates if precision in gate.precisions]
    return [f"{precision}: {problem}" for problem in found if problem is not None]


# Of every model, whatever its task. A device asks the same again, on the samples of the bundle.
DIFFERENCES: tuple[Gate, ...] = tuple(
    Gate(
        DIFFERENCE,
        "at most",
        limit,
        "differs from PyTorch by {amount:.2e}, the gate is {limit:.0e}",
        "within {limit:g} of PyTorch (of the value, where that is above 1)",
        precisions=(precision,),
    )
    for precision, limit in DIFFERENCE_GATES.items()
)

_CLASSIFIER = (
    Gate(
        "accuracy",
        "fall",
        0.005,
        "accuracy falls by {amount:.4f}, the gate is {limit}",
        "accuracy at most {limit} lower",
    ),
    Gate(
        "macro_F1",
        "fall",
        0.01,
        "macro_F1 falls by {amount:.4f}, the gate is {limit}",
        "macro F1 at most {limit} lower",
    ),
    Gate(
        "agreement",
        "at least",
        0.98,
        "names {amount:.1%} of the crops as PyTorch does, the gate is {limit:.0%}",
        "names {limit:.0%} of the crops as PyTorch does",
    ),
    Gate(
        "known_alike",
        "at least",
        0.97,
        "known or unknown as PyTorch in {amount:.2%} of cells, the gate is {limit:.0%}",
        "at least {limit:.0%} of cells known or unknown as PyTorch has them",
    ),
)

TASK_GATES: Mapping[ModelTask, tuple[Gate, ...]] = {
    "cell_finder": (
        Gate(
            "mAP50",
            "fall",
            0.01,
            "mAP50 falls by {amount:.4f}, the gate is {limit}",
            "mAP50 at most {limit} lower",
        ),
        Gate(
            "interior_red_cells",
            "move",
            0.01,
            "red cells move by {amount:+.2%}, the gate is {limit:.0%}",
            "expected red cells at most {limit:.0%} more or fewer",
        ),
    ),
    "nucleated": _CLASSIFIER,
    "morphology": _CLASSIFIER,
    "field_estimator": (
        Gate(
            "HGB_MAE_g_per_l",
            "rise",
            0.2,
            "HGB error rises by {amount:.2f} g/L, the gate is {limit}",
            "HGB mean absolute error at most {limit} g/L higher",
        ),
        Gate(
            FOLLOWED,
            "at least",
            0.5,
            "an answer beyond the calibrated range reaches {amount:.0%} of PyTorch's, the gate is "
            "{limit:.0%}: the output is clipped",
            "follows PyTorch {limit:.0%} of the way beyond what it was calibrated on, where a "
            "clipped output stands still",
        ),
    ),
    "anaemia_screen": (
        Gate(
            "agreement",
            "at least",
            0.995,
            "calls {amount:.1%} of the tiles as PyTorch does, the gate is {limit:.1%}",
            "calls {limit:.1%} of the tiles as PyTorch does",
        ),
        Gate(
            "probability_shift",
            "at most",
            0.02,
            "probabilities move by {amount:.3f}, the gate is {limit}",
            "probabilities move by {limit} at most, in the mean",
        ),
    ),
}
