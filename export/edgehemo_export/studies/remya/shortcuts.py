"""What is reached without looking at a cell: a straight line through what gives a source away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgehemo_export.studies.remya.pictures import BACKGROUND_QUANTILE
from edgehemo_export.studies.remya.splitting import StudySplit

THUMB_PX = 8
# Of the logistic regression: 1 is scikit-learn's own.
STRENGTH = 1.0

Features = NDArray[np.float64]


@dataclass(frozen=True)
class Shortcut:
    """name, says: for the page. features: of pictures uint8 (n, h, w, 3) and file features."""

    name: str
    says: str
    features: Callable[[NDArray[np.uint8], Features], Features]


def mean_colour(pictures: NDArray[np.uint8]) -> Features:
    """(n, 6): mean and standard deviation of each channel."""
    flat = pictures.reshape(len(pictures), -1, 3).astype(np.float64)
    return np.concatenate([flat.mean(axis=1), flat.std(axis=1)], axis=1)


def background_colour(pictures: NDArray[np.uint8]) -> Features:
    """(n, 3): the bright end of each channel, where no cell lies."""
    flat = pictures.reshape(len(pictures), -1, 3)
    return np.asarray(np.quantile(flat, BACKGROUND_QUANTILE, axis=1), np.float64)


def thumbs(pictures: NDArray[np.uint8]) -> Features:
    """(n, 192): the picture at 8 by 8 px, in which no cell can be seen."""
    size = (THUMB_PX, THUMB_PX)
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    return np.stack(small).reshape(len(pictures), -1).astype(np.float64)


SHORTCUTS: Sequence[Shortcut] = (
    Shortcut(
        "file",
        "width, height, bytes a pixel and JPEG quantisation; no pixel is looked at",
        lambda pictures, of_file: of_file,
    ),
    Shortcut(
        "mean colour",
        "mean and spread of red, green and blue over the whole picture",
        lambda pictures, of_file: mean_colour(pictures),
    ),
    Shortcut(
        "background colour",
        "the 90th percentile of red, green and blue: the glass between the cells",
        lambda pictures, of_file: background_colour(pictures),
    ),
    Shortcut(
        "8 x 8 px",
        "the picture shrunk until no cell can be seen",
        lambda pictures, of_file: thumbs(pictures),
    ),
)


def out_of_fold(
    features: Features, labels: NDArray[np.intp], folds: Sequence[StudySplit]
) -> NDArray[np.float64]:
    """Probabilities (n,) of anaemia-like, each picture's by a line that never saw its group."""
    found = np.full(len(labels), np.nan)
    for split in folds:
        known = np.concatenate([split.train, split.validate])
        line = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=2000))
        line.fit(features[known], labels[known])
        found[split.test] = line.predict_proba(features[split.test])[:, 1]
    return found


def all_shortcuts(
    pictures: NDArray[np.uint8],
    of_file: Features,
    labels: NDArray[np.intp],
    folds: Sequence[StudySplit],
) -> Mapping[str, NDArray[np.float64]]:
    """Out-of-fold probabilities by the name of each shortcut."""
    return {
        item.name: out_of_fold(item.features(pictures, of_file), labels, folds)
        for item in SHORTCUTS
    }
