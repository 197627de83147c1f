"""The anaemia-like study on the real sets: classes, duplicates, and what the file alone gives away.

The trainings themselves are the study's own run; their figures stand in the documentation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the [host] extra")

from edgehemo_export.studies.registry import STUDIES
from edgehemo_export.studies.remya.cohorts import Cohort, cohorts
from edgehemo_export.studies.remya.configuration import RemyaConfiguration
from edgehemo_export.studies.remya.measures import auc
from edgehemo_export.studies.remya.pictures import decoded, file_features
from edgehemo_export.studies.remya.screening import screened
from edgehemo_export.studies.remya.shortcuts import background_colour, out_of_fold
from edgehemo_export.studies.remya.splitting import grouped_folds, image_split, shared_groups
from edgehemo_export.studies.run import read_study_configuration

pytestmark = [pytest.mark.real, pytest.mark.host]


@pytest.fixture(scope="module")
def config() -> RemyaConfiguration:
    found = read_study_configuration(STUDIES["remya"].load())
    assert isinstance(found, RemyaConfiguration)
    return found


@pytest.fixture(scope="module")
def by_role(config: RemyaConfiguration, data_root: Path) -> dict[str, Cohort]:
    return cohorts(data_root, config.classes, config.pictures)[0]


def truth_of(cohort: Cohort) -> NDArray[np.intp]:
    return np.array([picture.label for picture in cohort.pictures], np.intp)


def test_the_sets_fill_every_role(by_role: dict[str, Cohort]) -> None:
    assert {role: cohort.found for role, cohort in by_role.items()} == {
        "main": (80, 92),
        "unconfounded": (80, 307),
        "second": (60, 60),
        "external": (4, 4),
    }
    # The control-like fields are the same ones in both.
    own = [
        {picture.path for picture in by_role[role].pictures if picture.label == 0}
        for role in ("main", "unconfounded")
    ]
    assert own[0] == own[1]


def test_the_file_alone_tells_the_two_publications_apart_and_not_one_camera(
    config: RemyaConfiguration, by_role: dict[str, Cohort]
) -> None:
    found = {}
    for role in ("main", "unconfounded"):
        cohort = by_role[role]
        truth = truth_of(cohort)
        groups = [picture.group for picture in cohort.pictures]
        folds = grouped_folds(truth.tolist(), groups, config.split, 1)
        features = np.array([file_features(picture.path) for picture in cohort.pictures])
        found[role] = auc(truth, out_of_fold(features, truth, folds))
    assert found["main"] > 0.99
    assert found["unconfounded"] < 0.65


def test_the_background_alone_tells_them_apart_too(
    config: RemyaConfiguration, by_role: dict[str, Cohort]
) -> None:
    some = [picture for picture in by_role["main"].pictures if picture.group[-1] in "0246"]
    small = config.pictures.model_copy(update={"side_px": 64})
    truth = np.array([picture.label for picture in some], np.intp)
    folds = grouped_folds(truth.tolist(), [p.group for p in some], config.split, 1)
    arrays = decoded(some, small)
    assert auc(truth, out_of_fold(background_colour(arrays.as_is), truth, folds)) > 0.85


def test_fields_published_twice_are_found(
    config: RemyaConfiguration, by_role: dict[str, Cohort]
) -> None:
    names = {"267", "273", "264", "265"}
    some = [p for p in by_role["unconfounded"].pictures if p.path.stem in names]
    found = screened(some, decoded(some, config.pictures.model_copy(update={"side_px": 32})))
    # One field under two numbers, with other cells labelled: one time normal, one time not.
    assert [picture.path.stem for picture in found.contradicted] == ["267", "273"]


def test_shuffled_picture_by_picture_nearly_all_have_a_neighbour_in_training(
    config: RemyaConfiguration, by_role: dict[str, Cohort]
) -> None:
    groups = [picture.group for picture in by_role["main"].pictures]
    split = image_split(len(groups), config.split, 1)
    assert shared_groups(groups, split) > 0.8 * len(split.test)
