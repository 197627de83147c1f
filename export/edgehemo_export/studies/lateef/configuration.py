"""The configuration of the study; `configs/study_lateef.toml` has its values and their reasons."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgehemo_export.configuration import Configuration
from edgehemo_export.studies.study import StudyConfiguration

Start = Literal["imagenet", "scratch"]
Coding = Literal["one_vs_one", "one_vs_rest"]


class DataOptions(Configuration):
    """classes: names of their folders. others: pictures of each further set, at most."""

    classes: tuple[str, ...] = Field(min_length=2)
    pictures_a_class: int = Field(ge=10)
    train_share: float = Field(gt=0, lt=1)
    side_px: int = Field(ge=64)
    others: int = Field(ge=1)


class ScatteringOptions(Configuration):
    """Of both layers: wavelets an octave and rotations; invariance_px: what is averaged over."""

    invariance_px: float = Field(ge=4)
    qualities: tuple[int, int]
    rotations: tuple[int, int]


class SvmOptions(Configuration):
    """The kernel is (1 + x.y / kernel_scale^2)^degree on standardised features. kept_share: of
    right answers out of fold, how many stay named under the threshold.
    """

    degree: int = Field(ge=1)
    box_constraint: float = Field(gt=0)
    kernel_scale: float = Field(gt=0)
    folds: int = Field(ge=2)
    coding: Coding
    kept_share: float = Field(gt=0, lt=1)


class BackgroundOptions(Configuration):
    """disc_share: diameter of the disc over the cell, of the picture's side."""

    disc_share: float = Field(gt=0, le=1)


class EqualOptions(Configuration):
    """How pictures of two scanners are made alike."""

    width_um: float = Field(gt=0)
    side_px: int = Field(ge=16)


class CnnOptions(Configuration):
    """Training by gradient descent. runs: how many of the study's seeds it is trained with."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    runs: int = Field(ge=0)


class TransferOptions(CnnOptions):
    """start: in order of preference. frozen: children (stages) that stay as they began, where that
    is ImageNet's weights. scratch_epochs: where it is none.
    """

    side_px: int = Field(ge=32)
    start: tuple[Start, ...] = Field(min_length=1)
    frozen: int = Field(ge=0)
    scratch_epochs: int = Field(ge=0)


class LateefConfiguration(StudyConfiguration):
    """Every hyperparameter and seed of the study."""

    data: DataOptions
    scattering: ScatteringOptions
    svm: SvmOptions
    background: BackgroundOptions
    equal: EqualOptions
    cnn: CnnOptions
    resnet50: TransferOptions
    transfer: TransferOptions
