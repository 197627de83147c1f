"""What tells one cell classifier from another, and how its checkpoint is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ConformalRule, ModelTask
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.conformal import conformal_rule
from edgehemo_export.models.classifiers.training import ClassifierConfig, UnnamedCrops

# Training crops and their masks bool (n, s, s) to gains by source, see `ClassifierTask`.
StainGains = Callable[[CellCrops, NDArray[np.bool_]], Mapping[str, NDArray[np.float64]]]


# Probabilities float32 (n, classes), labels (n,), classes and coverage to a rule.
FitRule = Callable[[NDArray[np.float32], NDArray[np.intp], Sequence[str], float], ConformalRule]


@dataclass(frozen=True)
class FalseAlarms:
    """What harms most: cells of healthy blood named for what no healthy blood holds.

    healthy, named: classes. says: what the figure is called.
    """

    healthy: tuple[str, ...]
    named: tuple[str, ...]
    says: str


@dataclass(frozen=True)
class ClassifierSpec:
    """What tells one classifier from another.

    task, title, says: of the bundle and the card. classes: the outputs, in order, ``rejects``
    among them. build: every crop of the sources a configuration reads, from a data root and a
    cache folder. masks: the middle cell of each crop, where surroundings are exchanged in
    training, else None. licences: a line for each source. never_tested: more lines of the card.
    stain_gains: from training crops and their masks, see `ClassifierTask`. rule: fits the conformal
    rule, in words ``rule_says``. refinement: the shipped configuration of a second run that starts
    from a first one's checkpoint. unnamed: crops of every part, read like those of build, of which
    only some classes are known to be possible. drawn: crops of every part whose cell was drawn into
    another shape, with its class; given the crops of build. false_alarms: the harm that is
    measured. left_out_steps: of the runs that left a source out, where they are fewer.
    """

    task: ModelTask
    title: str
    says: str
    classes: tuple[str, ...]
    rejects: tuple[str, ...]
    build: Callable[[Path, ClassifierConfig, Path | None], CellCrops]
    masks: Callable[[CellCrops, Path | None], NDArray[np.bool_]] | None
    licences: Mapping[str, str]
    never_tested: tuple[str, ...] = ()
    stain_gains: StainGains | None = None
    rule: FitRule = conformal_rule
    rule_says: str = "class by class"
    refinement: str | None = None
    unnamed: Callable[[Path, ClassifierConfig, Path | None], UnnamedCrops] | None = None
    drawn: Callable[[Path, ClassifierConfig, Path | None, CellCrops], CellCrops] | None = None
    false_alarms: FalseAlarms | None = None
    left_out_steps: int | None = None

    @property
    def command(self) -> str:
        return self.task.replace("_", "-")
