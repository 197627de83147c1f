"""How like what was learnt from a cell looks: fitted, stored, exported, and told apart abroad."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from edgehemo_export.models.classifiers.checkpoint import classifier_net, stored_familiarity
from edgehemo_export.models.classifiers.evaluation import evaluated
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.predictions import answers_of_net, predict_net
from edgehemo_export.models.classifiers.run import train_classifier
from edgehemo_export.models.classifiers.specification import FalseAlarms
from edgehemo_export.models.classifiers.variation import AugmentOptions, vary_camera
from edgehemo_export.nets.familiarity import (
    FAMILIAR_SHARE,
    HALF,
    distance_of_share,
    fitted,
)
from edgehemo_export.training.task import Run
from tests.support.classifier_crops import discs, small_config, spec_of

pytestmark = pytest.mark.host


def scattered(seed: int, count: int, shift: float = 0.0) -> np.ndarray:
    """Two kinds of features in 40 dimensions, of which four scatter widely."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(40) < 4, 2.0, 0.1)
    found = rng.normal(0, spread, (count, 40))
    found[::2, 5] += 3.0
    found[:, 20:] += shift
    return found.astype(np.float32)


def test_what_was_kept_out_is_familiar_and_what_lies_elsewhere_is_not() -> None:
    features = scattered(1, 400)
    kinds = np.where(np.arange(400) % 2 == 0, "round here", "long here")
    found = fitted(features, kinds)
    found.limit.fill_(distance_of_share(found, scattered(2, 400)))
    with torch.inference_mode():
        home = found(torch.from_numpy(scattered(3, 400))).numpy().ravel()
        # As far off as the wide scatter, but where nothing scattered.
        abroad = found(torch.from_numpy(scattered(4, 400, shift=1.0))).numpy().ravel()
    assert (home >= HALF).mean() == pytest.approx(FAMILIAR_SHARE, abs=0.04)
    assert (abroad < HALF).all()
    assert ((home >= 0) & (home <= 1)).all()
    with pytest.raises(ValueError, match="too few"):
        fitted(features[:6], kinds[:6])


def test_a_run_on_all_parts_bears_the_figures_of_the_one_it_is_measured_by(
    tmp_path: Path,
) -> None:
    crops = discs(150)
    spec = dataclasses.replace(
        spec_of(crops),
        false_alarms=FalseAlarms(crops.classes[:1], crops.classes[1:2], "first named second"),
    )
    config = small_config(familiarity=True)
    measured = train_classifier(spec, tmp_path, config, tmp_path / "a", Run())
    net = classifier_net(spec, measured)
    rule = stored_familiarity(measured)
    assert net.familiarity is not None and rule is not None and rule.cells > 0
    answers = answers_of_net(net, crops.middle(config.crop.side_px)[:20])
    assert answers.shape == (20, len(crops.classes) + 1)
    assert ((answers[:, -1] >= 0) & (answers[:, -1] <= 1)).all()
    np.testing.assert_array_equal(
        answers[:, :-1], predict_net(net, crops.middle(config.crop.side_px)[:20])
    )
    _, found = evaluated(spec, measured, net, crops, "test")
    names = {metric.name for metric in found.metrics}
    assert {"like what was learnt from", "first named second"} <= names

    everything = small_config(familiarity=True, train_parts=("train", "tune", "test"))
    with pytest.raises(UsageError, match="--measured"):
        train_classifier(spec, tmp_path, everything, tmp_path / "b", Run())
    with pytest.raises(UsageError, match="no figures yet"):
        train_classifier(spec, tmp_path, everything, tmp_path / "b", Run(measured=measured))
    evaluated_run = Checkpoint(
        measured.task,
        measured.weights,
        {**measured.record, "metrics": [m.model_dump() for m in found.metrics]},
    )
    other = small_config(familiarity=True, train_parts=("train", "tune"), label_smoothing=0.2)
    with pytest.raises(UsageError, match="label_smoothing"):
        train_classifier(spec, tmp_path, other, tmp_path / "b", Run(measured=evaluated_run))
    with pytest.raises(UsageError, match="runs on all parts"):
        train_classifier(spec, tmp_path, config, tmp_path / "b", Run(measured=evaluated_run))
    bears = Run(measured=evaluated_run)
    whole = train_classifier(spec, tmp_path, everything, tmp_path / "b", bears)
    counts = whole.record["crops"]["train"]
    assert sum(sum(of_class.values()) for of_class in counts.values()) == len(crops)
    for key in ("metrics", "conformal", "familiarity", "temperature"):
        assert whole.record[key] == evaluated_run.record[key]
    save_checkpoint(tmp_path / "whole.safetensors", whole)
    again = classifier_net(spec, load_checkpoint(tmp_path / "whole.safetensors"))
    np.testing.assert_array_equal(
        answers_of_net(again, crops.middle(config.crop.side_px)[:8]),
        answers_of_net(classifier_net(spec, whole), crops.middle(config.crop.side_px)[:8]),
    )
    entry = classifier_subject(spec, whole).entry([], "0" * 64)
    assert entry.familiarity == rule and entry.output_values == len(crops.classes) + 1


def test_a_camera_is_varied_as_asked_and_not_at_all_where_nothing_is_asked() -> None:
    light = torch.rand(12, 3, 24, 24) * 0.8 + 0.2
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    assert torch.equal(vary_camera(light.clone(), AugmentOptions(), generator), light)
    assert torch.equal(generator.get_state(), state), "nothing was drawn"
    grey = vary_camera(light.clone(), AugmentOptions(grey_share=1.0), generator)
    spread = light.amax(1) - light.amin(1)
    assert ((grey.amax(1) - grey.amin(1)) <= spread + 1e-6).all()
    coarse = vary_camera(light.clone(), AugmentOptions(coarse_share=1.0), generator)
    assert coarse.shape == light.shape and coarse.std() < light.std()
    sharp = vary_camera(light.clone(), AugmentOptions(sharpen_share=1.0), generator)
    assert sharp.std() > light.std() and float(sharp.min()) >= 0
    toned = vary_camera(light.clone(), AugmentOptions(tone=0.4), generator)
    order = light.flatten(1).argsort(dim=1)
    assert (toned.flatten(1).gather(1, order).diff(dim=1) >= -1e-6).all(), "order is kept"
