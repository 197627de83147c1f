"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import BundleError, MissingDependencyError


class OnnxRunner:
    """One session of ONNX Runtime; see `edgehemo.inference.Runner`."""

    name = "onnxruntime"

    def __init__(self, path: Path, *, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingDependencyError(
                'ONNX Runtime is not installed; pip install "edgehemo[onnx]"'
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would heat a fanless board between fields.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.version: str = onnxruntime.__version__
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises its own unexported types
            first = str(error).splitlines()[0]
            raise BundleError(f"{path.name}: ONNX Runtime refuses it ({first})") from None
        self._input = self._session.get_inputs()[0].name

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        (out,) = self._session.run(None, {self._input: codes})
        return np.asarray(out, dtype=np.float32)
