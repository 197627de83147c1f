"""LiteRT (TensorFlow Lite) on the CPU: ai-edge-litert, else its predecessor tflite-runtime."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import BundleError
from edgehemo.inference.content import Digests, content_of
from edgehemo.inference.runtimes import load_runtime
from edgehemo.memory import not_enough, ran_out


class TfliteRunner:
    """One interpreter; see `edgehemo.inference.DescribedRunner`. Samples run one by one."""

    def __init__(self, path: Path, *, threads: int, digests: Digests | None = None) -> None:
        self.name, module = load_runtime("tflite")
        self.version = importlib.metadata.version(self.name)
        try:
            # The interpreter works on these bytes and does not keep them alive itself.
            self._content = content_of(path, digests) if digests else path.read_bytes()
            self._interpreter = module.Interpreter(model_content=self._content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except BundleError:
            raise
        except Exception as error:  # the interpreter raises ValueError and RuntimeError
            if ran_out(error):
                raise not_enough() from error
            lines = str(error).splitlines() or [type(error).__name__]
            raise BundleError(f"{path.name}: {self.name} refuses it ({lines[0]})") from None
        taken = self._interpreter.get_input_details()[0]
        given = self._interpreter.get_output_details()[0]
        self._input, self._output = taken["index"], given["index"]
        self.input_type = str(np.dtype(taken["dtype"]))
        self.input_shape: tuple[int | None, ...] = tuple(int(side) for side in taken["shape"])
        self.output_shape: tuple[int | None, ...] = tuple(int(side) for side in given["shape"])

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        outputs: list[NDArray[Any]] = []
        for one in codes:
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(one[None]))
            self._interpreter.invoke()
            outputs.append(self._interpreter.get_tensor(self._output))
        if not outputs:
            return np.zeros((0, *(side or 0 for side in self.output_shape[1:])), np.float32)
        return np.concatenate(outputs).astype(np.float32, copy=False)
