"""PyTorch to LiteRT (TensorFlow Lite): fp32, half-precision weights, static int8.

The converter arranges the network for channels last. It fixes the size: a network that takes any
gets a tile that holds an ordinary field, and the device covers larger ones with several.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Precision
from edgehemo.errors import UsageError
from edgehemo_export.quantisation.graph import FREE_SIZE_PX, Files, Graph
from edgehemo_export.quantisation.int8_recipes import Int8Recipe

CALIBRATION_THREADS = 1
# How the smallest and largest values of all samples become one range, by calibrator. The library's
# own way is a moving average, which forgets the extremes.
OUTER_SHARE = 0.05
REDUCTIONS: Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "minmax": (np.min, np.max),
    "mean_minmax": (np.mean, np.mean),
    "quantile": (partial(np.quantile, q=OUTER_SHARE), partial(np.quantile, q=1 - OUTER_SHARE)),
}
# Value ranges of tensors by name.
Ranges = dict[str, Any]
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
    """See `edgehemo_export.quantisation.writers.ArtefactWriter`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        free = graph.free_size_multiple is not None
        self.fixed_height_px = FREE_SIZE_PX[0] if free else None
        self.fixed_width_px = FREE_SIZE_PX[1] if free else None
        self._extremes_of: tuple[Sequence[NDArray[np.uint8]], Ranges] | None = None

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
        with _quiet():
            return [(".tflite", bytes(quantizer.quantize().quantized_model))]

    def int8(self, batches: Sequence[NDArray[np.uint8]], recipe: Int8Recipe) -> Files:
        from ai_edge_quantizer import qtyping
        from ai_edge_quantizer.algorithm_manager import AlgorithmName

        if recipe.calibrator not in REDUCTIONS:
            raise UsageError(f"tflite has no calibrator {recipe.calibrator}")
        lowest, highest = REDUCTIONS[recipe.calibrator]
        ranges = {
            name: {
                "min": lowest(np.stack(seen["minima"]), axis=0),
                "max": highest(np.stack(seen["maxima"]), axis=0),
            }
            for name, seen in self._extremes(batches).items()
        }
        quantizer = self._all_int8()
        for pattern in self._float_patterns(recipe.keep_float):
            quantizer.update_quantization_recipe(
                pattern,
                qtyping.TFLOperationName.ALL_SUPPORTED,
                algorithm_key=AlgorithmName.NO_QUANTIZE,
            )
        with _quiet():
            return [(".tflite", bytes(quantizer.quantize(ranges).quantized_model))]

    def _extremes(self, batches: Sequence[NDArray[np.uint8]]) -> Ranges:
        """The smallest and largest value of every tensor in each sample, kept for other recipes."""
        if self._extremes_of is not None and self._extremes_of[0] is batches:
            return self._extremes_of[1]
        from ai_edge_quantizer.calibrator import Calibrator
        from ai_edge_quantizer.recipe_manager import RecipeManager

        manager = RecipeManager()
        manager.load_quantization_recipe(self._all_int8().get_quantization_recipe())
        samples = [{"args_0": self._fitted(codes)} for codes in batches]
        with _quiet():
            measuring = Calibrator(
                self._float, num_threads=CALIBRATION_THREADS, qsv_update_func=_gathered
            )
            measuring.calibrate({"serving_default": samples}, manager)
        found = {
            name: seen if "minima" in seen else {"minima": [seen["min"]], "maxima": [seen["max"]]}
            for name, seen in measuring.get_model_qsvs().items()
        }
        self._extremes_of = (batches, found)
        return found

    @cached_property
    def _float(self) -> bytes:
        example = torch.from_numpy(self._fitted(self._graph.example))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            with _quiet():
                import litert_torch

                litert_torch.convert(self._graph.net.eval(), (example,)).export(str(path))
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

    def _all_int8(self) -> Any:
        """A quantizer that takes all of `QUANTISED_OPERATORS` to static int8."""
        from ai_edge_quantizer import qtyping

        quantizer = self._quantizer()
        for name in QUANTISED_OPERATORS:
            quantizer.add_static_config(
                ".*", qtyping.TFLOperationName(name), activation_num_bits=8, weight_num_bits=8
            )
        return quantizer

    def _float_patterns(self, modules: Sequence[str]) -> list[str]:
        """Patterns of LiteRT's tensor names, which spell the path of modules a value came from."""
        return [
            ".*" + ".*".join(rf"_{part}(?![0-9A-Za-z])" for part in name.split(".")) + ".*"
            for name in modules
        ]


def _gathered(before: Ranges, new: Ranges) -> Ranges:
    """The calibrator's own record of a tensor with the extremes of every sample so far."""
    minima = before.get("minima") or [before["min"]]
    maxima = before.get("maxima") or [before["max"]]
    minima.append(new["min"])
    maxima.append(new["max"])
    return {"min": before["min"], "max": before["max"], "minima": minima, "maxima": maxima}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries write line by line: through the logger, and past Python."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        with (
            warnings.catch_warnings(),
            redirect_stdout(StringIO()),  # or it would be written out afterwards
            redirect_stderr(StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for descriptor, own in zip((1, 2), kept, strict=True):
            os.dup2(own, descriptor)
            os.close(own)
        os.close(nowhere)
        log.setLevel(level)
