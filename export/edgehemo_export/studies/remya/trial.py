"""One training of one arm, from its split to its answers: what is stored as a part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo_export.studies.parts import relative_name
from edgehemo_export.studies.remya.balancing import downsampled, shown
from edgehemo_export.studies.remya.cohorts import CLASSES, StudyPicture
from edgehemo_export.studies.remya.configuration import ArmConfig, RemyaConfiguration, Start
from edgehemo_export.studies.remya.looks import features_of, heat_on_cells, maps_of, plane_of
from edgehemo_export.studies.remya.networks import built
from edgehemo_export.studies.remya.pictures import Decoded
from edgehemo_export.studies.remya.protocol import Epoch, Lesson, scores, trained
from edgehemo_export.studies.remya.splitting import (
    Indices,
    StudySplit,
    grouped_folds,
    grouped_split,
    image_split,
    shared_groups,
)

DIGITS = 6
# Of Grad-CAM maps and places in the plane of features, which are only drawn.
DRAWN_DIGITS = 3


@dataclass(frozen=True)
class Material:
    """What trials are made of. root: of the data. taught: pictures of each role, screened. raw: the
    same as found, for the paper's own split. decoded: of all of them.
    """

    root: Path
    taught: Mapping[str, Sequence[StudyPicture]]
    raw: Mapping[str, Sequence[StudyPicture]]
    decoded: Decoded

    @cached_property
    def digest(self) -> str:
        """Of which pictures there are, by role, class and group: what any trial depends on."""
        told = [
            (kind, role, relative_name(self.root, p.path), p.tile, p.tiles, p.label, p.group)
            for kind, roles in (("taught", self.taught), ("raw", self.raw))
            for role, pictures in sorted(roles.items())
            for p in pictures
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True)
class Asked:
    """Which trial: an arm's run with a seed, of one fold where it has folds."""

    arm: str
    config: ArmConfig
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Of its part."""
        if self.fold is not None:
            return f"{self.arm}-fold{self.fold + 1}"
        return f"{self.arm}-seed{self.seed}"


def asked_of(config: RemyaConfiguration) -> list[Asked]:
    """Every trial of a configuration: the first run of every arm, then the second ones, and on."""
    rounds: dict[int, list[Asked]] = {}
    for name in config.run:
        arm = config.arms[name]
        seeds = config.seeds_of(arm)
        if arm.split == "folds":
            folds = range(config.split.folds)
            rounds.setdefault(0, []).extend(Asked(name, arm, seeds[0], fold) for fold in folds)
            continue
        for number, seed in enumerate(seeds):
            rounds.setdefault(number, []).append(Asked(name, arm, seed))
    return [asked for number in sorted(rounds) for asked in rounds[number]]


def pictures_of(asked: ArmConfig, material: Material) -> Sequence[StudyPicture]:
    """What an arm's indices point into."""
    source = material.raw if asked.split == "image" else material.taught
    return source[asked.cohort]


def split_of(
    asked: Asked, pictures: Sequence[StudyPicture], config: RemyaConfiguration
) -> StudySplit:
    """The parts of a trial, indices into its pictures; UsageError where one lacks a class."""
    labels = np.array([picture.label for picture in pictures], np.intp)
    groups = [picture.group for picture in pictures]
    kind = asked.config.split
    if kind == "image":
        # As the paper: balanced first, shuffled then, and no part is balanced again.
        chosen = downsampled(np.arange(len(pictures)), labels, asked.seed)
        inner = image_split(len(chosen), config.split, asked.seed)
        split = StudySplit(chosen[inner.train], chosen[inner.validate], chosen[inner.test])
    elif kind == "folds":
        split = grouped_folds(labels.tolist(), groups, config.split, asked.seed)[asked.fold or 0]
    else:
        split = grouped_split(labels.tolist(), groups, config.split, asked.seed)
    for name, part in split.parts().items():
        if name != "test" and len(set(labels[part])) < len(CLASSES):
            raise UsageError(
                f"{asked.name}: the part {name} has not both classes ({len(part)} of "
                f"{len(pictures)} pictures in {len(set(groups))} groups); more groups are needed "
                "of each class, or smaller ones"
            )
    return split


