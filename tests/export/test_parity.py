"""How far an artefact's answers lie from PyTorch's, and what is done about a clipped range."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

import torch

from edgehemo_export.quantisation.gates import FOLLOWED, TASK_GATES
from edgehemo_export.quantisation.onnx_export import export_fp32, quantise_int8
from edgehemo_export.quantisation.parity import Reference, differences, followed_beyond, stained
from tests.support.small_export import SmallNet, crops


def test_differences_are_relative_above_one_and_infinite_for_no_number() -> None:
    wanted = [np.array([[0.5, 200.0]], np.float32)]
    got = [np.array([[0.6, 202.0]], np.float32)]
    figures = differences(wanted, got)
    assert figures["largest_difference"] == pytest.approx(0.1)
    assert figures["mean_difference"] == pytest.approx((0.1 + 0.01) / 2)
    nothing = [np.array([[np.nan, 200.0]], np.float32)]
    assert differences(wanted, nothing)["largest_difference"] == float("inf")
    assert differences(wanted, [np.zeros((1, 3), np.float32)])["largest_difference"] == float("inf")


def test_a_clipped_output_is_found_beyond_the_calibrated_range() -> None:
    """Answers of 1 to 3 were calibrated; a graph that stops at 3.2 is clipped, one at 5.9 not."""
    codes = crops(3)
    reference = Reference(
        spec=None,
        inputs=tuple(codes),
        answers=tuple(np.array([[v, 0.0]], np.float32) for v in (1.0, 2.0, 3.0)),
        figures={},
        beyond=tuple(codes[:1]),
        beyond_answers=(np.array([[6.0, 9.0]], np.float32),),
    )

    def answering(value: float) -> Any:
        return SimpleNamespace(
            name="fake", version="0", run=lambda _: np.array([[value, 0.0]], np.float32)
        )

    (gate,) = (gate for gate in TASK_GATES["field_estimator"] if gate.figure == FOLLOWED)
    share = followed_beyond(reference, answering(3.2), outputs=1)
    problem = gate.problem({}, {FOLLOWED: share})
    assert share == pytest.approx(0.2 / 3) and problem is not None and "clipped" in problem
    assert followed_beyond(reference, answering(2.0), outputs=1) == 0.0
    passing = followed_beyond(reference, answering(5.9), outputs=1)
    assert gate.problem({}, {FOLLOWED: passing}) is None


def test_a_head_quantised_on_too_narrow_a_range_is_clipped_and_one_in_float_is_not() -> None:
    """The gate meets a real int8 graph: a regression on dark pictures, calibrated on pale ones."""
    from edgehemo_export.nets.torch_runner import TorchRunner

    class Regression(SmallNet):
        def forward(self, codes: Any) -> Any:
            x = 1.0 - codes.permute(0, 3, 1, 2).to(torch.float32) / 200.0
            return 10 * self.head(torch.relu(self.body(x)).mean(dim=(2, 3)))

    net = Regression().eval()
    pale = [stained(codes, 0.3) for codes in crops(40, seed=1)]
    dark = [stained(codes, 3.0) for codes in crops(6, seed=2)]
    runner = TorchRunner(net)
    reference = Reference(
        None,
        tuple(pale),
        tuple(runner.run(codes) for codes in pale),
        {},
        tuple(dark),
        tuple(runner.run(codes) for codes in dark),
    )
    model = export_fp32(net, pale[0], multiple_of_px=None)
    import onnxruntime

    def share(data: bytes) -> float:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        opened = SimpleNamespace(
            name="x", version="0", run=lambda codes: session.run(None, {"codes": codes})[0]
        )
        return followed_beyond(reference, opened, outputs=3)

    assert share(quantise_int8(model, pale)) < 0.5
    assert share(model) > 0.99
