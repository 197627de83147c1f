"""What decides a run of this study: every number that the paper gives, and those it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgehemo_export.configuration import Configuration
from edgehemo_export.studies.study import StudyConfiguration

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]

# The parts a set of pictures plays: see `cohorts`.
Role = Literal["main", "unconfounded", "second"]
# image: shuffled picture by picture, as in the paper. grouped: whole groups, after duplicates are
# taken out. folds: as grouped, in folds.
SplitKind = Literal["image", "grouped", "folds"]
Balance = Literal["downsample", "none", "class_weights", "focal", "oversample"]
# Steps of the augmentation that can be left out.
Step = Literal["flips", "rotation", "colour", "affine"]
STEPS: tuple[Step, ...] = ("flips", "rotation", "colour", "affine")
Prepared = Literal["as_is", "levelled"]
Start = Literal["imagenet", "sibling", "scratch"]
# The section of the page that an arm is for.
Shows = Literal["protocol", "paper_split", "folds", "balance", "augmentation", "levelled", "start"]


class PicturesConfig(Configuration):
    """side_px: of the network's input. tiles_per_side: 1 takes whole pictures, 2 their quarters.
    most_per_class: a larger class is thinned evenly to so many before anything else.
    levelled_width_px, levelled_jpeg_quality: of the pictures made alike (see `pictures.levelled`).
    """

    side_px: int = Field(ge=32, le=512)
    tiles_per_side: int = Field(ge=1, le=4)
    most_per_class: int = Field(ge=4)
    levelled_width_px: int = Field(ge=64)
    levelled_jpeg_quality: int = Field(ge=1, le=100)


class ClassesConfig(Configuration):
    """Which picture belongs to which class.

    A field of Chula RBC-12 with at least min_labelled cells is control-like from control_normal on
    and anaemia-like up to anaemia_normal, shares of its labelled cells that are normal. Of an own
    set: names of folders that hold either class; pictures_per_group neighbouring numbers are one
    group where no ``groups.csv`` says more.
    """

    min_labelled: Count
    control_normal: Share
    anaemia_normal: Share
    control_folders: tuple[str, ...] = Field(min_length=1)
    anaemia_folders: tuple[str, ...] = Field(min_length=1)
    pictures_per_group: Count

    @model_validator(mode="after")
    def _apart(self) -> ClassesConfig:
        if self.anaemia_normal >= self.control_normal:
            raise ValueError("anaemia_normal must lie below control_normal")
        if shared := set(self.control_folders) & set(self.anaemia_folders):
            raise ValueError(f"a folder of both classes: {', '.join(sorted(shared))}")
        return self


class SplitConfig(Configuration):
    """What train and validate leave is held out. folds: of the cross-validation."""

    train_share: float = Field(gt=0, lt=1)
    validate_share: float = Field(gt=0, lt=1)
    folds: int = Field(ge=3, le=20)

    @model_validator(mode="after")
    def _some_left(self) -> SplitConfig:
        if self.held_out_share <= 0:
            raise ValueError("train_share and validate_share must leave a share to hold out")
        return self

    @property
    def held_out_share(self) -> float:
        """What is left."""
        return 1 - self.train_share - self.validate_share


class TrainingConfig(Configuration):
    """The paper's protocol. focal_gamma: of the focal loss, where it is tried."""

    epochs: Count
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    focal_gamma: float = Field(ge=0)


class AugmentationConfig(Configuration):
    """Of training pictures alone; the paper names the steps and gives no strengths.

    horizontal_flip, vertical_flip: probability. rotation_deg: to either side. brightness,
    contrast, saturation: relative, to either side. hue_deg: to either side. shift: of the side,
    either way; scale: relative, to either side; shear_deg: to either side.
    """

    horizontal_flip: Share
    vertical_flip: Share
    rotation_deg: float = Field(ge=0, le=180)
    brightness: Share
    contrast: Share
    saturation: Share
    hue_deg: float = Field(ge=0, le=180)
    shift: Share
    scale: float = Field(ge=0, lt=1)
    shear_deg: float = Field(ge=0, lt=45)


class ArmConfig(Configuration):
    """One way of training, repeated by seed or by fold.

    shows: what it is for. cohort: what it is trained on. without: steps of the augmentation left
    out. start: the first of these weights that can be had, empty for the study's order. seeds:
    empty for the study's. explained: its first run also says where the network looks. seconds: one
    run took on the machine that the study was timed on.
    """

    shows: Shows
    cohort: Role
    network: str
    split: SplitKind = "grouped"
    balance: Balance = "downsample"
    without: tuple[Step, ...] = ()
    prepared: Prepared = "as_is"
    start: tuple[Start, ...] = ()
    seeds: tuple[int, ...] = ()
    explained: bool = False
    seconds: float = Field(default=60.0, ge=0)


class RemyaConfiguration(StudyConfiguration):
    """run: names of the arms that are trained, in this order."""

    bootstrap_rounds: int = Field(ge=100)
    start: tuple[Start, ...] = Field(min_length=1)
    run: tuple[str, ...] = Field(min_length=1)
    pictures: PicturesConfig
    classes: ClassesConfig
    split: SplitConfig
    training: TrainingConfig
    augmentation: AugmentationConfig
    arms: Mapping[str, ArmConfig]

    @model_validator(mode="after")
    def _known_arms(self) -> RemyaConfiguration:
        if unknown := [name for name in self.run if name not in self.arms]:
            raise ValueError(f"run names arms that there are not: {', '.join(unknown)}")
        return self

    def seeds_of(self, arm: ArmConfig) -> tuple[int, ...]:
        """The seeds an arm is repeated with."""
        return arm.seeds or self.seeds

    def start_of(self, arm: ArmConfig) -> tuple[Start, ...]:
        """The weights an arm would start from, in order of preference."""
        return arm.start or self.start