def trial(
    asked: Asked,
    start: Start,
    material: Material,
    config: RemyaConfiguration,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Train one network and let it answer: plain values.

    ``test`` lists every held-out picture, ``balanced`` those of them that count where both classes
    are made equal; ``external`` has scores of the other roles' pictures that it was not taught.
    """
    arm = asked.config
    pictures = pictures_of(arm, material)
    labels = np.array([picture.label for picture in pictures], np.intp)
    split = split_of(asked, pictures, config)
    arrays = getattr(material.decoded, arm.prepared)
    own = arrays[material.decoded.places(pictures)]
    as_paper = arm.split == "image"
    lesson = Lesson(
        pictures=own,
        labels=labels,
        shown=shown(split.train, labels, "none" if as_paper else arm.balance, asked.seed),
        validate=split.validate if as_paper else downsampled(split.validate, labels, asked.seed),
        augmentation=config.augmentation,
        without=arm.without,
        focal_gamma=config.training.focal_gamma if arm.balance == "focal" else 0.0,
    )
    net = built(arm.network, start, asked.seed)
    result = trained(net, lesson, config.training, asked.seed, tell)
    size = config.training.batch_size

    def scored(chosen: NDArray[np.uint8]) -> list[float]:
        return [round(float(score), DIGITS) for score in scores(result.net, chosen, size)]

    answer: dict[str, Any] = {
        "start": start,
        "split": {name: part.tolist() for name, part in split.parts().items()},
        "shown": len(lesson.shown.indices),
        "validated": lesson.validate.tolist(),
        "shared_groups": shared_groups([picture.group for picture in pictures], split),
        "curve": [asdict(epoch) for epoch in result.curve],
        "best": result.best,
        "test": scored(own[split.test]),
        "balanced": [True] * len(split.test)
        if as_paper
        else _balanced(split.test, labels, asked.seed),
        "external": {},
    }
    if arm.split == "grouped":
        for role, others in outsiders(arm, material).items():
            answer["external"][role] = scored(arrays[material.decoded.places(others)])
    if arm.explained and asked.seed == config.seeds_of(arm)[0]:
        answer["looks"] = _looks(result.net, arm.network, own, split, size)
    return answer


def outsiders(arm: ArmConfig, material: Material) -> dict[str, list[StudyPicture]]:
    """By role, the pictures that an arm's cohort does not hold."""
    taught = {picture.path for picture in material.raw[arm.cohort]}
    found = {
        role: [picture for picture in pictures if picture.path not in taught]
        for role, pictures in material.taught.items()
        if role != arm.cohort
    }
    return {role: pictures for role, pictures in found.items() if pictures}


def epochs_of(answer: Mapping[str, Any]) -> list[Epoch]:
    """The curve of a stored trial."""
    return [Epoch(**epoch) for epoch in answer["curve"]]


def _balanced(test: Indices, labels: NDArray[np.intp], seed: int) -> list[bool]:
    """Which held-out pictures count where both classes are made equal."""
    kept = set(downsampled(test, labels, seed).tolist()) if len(set(labels[test])) > 1 else set()
    return [int(place) in kept for place in test]


def _looks(
    net: Any, network: str, own: NDArray[np.uint8], split: StudySplit, size: int
) -> dict[str, Any]:
    """Grad-CAM of the held-out pictures, and all pictures in the plane of their features."""
    maps = maps_of(net, network, own[split.test])
    plane = plane_of(features_of(net, own, size), split.train)
    return {
        "maps": None if maps is None else np.round(maps, DRAWN_DIGITS).astype(float).tolist(),
        "on_cells": None
        if maps is None
        else [
            [round(share, DRAWN_DIGITS) for share in heat_on_cells(heat, own[place])]
            for heat, place in zip(maps, split.test, strict=True)
        ],
        "plane": np.round(plane, DRAWN_DIGITS).tolist(),
    }
