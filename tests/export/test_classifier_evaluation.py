"""How good a classifier is: conformal sets, calibration, figures counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch
from torch import nn

from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.conformal import conformal_rule, named, prediction_sets
from edgehemo_export.models.classifiers.evaluation import (
    expected_calibration_error,
    measure,
    reliability_table,
    stored_confusion,
)
from edgehemo_export.models.classifiers.pictures import predictions_picture, reliability_picture
from edgehemo_export.models.classifiers.predictions import Predicted, fit_temperature, predict_net
from edgehemo_export.nets.classifier_nets import ClassifierNet, ClassifierNetConfig

pytestmark = pytest.mark.host
from tests.support.classifier_crops import CLASSES, SIDE, discs


def soft(labels: NDArray[np.intp], right: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Calibrated probabilities: the highest is drawn, and is right as often as it says."""
    n = len(labels)
    top = rng.uniform(right, 1.0, n)
    hit = rng.random(n) < top
    named_class = np.where(hit, labels, (labels + rng.integers(1, 3, n)) % 3)
    p = np.repeat(((1 - top) / 2)[:, None], 3, axis=1)
    p[np.arange(n), named_class] = top
    return p.astype(np.float32)


def test_conformal_sets_cover_what_they_say(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 6000).astype(np.intp)
    p = soft(labels, 0.6, rng)
    rule = conformal_rule(p[:3000], labels[:3000], CLASSES, 0.9)
    inside = prediction_sets(p[3000:], CLASSES, rule)
    covered = inside[np.arange(3000), labels[3000:]].mean()
    assert 0.875 < covered < 0.925
    names = named(p[3000:], CLASSES, rule)
    assert ((names == 3) == (inside.sum(axis=1) != 1)).all()
    certain = names < 3
    assert (names[certain] == labels[3000:][certain]).mean() > (
        p[3000:].argmax(1) == labels[3000:]
    ).mean()


def test_a_rare_class_takes_the_threshold_of_all_cells() -> None:
    p = np.full((60, 3), 0.05, np.float32)
    labels = np.array([0] * 57 + [1] * 3, np.intp)
    p[np.arange(60), labels] = np.linspace(0.5, 0.9, 60)
    rule = conformal_rule(p, labels, CLASSES, 0.95)
    pooled = np.sort(p[np.arange(60), labels])[2]
    assert rule.thresholds["blue_disc"] == pytest.approx(float(pooled))
    assert rule.cells == 60


def test_calibration_error_and_reliability_agree(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 4000).astype(np.intp)
    good = soft(labels, 0.5, rng)
    assert expected_calibration_error(good, labels) < 0.03
    sure = np.eye(3, dtype=np.float32)[good.argmax(axis=1)]
    wrong = float((good.argmax(axis=1) != labels).mean())
    assert expected_calibration_error(sure, labels) == pytest.approx(wrong, abs=1e-6)
    rows = reliability_table(good, labels)
    assert sum(row["cells"] for row in rows) == 4000
    assert reliability_picture({"all": rows}).startswith(b"\x89PNG")


def test_temperature_undoes_overconfidence() -> None:
    """Logits made three times too large: the fitted temperature is about three."""
    net = ClassifierNet(ClassifierNetConfig(flip_average=2), 3)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600).astype(np.intp)
    p = soft(labels, 0.5, rng)
    table = torch.from_numpy(3 * np.log(p))

    class Told(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return table[
                (x[:, 0, 0, 0] * 200).round().long() * 40 + (x[:, 1, 0, 0] * 200).round().long()
            ]

    net.logits = lambda x: Told()(x)  # type: ignore[method-assign]
    codes = np.zeros((600, 8, 8, 3), np.uint8)
    codes[..., 0], codes[..., 1] = (
        (np.arange(600) // 40)[:, None, None],
        (np.arange(600) % 40)[:, None, None],
    )
    assert fit_temperature(net, codes, labels) == pytest.approx(3.0, rel=0.15)
    assert expected_calibration_error(predict_net(net, codes), labels) < 0.05


def test_measured_figures_are_those_of_hand_counting() -> None:
    crops = discs(6)
    labels = np.array([0, 0, 0, 1, 1, 2], np.intp)
    crops = CellCrops(**{**vars(crops), "labels": labels})
    p = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 1, 2]] * 0.9 + 0.033
    predicted = Predicted(crops, p)
    rule = conformal_rule(p, labels, CLASSES, 0.5)
    values = {m.name: m for m in measure(predicted, rule, "here", rounds=50)}
    assert values["accuracy"].value == pytest.approx(5 / 6)
    assert values["F1 red_disc"].value == pytest.approx(0.8)
    assert values["F1 blue_disc"].value == pytest.approx(0.8)
    assert values["macro F1"].value == pytest.approx((0.8 + 0.8 + 1.0) / 3)
    assert values["F1 other"].images == 1
    counts = np.array(stored_confusion(predicted, rule).counts)
    assert counts.shape == (3, 4) and counts.sum() == 6
    assert predictions_picture(predicted, SIDE).startswith(b"\x89PNG")
