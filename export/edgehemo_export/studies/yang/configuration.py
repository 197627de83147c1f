"""Every hyperparameter and seed of the study; `configs/study_yang.toml` explains and sets them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from edgehemo_export.configuration import Configuration
from edgehemo_export.studies.study import StudyConfiguration
from edgehemo_export.studies.yang.patients import STORED_UM_PER_PX
from edgehemo_export.training.task import LoopConfig

Start = Literal["scratch", "sibling", "imagenet"]


class FieldOptions(Configuration):
    """How pictures become what the network sees. um_per_px: of that; pairs_um_per_px: of the
    pictures of pairs, 0 where the red cells tell it.
    """

    um_per_px: float = Field(ge=STORED_UM_PER_PX, le=4.0)
    crop_px: int = Field(ge=32)
    keep_refused: bool
    keep_refused_external: bool
    pairs_um_per_px: float = Field(ge=0.0, le=2.0)


class SimulatedLaboratory(Configuration):
    """The simulated laboratories. thin, thick: ranges of the film's thickness over the usual one,
    one field of each a patient.
    """

    seed: int = Field(ge=0)
    patients: int = Field(ge=10)
    side_px: int = Field(ge=128, le=4096)
    um_per_px: float = Field(gt=0.05, le=1.0)
    usual_fields: int = Field(ge=1)
    thin: tuple[float, float]
    thick: tuple[float, float]
    external_microscopes: tuple[int, ...]
    external_patients: int = Field(ge=3)


class YangConfiguration(StudyConfiguration):
    """The study's whole configuration; ``loop.seed`` is replaced by each seed in turn.

    repeat_seeds: first weights and batches that the first ``repeat_folds`` folds of the first seed
    are trained with again: what chance alone does to a network.
    """

    folds: int = Field(ge=2)
    repeat_seeds: tuple[int, ...]
    repeat_folds: int = Field(ge=1)
    start: Start
    bootstrap_rounds: int = Field(ge=100)
    permutations: int = Field(ge=99)
    fields: FieldOptions
    simulated: SimulatedLaboratory
    loop: LoopConfig

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        every = (*self.seeds, *self.repeat_seeds)
        if len(set(every)) != len(every):
            raise ValueError("seeds and repeat_seeds: each must be another one")
        return self
