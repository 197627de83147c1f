"""The study of Lateef et al. on its real pictures: what they are, and the trap they lay.

The methods' figures are the study's own run; they stand in the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the [host] extra")

from edgehemo_export.studies.lateef.configuration import LateefConfiguration
from edgehemo_export.studies.lateef.data import (
    CellPicture,
    StudyData,
    Way,
    corners,
    find_data,
    picture_reader,
    split_of,
)
from edgehemo_export.studies.lateef.svm import fit_svm
from edgehemo_export.studies.registry import STUDIES
from edgehemo_export.studies.run import read_study_configuration

pytestmark = [pytest.mark.real, pytest.mark.host]


@pytest.fixture(scope="module")
def config() -> LateefConfiguration:
    found = read_study_configuration(STUDIES["lateef"].load())
    assert isinstance(found, LateefConfiguration)
    return found


@pytest.fixture(scope="module")
def data(config: LateefConfiguration, data_root: Path) -> StudyData:
    return find_data(data_root, config.data)


def corners_of(
    pictures: Sequence[CellPicture], way: Way, config: LateefConfiguration
) -> NDArray[np.float64]:
    read = picture_reader(way, 200, config.background, config.equal)
    share = config.background.disc_share
    return np.array([corners(read(picture), share) for picture in pictures])


def test_every_class_has_the_papers_hundred_and_the_rest_is_not_among_them(
    data: StudyData, config: LateefConfiguration
) -> None:
    assert data.classes == ("basophil", "erythroblast", "myeloblast")
    for name in data.classes:
        assert len(data.pictures[name]) >= config.data.pictures_a_class
    used = {picture.original for found in data.pictures.values() for picture in found}
    others = [picture for other in data.others for picture in other.pictures]
    assert not used & {picture.original for picture in others}
    names = {other.name for other in data.others}
    assert names >= {"PBC neutrophil", "LMU neutrophil", "BCCD white cells", "Raabin white cells"}


def test_a_split_is_the_papers_and_shares_no_picture(
    data: StudyData, config: LateefConfiguration
) -> None:
    for seed in config.seeds:
        split = split_of(data, config.data, seed)
        assert np.bincount(split.train_labels).tolist() == [70, 70, 70]
        assert np.bincount(split.test_labels).tolist() == [30, 30, 30]
        assert not set(split.train) & set(split.test)


def test_six_numbers_of_the_corners_tell_the_scanner_and_so_the_myeloblasts(
    data: StudyData, config: LateefConfiguration
) -> None:
    few = {name: data.pictures[name][:60] for name in data.classes}
    features = np.stack([corners_of(few[name], "cell hidden", config) for name in data.classes])
    labels = np.repeat(np.arange(len(data.classes)), 40)
    train = features[:, [i for i in range(60) if i % 3]].reshape(-1, features.shape[-1])
    test = features[:, ::3]
    fitted = fit_svm(train, labels, len(data.classes), config.svm)
    called = [fitted.scores(rows).argmax(axis=1) for rows in test]
    recalls = [float(np.mean(row == index)) for index, row in enumerate(called)]
    # No cell is seen. Myeloblasts were taken by another scanner.
    assert recalls[2] > 0.8
    # A neutrophil, whose cell is hidden too, is called by its scanner.
    by_name = {other.name: other.pictures for other in data.others}
    called_myeloblast = {
        name: float(
            np.mean(
                fitted.scores(corners_of(by_name[name], "cell hidden", config)).argmax(axis=1) == 2
            )
        )
        for name in ("PBC neutrophil", "LMU neutrophil")
    }
    assert called_myeloblast["LMU neutrophil"] - called_myeloblast["PBC neutrophil"] > 0.5
