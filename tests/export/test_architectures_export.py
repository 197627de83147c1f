"""Every architecture of the table leaves PyTorch whole, the studies' methods too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo.inference import RUNTIMES
from edgehemo.inference.worker import WorkerRunner

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')
pytest.importorskip("onnxscript", reason='needs pip install ".[host]"')

import torch

from edgehemo.inference.verification import GATES
from edgehemo_export.nets.architecture_table import ARCHITECTURES
from edgehemo_export.nets.classifier_nets import (
    INPUT_MEAN,
    INPUT_SD,
    ClassifierNet,
    ClassifierNetConfig,
)
from edgehemo_export.nets.scattering import Scattering
from edgehemo_export.nets.scattering_svm import ScatteringSvm, features_of
from edgehemo_export.quantisation.formats import chosen_formats
from edgehemo_export.quantisation.graph import Graph
from edgehemo_export.quantisation.parity import differences
from edgehemo_export.quantisation.writers import writer_for
from tests.support.kymatio_numbers import PLAIN_CASES

CLASSES = 3
FREE_SIDE_PX = 64
# What shares a conversion: OpenVINO reads the ONNX form. LiteRT's takes a minute an architecture.
FORMATS = ("onnx", "openvino")


def spots(count: int, side: int) -> NDArray[np.uint8]:
    """Pictures with a coloured spot, one colour a class in turn, uint8 (n, side, side, 3)."""
    rng = np.random.default_rng(4)
    out = np.full((count, side, side, 3), 200, np.uint8)
    for index, picture in enumerate(out):
        y, x = rng.integers(side // 8, side // 2, 2)
        colour = rng.integers(40, 120, 3)
        colour[index % CLASSES] = 190
        picture[y : y + side // 3, x : x + side // 3] = colour
    return out


def trained(name: str, side: int) -> Any:
    """A network of the architecture whose statistics have seen pictures, or that was fitted."""
    torch.manual_seed(0)
    net = ClassifierNet(ClassifierNetConfig(architecture=name, flip_average=2), CLASSES)
    pictures = spots(12, side)
    if isinstance(net.net, ScatteringSvm):
        labels = (np.arange(len(pictures)) % CLASSES).astype(np.intp)
        net.net.fit(features_of(net.net, pictures, INPUT_MEAN, INPUT_SD), labels)
    else:
        for module in net.modules():  # exact statistics from one pass
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.momentum = None
        net.train()
        with torch.no_grad():
            net(torch.from_numpy(pictures))
    net.eval()
    with torch.no_grad():  # so that the answers differ by more than any gate
        light = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / UINT8_PER_TRANSMITTANCE
        logits = net.logits(light)
        linear = [module for module in net.modules() if isinstance(module, torch.nn.Linear)]
        if linear:
            linear[-1].bias.sub_(logits.mean(dim=0))
        net.temperature.copy_(logits.std(dim=0).mean())
    return net


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda item: item.name)
def test_each_architecture_answers_as_pytorch_does(architecture: Any, tmp_path: Path) -> None:
    side = architecture.side_px or FREE_SIDE_PX
    net = trained(architecture.name, side)
    inputs = [picture[None] for picture in spots(4, side)]
    with torch.inference_mode():
        wanted = [net(torch.from_numpy(codes)).numpy() for codes in inputs]
    assert float(np.ptp(np.concatenate(wanted), axis=0).max()) > 10 * GATES["fp32"]
    graph = Graph(net, inputs[0], None)
    assert "fp32" in architecture.precisions and set(FORMATS) <= set(RUNTIMES)
    for item in chosen_formats(FORMATS):
        for suffix, data in writer_for(item, graph).plain("fp32"):
            (tmp_path / f"net{suffix}").write_bytes(data)
        with WorkerRunner(tmp_path / f"net{item.suffix}", item.name, threads=1) as runner:
            got = [runner.run(codes) for codes in inputs]
        assert differences(wanted, got)["largest_difference"] < GATES["fp32"], item.name


@pytest.mark.parametrize("case", PLAIN_CASES, ids=lambda case: f"{case['side']} px")
def test_scattering_is_kymatios(case: dict[str, Any]) -> None:
    """Against the reference implementation's numbers, path by path up to their order."""
    octaves, side, rotations = (
        round(np.log2(case["invariance_px"])),
        case["side"],
        case["rotations"],
    )
    drawn = np.random.default_rng(case["seed"]).random((side, side)).astype(np.float32)
    theirs = np.array(case["coefficients"])
    ours = Scattering(side, octaves=octaves, rotations=rotations)
    found = ours(torch.from_numpy(drawn)[None, None])[0].numpy()
    assert len(found) == len(theirs) == ours.count
    plain_and_first = 1 + rotations * octaves
    assert found[:plain_and_first] == pytest.approx(theirs[:plain_and_first], rel=2e-4)
    assert np.sort(found) == pytest.approx(np.sort(theirs), rel=2e-4)


def test_scattering_by_hand() -> None:
    """A flat picture has its mean and no waves; doubling the light doubles every coefficient."""
    flat = Scattering(32, octaves=3, rotations=2)(torch.full((1, 1, 32, 32), 0.7))[0]
    assert flat[0] == pytest.approx(0.7, rel=1e-3)
    assert float(flat[1:].max()) < 1e-4
    ours = Scattering(40, octaves=2, rotations=2)
    x = torch.rand(1, 2, 40, 40, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(ours(2 * x), 2 * ours(x), rtol=1e-4)
    # A wave along one axis answers most in the wavelet that turns with it.
    wave = torch.cos(torch.arange(64) * 3 * np.pi / 4).expand(1, 1, 64, 64).contiguous()
    turned = Scattering(64, octaves=3, rotations=2)
    along, across = turned(wave)[0], turned(wave.transpose(2, 3))[0]
    assert torch.argmax(along[1:3]) != torch.argmax(across[1:3])
