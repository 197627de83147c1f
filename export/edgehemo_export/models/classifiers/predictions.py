"""A classifier's answers to crops, through any runner or by PyTorch, and its temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from edgehemo.bundle.manifest import FamiliarityRule
from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo.inference import Runner
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.nets.classifier_nets import ClassifierNet

PREDICTION_BATCH = 64


def predict(runner: Runner, codes: NDArray[np.uint8], *, batch: int = 1) -> NDArray[np.float32]:
    """Answers to crops uint8 (n, s, s, 3) through any runner, float32 (n, classes), and the
    familiarity behind them where the graph tells it.
    """
    parts = [
        runner.run(np.ascontiguousarray(codes[i : i + batch])) for i in range(0, len(codes), batch)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def predict_net(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities in fp32 by PyTorch, as the graph gives them, float32 (n, classes)."""
    answers = answers_of_net(net, codes)
    return answers if net.familiarity is None else np.ascontiguousarray(answers[:, :-1])


def answers_of_net(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The graph's whole answer in fp32 by PyTorch, float32 (n, classes), and the familiarity behind
    them where the net tells it.
    """
    net.eval()
    out: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for i in range(0, len(codes), PREDICTION_BATCH):
            answer = net(torch.from_numpy(codes[i : i + PREDICTION_BATCH]))
            out.append(np.asarray(answer.numpy(), np.float32))
    return np.concatenate(out)


def features_of_net(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the last layer sees of crops uint8 (n, s, s, 3), float32 (n, d)."""
    net.eval()
    out: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for i in range(0, len(codes), PREDICTION_BATCH):
            part = torch.from_numpy(codes[i : i + PREDICTION_BATCH]).permute(0, 3, 1, 2)
            features = net.features(part.to(torch.float32) / UINT8_PER_TRANSMITTANCE)
            out.append(np.asarray(features.numpy(), np.float32))
    return np.concatenate(out)


def predicted_by(net: ClassifierNet, crops: CellCrops, side_px: int) -> Predicted:
    """Crops with a net's answers, and the familiarity where it tells it."""
    answers = answers_of_net(net, crops.middle(side_px))
    if net.familiarity is None:
        return Predicted(crops, answers)
    return Predicted(crops, np.ascontiguousarray(answers[:, :-1]), answers[:, -1])


def fit_temperature(
    net: ClassifierNet, codes: NDArray[np.uint8], labels: NDArray[np.intp]
) -> float:
    """Set the temperature that minimises the log loss of the graph's own answer; returns it.

    Temperature scaling (Guo et al. 2017), through the average over mirror images where the net
    has one. codes: uint8 (n, s, s, 3) of the tune part.
    """
    temperature = best_temperature(_view_logits(net, codes), labels)
    net.temperature.fill_(temperature)
    return temperature


def best_temperature(views: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    """The temperature that minimises the log loss of the mean probability over mirror images.

    views: logits float64 (views, n, classes).
    """
    rows = np.arange(len(labels))

    def cost(log_temperature: float) -> float:
        share = mean_probabilities(views, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(share[rows, labels], 1e-12)).mean())

    found = minimize_scalar(cost, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    return float(np.exp(found.x))


def mean_probabilities(views: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Logits of mirror images, float64 (views, n, classes), as the graph answers them: the mean
    probability, float64 (n, classes).
    """
    scaled = views / temperature
    scaled -= scaled.max(axis=2, keepdims=True)
    share = np.exp(scaled)
    share /= share.sum(axis=2, keepdims=True)
    return np.asarray(share.mean(axis=0), np.float64)


def _view_logits(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logits of each mirror image the graph averages, float64 (views, n, classes)."""
    flips: list[tuple[int, ...]] = [(), (3,), (2,), (2, 3)][: net.config.flip_average]
    net.eval()
    out: list[list[NDArray[np.float64]]] = [[] for _ in flips]
    with torch.inference_mode():
        for i in range(0, len(codes), PREDICTION_BATCH):
            part = torch.from_numpy(codes[i : i + PREDICTION_BATCH]).permute(0, 3, 1, 2)
            light = part.to(torch.float32) / UINT8_PER_TRANSMITTANCE
            for store, flip in zip(out, flips, strict=True):
                answer = net.logits(light.flip(flip) if flip else light)
                store.append(np.asarray(answer.numpy(), np.float64))
    return np.stack([np.concatenate(store) for store in out])


@dataclass(frozen=True)
class Predicted:
    """Crops with a classifier's answers: probabilities float32 (n, classes), familiarity float32
    (n,) where it tells one.
    """

    crops: CellCrops
    probabilities: NDArray[np.float32]
    familiarity: NDArray[np.float32] | None = None

    @property
    def labels(self) -> NDArray[np.intp]:
        return self.crops.labels

    def known(self, rule: FamiliarityRule | None) -> NDArray[np.bool_] | None:
        """Which cells are like those that were learnt from, bool (n,); None where none can tell."""
        if rule is None or self.familiarity is None:
            return None
        return np.asarray(self.familiarity >= rule.cell_from, np.bool_)

    def where(self, mask: NDArray[np.bool_]) -> Predicted:
        known = self.familiarity
        return Predicted(
            self.crops.where(mask), self.probabilities[mask], None if known is None else known[mask]
        )
