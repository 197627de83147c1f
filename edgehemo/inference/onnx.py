"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import BundleError
from edgehemo.inference.content import Digests, content_of
from edgehemo.inference.processor import saturates_products
from edgehemo.inference.runtimes import RUNTIMES, load_runtime
from edgehemo.memory import not_enough, ran_out


class OnnxRunner:
    """One session of ONNX Runtime; see `edgehemo.inference.DescribedRunner`."""

    def __init__(self, path: Path, *, threads: int, digests: Digests | None = None) -> None:
        self.name, onnxruntime = load_runtime("onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would heat a fanless board between fields.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if saturates_products():
            # Unsigned weights instead: three times slower where VNNI would do, and right here.
            options.add_session_config_entry("session.x64quantprecision", "1")
        # What it would print comes as an exception as well.
        options.log_severity_level = 4
        self.version: str = onnxruntime.__version__
        try:
            self._session = onnxruntime.InferenceSession(
                content_of(path, digests) if digests else str(path),
                options,
                providers=["CPUExecutionProvider"],
            )
        except BundleError:
            raise
        except Exception as error:  # onnxruntime raises its own unexported types
            if ran_out(error):
                raise not_enough() from error
            first = str(error).splitlines()[0]
            raise BundleError(
                f"{path.name}: {RUNTIMES['onnx'].title} refuses it ({first})"
            ) from None
        taken, given = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._input = taken.name
        self.input_type = str(taken.type).removeprefix("tensor(").removesuffix(")")
        self.input_shape = tuple(d if isinstance(d, int) else None for d in taken.shape)
        self.output_shape = tuple(d if isinstance(d, int) else None for d in given.shape)

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        (out,) = self._session.run(None, {self._input: codes})
        return np.asarray(out, dtype=np.float32)
