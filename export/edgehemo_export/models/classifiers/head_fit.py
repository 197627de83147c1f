"""The last layer alone, fitted on few cells of a laboratory's own.

A network that learnt from thousands of cells sees what tells types apart; on another microscope and
stain it is mostly the last layer that weighs it wrongly. So all layers before stay as they are, and
the last one is fitted: multinomial logistic regression, pulled towards the weights it begins with
(maximum a posteriori, Chelba and Acero 2006). A class without own cells stays nearly what it was.
There is no chance in it, and it takes seconds.

Thresholds and temperature stand on answers to cells of other samples than the layer was fitted on:
each sample is answered by a layer fitted on the others (cross-conformal, Vovk 2015).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedGroupKFold

from edgehemo_export.models.classifiers.predictions import features_of_net
from edgehemo_export.nets.classifier_nets import ClassifierNet

# How strongly the weights are pulled to where they begin, beside the mean loss of a cell. Of 0.001
# to 1 all gave 80 to 83 % right on BCCD's white cells with 20 a class, 0.1 the most.
PULL = 0.1
# Samples are left out in at most so many folds.
FOLDS = 5
# The views of a cell that are learnt from: four turns, each mirrored too.
VIEWS = 8
# Of them, in the order of `ClassifierNet.forward`: as it is, mirrored left to right, top to bottom,
# both.
VIEWS_OF_GRAPH = (0, 1, 5, 4)
MAX_ITERATIONS = 300


@dataclass(frozen=True)
class Head:
    """The last layer. weight: float64 (classes, d). bias: float64 (classes,)."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of features float32 (..., d), float64 (..., classes)."""
        return np.asarray(features.astype(np.float64) @ self.weight.T + self.bias, np.float64)

    @classmethod
    def of(cls, net: ClassifierNet) -> Head:
        """The last layer of a network; `edgehemo_export.nets` calls it head."""
        layer = net.net.get_submodule("head")
        weight, bias = (
            np.asarray(getattr(layer, name).detach().double().numpy(), np.float64)
            for name in ("weight", "bias")
        )
        return cls(weight, bias)

    @classmethod
    def untaught(cls, classes: int, features: int) -> Head:
        """One that answers every class alike."""
        return cls(np.zeros((classes, features)), np.zeros(classes))


def views_of(net: ClassifierNet, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the last layer sees of crops uint8 (n, s, s, 3) turned and mirrored, float32
    (`VIEWS`, n, d).
    """
    seen = []
    for turns in range(VIEWS // 2):
        turned = np.rot90(codes, turns, (1, 2))
        seen += [
            features_of_net(net, np.ascontiguousarray(view))
            for view in (turned, turned[:, :, ::-1])
        ]
    return np.stack(seen)


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.intp],
    start: Head,
    *,
    class_balance: float,
    pull: float = PULL,
) -> Head:
    """The last layer that names these cells best while it stays near ``start``.

    features: float32 (views, n, d). labels: intp (n,). class_balance: 0 weighs cells alike, 1 the
    classes that occur.
    """
    views, cells, width = features.shape
    classes = len(start.bias)
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.tile(counts[labels] ** -class_balance, views)
    weights /= weights.sum()
    seen = features.reshape(views * cells, width).astype(np.float64)
    truth = np.tile(labels, views)
    rows = np.arange(len(truth))
    before = start.logits(features).reshape(views * cells, classes)

    def cost(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change, shift = flat[:-classes].reshape(classes, width), flat[-classes:]
        logits = before + seen @ change.T + shift
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        shares /= shares.sum(axis=1, keepdims=True)
        loss = -float(weights @ np.log(np.maximum(shares[rows, truth], 1e-12)))
        loss += 0.5 * pull * float(flat @ flat)
        shares[rows, truth] -= 1.0
        shares *= weights[:, None]
        slope = np.concatenate([(shares.T @ seen).ravel(), shares.sum(axis=0)])
        return loss, slope + pull * flat

    found = minimize(
        cost,
        np.zeros(classes * (width + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_ITERATIONS},
    )
    change, shift = found.x[:-classes].reshape(classes, width), found.x[-classes:]
    return Head(start.weight + change, start.bias + shift)


def folds_of(labels: NDArray[np.intp], groups: NDArray[np.str_]) -> NDArray[np.intp]:
    """The fold of each cell, intp (n,): samples whole, classes as even as they allow."""
    count = min(FOLDS, len(set(groups.tolist())))
    found = np.zeros(len(labels), np.intp)
    split = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    # A class of fewer cells than folds is spread as far as it goes: that is known.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, own) in enumerate(split.split(labels, labels, groups)):
            found[own] = fold
    return found


def out_of_fold_logits(
    features: NDArray[np.float32],
    labels: NDArray[np.intp],
    folds: NDArray[np.intp],
    start: Head,
    *,
    class_balance: float,
) -> NDArray[np.float64]:
    """Each cell's logits by a layer fitted on the other folds, float64 (views, n, classes)."""
    out = np.empty((*features.shape[:2], len(start.bias)))
    for fold in sorted(set(folds.tolist())):
        own = folds == fold
        fitted = fit_head(features[:, ~own], labels[~own], start, class_balance=class_balance)
        out[:, own] = fitted.logits(features[:, own])
    return out
