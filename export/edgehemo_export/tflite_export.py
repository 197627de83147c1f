"""PyTorch to LiteRT (TensorFlow Lite): fp32, half-precision weights, static int8.

The converter arranges the network for channels last. It fixes the size: a network that takes any
gets a tile that holds an ordinary field, and the device covers larger ones with several.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.bundle import Precision
from edgehemo.errors import UsageError
from edgehemo_export.int8_recipes import Int8Recipe
from edgehemo_export.writers import FREE_SIZE_PX, Files, Graph

CALIBRATION_THREADS = 1
# What is quantised: what carries the arithmetic and joins it. Scaling the codes and turning answers
# into probabilities stay in float, as in the other formats.
QUANTISED_OPERATORS = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "ADD",
    "PAD",
    "MAX_POOL_2D",
    "AVERAGE_POOL_2D",
    "RESIZE_NEAREST_NEIGHBOR",
    "RESIZE_BILINEAR",
)


class TfliteWriter:
    """See `edgehemo_export.writers.ArtefactWriter`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        free = graph.free_size_multiple is not None
        self.fixed_height_px = FREE_SIZE_PX[0] if free else None
        self.fixed_width_px = FREE_SIZE_PX[1] if free else None

    def plain(self, precision: Precision) -> Files:
        if precision == "fp32":
            return [(".tflite", self._float)]
        quantizer = self._quantizer()
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        quantizer.update_quantization_recipe(
            ".*",
            qtyping.TFLOperationName.ALL_SUPPORTED,
            qtyping.OpQuantizationConfig(
                weight_tensor_config=half,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            AlgorithmName.FLOAT_CASTING,
        )
        return [(".tflite", bytes(_quietly(quantizer.quantize).quantized_model))]

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName
        from ai_edge_quantizer.calibrator import Calibrator
        from ai_edge_quantizer.recipe_manager import RecipeManager
        from ai_edge_quantizer.utils import qsv_utils

        if recipe.calibrator != "minmax":
            raise UsageError(f"tflite has no calibrator {recipe.calibrator}")
        quantizer = self._quantizer()
        for name in QUANTISED_OPERATORS:
            quantizer.add_static_config(
                ".*", qtyping.TFLOperationName(name), activation_num_bits=8, weight_num_bits=8
            )
        for pattern in self._float_patterns(recipe.keep_float):
            quantizer.update_quantization_recipe(
                pattern,
                qtyping.TFLOperationName.ALL_SUPPORTED,
                algorithm_key=AlgorithmName.NO_QUANTIZE,
            )
        manager = RecipeManager()
        manager.load_quantization_recipe(quantizer.get_quantization_recipe())
        # The library's own update is a moving average, which forgets the extremes.
        measuring = Calibrator(
            self._float,
            num_threads=CALIBRATION_THREADS,
            qsv_update_func=qsv_utils.min_max_update,
        )
        samples = [{"args_0": self._fitted(codes)} for codes in batches]
        _quietly(measuring.calibrate, {"serving_default": samples}, manager)
        ranges = measuring.get_model_qsvs()
        return [(".tflite", bytes(_quietly(quantizer.quantize, ranges).quantized_model))]

    @cached_property
    def _float(self) -> bytes:
        import litert_torch

        example = torch.from_numpy(self._fitted(self._graph.example))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            model = _quietly(litert_torch.convert, self._graph.net.eval(), (example,))
            _quietly(model.export, str(path))
            return path.read_bytes()

    def _fitted(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A sample at the fixed size: repeated, not padded, lest padding shape the ranges."""
        if self.fixed_height_px is None or self.fixed_width_px is None:
            return codes
        height, width = codes.shape[1:3]
        down, across = -(-self.fixed_height_px // height), -(-self.fixed_width_px // width)
        tiled = np.tile(codes, (1, down, across, 1))
        return np.ascontiguousarray(tiled[:, : self.fixed_height_px, : self.fixed_width_px])

    def _quantizer(self) -> Any:
        from ai_edge_quantizer.quantizer import Quantizer

        return Quantizer(bytearray(self._float))

    def _float_patterns(self, modules: Sequence[str]) -> list[str]:
        """Patterns of LiteRT's tensor names, which spell the path of modules a value came from."""
        return [
            ".*" + ".*".join(rf"_{part}(?![0-9A-Za-z])" for part in name.split(".")) + ".*"
            for name in modules
        ]


def _quietly(function: Any, *arguments: Any) -> Any:
    """Call what would print its progress line by line."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return function(*arguments)
    finally:
        log.setLevel(level)
