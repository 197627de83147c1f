"""int8 of OpenVINO: what is constant is a constant, the input has the codes' own steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("nncf", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("openvino", reason='needs pip install "edgehemo[host]"')

import openvino
import torch

from edgehemo.errors import BundleError
from edgehemo.inference.openvino import OpenVinoRunner
from edgehemo.inference.worker import WorkerRunner
from edgehemo_export.quantisation.graph import Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe
from edgehemo_export.quantisation.openvino_export import OpenVinoWriter

SIDE = 48
HEAD = "head"


class StemNet(torch.nn.Module):
    """What a ResNet begins with: convolution with a bias, ReLU, pooling, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stem = torch.nn.Conv2d(3, 16, 7, 2, 3)
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        self.one = torch.nn.Conv2d(16, 16, 3, 1, 1)
        self.two = torch.nn.Conv2d(16, 16, 3, 1, 1)
        self.head = torch.nn.Linear(16, 3)
        assert self.stem.bias is not None
        with torch.no_grad():
            # As large as its products, as a folded batch norm leaves it.
            self.stem.bias.copy_(torch.linspace(-1, 1, 16))

    def forward(self, codes: Any) -> Any:
        x = (codes.permute(0, 3, 1, 2).to(torch.float32) / 200.0 - 0.8) * 4.0
        x = self.pool(torch.relu(self.stem(x)))
        x = torch.relu(self.two(torch.relu(self.one(x))) + x)
        return self.head(x.mean(dim=(2, 3)))


def pictures(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Dark squares on an even background of varying light, uint8 (1, side, side, 3)."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        picture = np.full((1, SIDE, SIDE, 3), int(rng.integers(180, 215)), np.uint8)
        y, x, side = (int(value) for value in rng.integers(6, 22, 3))
        picture[:, y : y + side, x : x + side] = rng.integers(30, 170, 3)
        out.append(picture)
    return out


@pytest.fixture(scope="module")
def net() -> StemNet:
    return StemNet().eval()


@pytest.fixture(scope="module")
def artefact(net: StemNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in int8, its head in float."""
    folder = tmp_path_factory.mktemp("openvino")
    writer = OpenVinoWriter(Graph(net, pictures(1)[0], None))
    for suffix, content in writer.int8(pictures(40, seed=1), Int8Recipe("minmax", (HEAD,))):
        (folder / f"model{suffix}").write_bytes(content)
    return folder / "model.xml"


# What oneDNN may use at most: without VNNI it saturates what whole bytes of weights would make.
@pytest.mark.parametrize("processor", ["", "AVX2", "AVX512_CORE"])
def test_int8_follows_pytorch_with_and_without_vnni(
    processor: str, net: StemNet, artefact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Biases on their own channels, no product saturated, an input not rounded anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing compiled for another processor
    if processor:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", processor)
    asked = np.concatenate(pictures(12, seed=9))
    with torch.inference_mode():
        wanted = net(torch.from_numpy(asked)).numpy()
    with WorkerRunner(artefact, "openvino", threads=1) as runner:
        got = runner.run(asked)
    assert np.abs(got - wanted).max() < 0.05 * np.ptp(wanted)


def test_every_bias_is_a_constant(artefact: Path) -> None:
    """Of one that is worked out at run time all channels of a ResNet18 got the first's."""
    model = openvino.Core().read_model(str(artefact))
    biases = [
        taker.get_node()
        for op in model.get_ordered_ops()
        if op.get_type_name() == "Convolution"
        for taker in op.output(0).get_target_inputs()
    ]
    assert [op.get_type_name() for op in biases] == ["Add"] * 3
    for op in biases:
        assert op.input_value(1).get_node().get_type_name() == "Constant"


def test_the_input_is_quantised_in_steps_of_its_codes(artefact: Path) -> None:
    """0.02 * (code - 160): an even background, which is one code, is then exactly what it is."""
    model = openvino.Core().read_model(str(artefact))
    first = next(op for op in model.get_ordered_ops() if op.get_type_name() == "FakeQuantize")
    assert first.get_attributes()["levels"] == 256
    ends = [first.input_value(i).get_node().get_data().item() for i in range(1, 5)]
    assert ends == pytest.approx([-3.2, 1.9, -3.2, 1.9])
    (taker,) = first.output(0).get_target_inputs()
    assert taker.get_node().get_type_name() == "Convolution"


def test_a_first_convolution_can_stay_in_float(net: StemNet) -> None:
    writer = OpenVinoWriter(Graph(net, pictures(1)[0], None))
    (_, xml), (_, weights) = writer.int8(pictures(8, seed=1), Int8Recipe("minmax", ("stem", HEAD)))
    model = openvino.Core().read_model(xml, weights)
    first = next(op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")
    assert first.input_value(0).get_node().get_type_name() != "FakeQuantize"


def test_a_runtime_that_answers_for_fewer_pictures_is_refused(
    artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does in int8 on a processor without half precision, with no error of its own."""
    runner = OpenVinoRunner(artefact, threads=1)
    codes = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    assert len(runner.run(codes)) == 1

    class Empty:
        data = np.empty((0, 3), np.float32)

        def infer(self, _: object) -> None: ...

        def get_output_tensor(self, _: int) -> Empty:
            return self

    monkeypatch.setattr(runner, "_request", Empty())
    with pytest.raises(BundleError, match="gives 0 answers to 1 pictures on this processor"):
        runner.run(codes)
