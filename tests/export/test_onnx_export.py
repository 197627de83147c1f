"""The ONNX file: what is folded into its weights, half precision, the calibrators."""

from __future__ import annotations

import numpy as np
import pytest

from edgehemo.errors import UsageError

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

import onnx
import torch

from edgehemo_export.quantisation.onnx_export import (
    export_fp32,
    quantise_int8,
    to_fp16,
)
from edgehemo_export.quantisation.onnx_folding import fold_normalisation
from tests.support.small_export import SmallNet, crops, largest_difference, small_onnx


@pytest.mark.parametrize("mirrored", ["", "apart", "stacked"])
def test_codes_reach_the_first_convolution_untouched(mirrored: str) -> None:
    net = SmallNet(mirrored=mirrored).eval()
    model = export_fp32(net, crops(1)[0], multiple_of_px=None) if mirrored else small_onnx()
    several = np.concatenate(crops(7, seed=2))
    assert largest_difference(net, model, [several]) < 1e-5
    small = quantise_int8(model, crops(40, seed=1), keep_float=("head",))
    assert largest_difference(net, small, [several]) < 0.05
    kinds = [node.op_type for node in onnx.load_from_string(small).graph.node]
    assert kinds.count("QLinearConv") == (4 if mirrored == "apart" else 2)
    assert not {"Cast", "Sub", "QuantizeLinear"} & set(kinds)
    assert "Transpose" in kinds and "Gemm" in kinds
    whole = quantise_int8(model, crops(40, seed=1))
    graph = onnx.load_from_string(whole).graph
    signed = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.INT8}
    read = [name for node in graph.node for name in node.input if name in signed]
    assert read and len(read) == len(set(read))
    assert largest_difference(net, whole, [several]) < 0.05


def test_a_clipped_activation_is_part_of_its_convolution() -> None:
    """ReLU6 is the quantised range itself: nothing is unpacked between two convolutions."""
    net = SmallNet().eval()
    net.body[1] = torch.nn.ReLU6()
    model = export_fp32(net, crops(1)[0], multiple_of_px=None)
    assert "Clip" in [node.op_type for node in onnx.load_from_string(model).graph.node]
    small = quantise_int8(model, crops(40, seed=1), keep_float=("head",))
    kinds = [node.op_type for node in onnx.load_from_string(small).graph.node]
    assert kinds.count("QLinearConv") == 2 and not {"Clip", "QuantizeLinear"} & set(kinds)
    assert largest_difference(net, small, [np.concatenate(crops(7, seed=2))]) < 0.05


def test_a_shared_normalisation_folds_exactly() -> None:
    """X = (code / 200 - 0.8) / 0.25 is 0.02 (code - 160), whose zero point pads as zero does."""
    net = SmallNet().eval()
    model = onnx.load_from_string(small_onnx())
    (folded,) = fold_normalisation(model)
    assert folded.zero_point == 160 and folded.scale == pytest.approx(0.02)
    assert largest_difference(net, model.SerializeToString(), crops(5)) < 1e-5


def test_a_normalisation_by_channel_folds_into_the_weights_away_from_the_border() -> None:
    net = SmallNet((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()
    model = onnx.load_from_string(export_fp32(net, crops(1)[0], multiple_of_px=None))
    (folded,) = fold_normalisation(model)
    assert folded.scale == pytest.approx(1 / 200 / 0.226, rel=0.01)
    # Padding stands for the mean's code, which differs by channel: only the border feels it.
    assert 0 < largest_difference(net, model.SerializeToString(), crops(5)) < 0.03


def test_half_precision_halves_the_file_and_holds_its_gate() -> None:
    net = SmallNet().eval()
    model = small_onnx()
    half = to_fp16(model)
    weights = [t for t in onnx.load_from_string(half).graph.initializer if t.data_type == 10]
    assert weights
    assert 0 < largest_difference(net, half, crops(5)) < 1e-2


@pytest.mark.parametrize("calibrator", ["percentile", "entropy"])
def test_other_calibrators_answer_alike(calibrator: str) -> None:
    net = SmallNet().eval()
    model = small_onnx()
    small = quantise_int8(model, crops(24, seed=1), calibrator=calibrator, keep_float=("head",))
    assert largest_difference(net, small, crops(10)) < 0.2
    with pytest.raises(UsageError, match="unknown calibrator"):
        quantise_int8(model, crops(2), calibrator="magic")
