"""A run on few cells of one's own: the last layer of an earlier network is fitted, no more.

What such a run learns from are the training and the tune part together; thresholds stand on answers
by layers that had not seen the cell's sample (`head_fit`). The test part is left for
`edgehemo evaluate`, as ever.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.checkpoint import classifier_net, stored_config
from edgehemo_export.models.classifiers.head_fit import (
    VIEWS_OF_GRAPH,
    Head,
    fit_head,
    folds_of,
    out_of_fold_logits,
    views_of,
)
from edgehemo_export.models.classifiers.own_cells import with_own_classes
from edgehemo_export.models.classifiers.predictions import (
    Predicted,
    best_temperature,
    mean_probabilities,
)
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import ClassifierConfig
from edgehemo_export.nets.classifier_nets import ClassifierNet
from edgehemo_export.nets.familiarity import (
    FAMILIAR_SHARE,
    MIN_CELLS_OF_A_CENTRE,
    Familiarity,
    fitted,
)

# Up to so many own cells the last layer alone is learnt where nobody says otherwise: with more, all
# layers have enough to learn from.
FEW_CELLS = 1000
# Samples that thresholds can be set across.
LEAST_SAMPLES = 2


@dataclass(frozen=True)
class HeadRun:
    """A network whose last layer was fitted, and its answers to each cell it learnt from by layers
    that had not seen the cell's sample.
    """

    net: ClassifierNet
    answers: Predicted
    seconds: float


def learns_head(
    config: ClassifierConfig, initial: Checkpoint | None, *, own_alone: bool, cells: int
) -> bool:
    """Whether a run fits the last layer alone: as the configuration says; where it leaves it open,
    with own sets alone, a network to begin with, and few cells.

    Raises UsageError where it is asked for and there is nothing to begin with.
    """
    if config.learn == "head" and initial is None:
        raise UsageError(
            'learn = "head" fits the last layer of an earlier network: give it with --init shipped '
            "or --init CKPT"
        )
    if config.learn != "auto":
        return config.learn == "head"
    return initial is not None and own_alone and cells <= FEW_CELLS and _alike(config, initial)


def _alike(config: ClassifierConfig, initial: Checkpoint) -> bool:
    """Whether a network reads the crops that a configuration cuts, and is the one it names."""
    before = stored_config(initial)
    return (
        before.model.architecture == config.model.architecture
        and before.crop.side_px == config.crop.side_px
        and before.crop.um_per_px == config.crop.um_per_px
    )


def fit_on_few(
    spec: ClassifierSpec,
    crops: CellCrops,
    config: ClassifierConfig,
    initial: Checkpoint,
    *,
    views: NDArray[np.float32] | None = None,
) -> HeadRun:
    """The earlier network with its last layer fitted on these crops.

    views: what the network sees of them (`head_fit.views_of`), where that is known already.

    UsageError where the network is another one than the configuration's, shows no features, or the
    crops come from one sample.
    """
    if not _alike(config, initial):
        raise UsageError(
            "the last layer alone can be fitted where the network to begin with is the configured "
            'one and reads the same crops; say learn = "all" (--config), or begin with another'
        )
    if len(set(crops.groups.tolist())) < LEAST_SAMPLES:
        raise UsageError(
            "all cells to learn from come from one sample: thresholds are set on samples that were "
            "not learnt from; add cells of another sample"
        )
    started = time.monotonic()
    earlier = _earlier_spec(spec, initial)
    body = classifier_net(earlier, initial)
    features = views
    if features is None:
        features = views_of(body, crops.middle(config.crop.side_px))
    start = _start(Head.of(body), earlier.classes, spec.classes)
    folds = folds_of(crops.labels, crops.groups)
    balance = config.class_balance
    logits = out_of_fold_logits(features, crops.labels, folds, start, class_balance=balance)
    asked = logits[list(VIEWS_OF_GRAPH[: config.model.flip_average])]
    temperature = best_temperature(asked, crops.labels)
    head = fit_head(features, crops.labels, start, class_balance=balance)
    net = _with_head(body, config, head, temperature)
    known = None
    if config.familiarity:
        kept = body.familiarity if spec.classes == earlier.classes else None
        net.familiarity, known = extended_familiarity(
            features[0], crops, folds, kept, body.familiarity
        )
    probabilities = np.asarray(mean_probabilities(asked, temperature), np.float32)
    return HeadRun(net.eval(), Predicted(crops, probabilities, known), time.monotonic() - started)


def _earlier_spec(spec: ClassifierSpec, initial: Checkpoint) -> ClassifierSpec:
    """The classifier with the classes of an earlier network, whichever they are."""
    classes = tuple(initial.record.get("classes", ()))
    if initial.record.get("own_classes"):
        return with_own_classes(spec, classes)
    return replace(spec, classes=classes)


def _start(head: Head, before: tuple[str, ...], classes: tuple[str, ...]) -> Head:
    """The last layer a fit begins with: of classes that the earlier one knew theirs, of others one
    that says nothing.
    """
    start = Head.untaught(len(classes), head.weight.shape[1])
    for index, name in enumerate(classes):
        if name in before:
            start.weight[index] = head.weight[before.index(name)]
            start.bias[index] = head.bias[before.index(name)]
    return start


def _with_head(
    body: ClassifierNet, config: ClassifierConfig, head: Head, temperature: float
) -> ClassifierNet:
    """A network of the same layers with another last one."""
    net = ClassifierNet(config.model, len(head.bias))
    weights = {
        name: value
        for name, value in body.state_dict().items()
        if not name.startswith(("net.head.", "familiarity."))
    }
    weights["net.head.weight"] = torch.from_numpy(head.weight).float()
    weights["net.head.bias"] = torch.from_numpy(head.bias).float()
    weights["temperature"] = torch.tensor(temperature)
    net.load_state_dict(weights)
    return net


def extended_familiarity(
    features: NDArray[np.float32],
    crops: CellCrops,
    folds: NDArray[np.intp],
    kept: Familiarity | None,
    measure: Familiarity | None,
) -> tuple[Familiarity, NDArray[np.float32]]:
    """What tells known cells from others with the own ones among the known, and what each of them
    answers where its sample was not among those that it was compared with, float32 (n,).

    features: float32 (n, d). kept: whose known cells stay known. measure: how distances are
    measured, None by how the own cells scatter. The limit is set so that `FAMILIAR_SHARE` of the
    own cells, each compared with cells of other samples, are at least half familiar. UsageError
    where no class has `MIN_CELLS_OF_A_CENTRE` cells and nothing is kept.
    """
    labels = crops.labels
    centres = _centres(features, labels)
    if kept is None and not len(centres):
        raise UsageError(
            f"no type has {MIN_CELLS_OF_A_CENTRE} cells to learn from: too few to tell what looks "
            "like them. Add cells, or set familiarity to false (--config)"
        )
    if measure is None:
        measure = fitted(features, labels.astype(np.str_))
    before = np.zeros((0, features.shape[1]), np.float32)
    if kept is not None:
        before = kept.centres.float().numpy()
    squared = np.empty(len(labels), np.float64)
    for fold in sorted(set(folds.tolist())):
        own = folds == fold
        others = _centres(features[~own], labels[~own])
        near = np.concatenate([before, others]) if len(before) or len(others) else centres
        squared[own] = _squared_distances(near, measure, features[own])
    limit = max(float(np.sqrt(np.quantile(squared, FAMILIAR_SHARE))), 1e-3)
    found = _familiarity(np.concatenate([before, centres]), measure)
    found.limit.fill_(limit)
    return found, np.asarray(np.exp2(-squared / limit**2), np.float32)


def _centres(features: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.float32]:
    """The middle of each class with enough cells, float32 (k, d)."""
    enough = [
        k for k in sorted(set(labels.tolist())) if (labels == k).sum() >= MIN_CELLS_OF_A_CENTRE
    ]
    means = [features[labels == k].mean(axis=0) for k in enough]
    return np.array(means, np.float32).reshape(-1, features.shape[1])


def _familiarity(centres: NDArray[np.float32], measure: Familiarity) -> Familiarity:
    """One with these centres that measures as another does."""
    basis = measure.basis
    found = Familiarity(len(centres), *basis.shape)
    found.centres.copy_(torch.from_numpy(centres).half())
    found.basis.copy_(basis)
    return found


def _squared_distances(
    centres: NDArray[np.float32], measure: Familiarity, features: NDArray[np.float32]
) -> NDArray[np.float64]:
    with torch.inference_mode():
        found = _familiarity(centres, measure).squared_distance(torch.from_numpy(features))
    return np.asarray(found[:, 0].double().numpy(), np.float64)


def record_of_head(run: HeadRun) -> dict[str, Any]:
    """What a checkpoint tells of it beside what every one tells."""
    samples = sorted(set(run.answers.crops.groups.tolist()))
    return {"learnt": "head", "samples": len(samples)}
