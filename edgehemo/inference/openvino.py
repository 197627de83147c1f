"""OpenVINO on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import BundleError
from edgehemo.files.folders import user_folder
from edgehemo.inference.content import Digests, content_of
from edgehemo.inference.runtimes import RUNTIMES, load_runtime
from edgehemo.memory import not_enough, ran_out

# Of the file beside a model that holds its weights.
WEIGHTS_SUFFIX = ".bin"


class OpenVinoRunner:
    """One compiled model of OpenVINO; see `edgehemo.inference.DescribedRunner`.

    The default precision hint would let the plug-in compute in bf16 or f16 where the processor
    has it, which multiplies the error of int8 graphs: it is held at f32. Compiled models are kept
    in the user's cache folder, which halves the time of the next opening.
    """

    def __init__(self, path: Path, *, threads: int, digests: Digests | None = None) -> None:
        self.name, openvino = load_runtime("openvino")
        self.version: str = str(openvino.__version__).partition("-")[0]
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(threads),
            "PERFORMANCE_HINT": "LATENCY",
        }
        cache = _cache_folder()
        if cache is not None:
            settings["CACHE_DIR"] = str(cache)
        try:
            core = openvino.Core()
            if digests:
                weights = content_of(path.with_suffix(WEIGHTS_SUFFIX), digests)
                model = core.read_model(content_of(path, digests), weights)
            else:
                model = core.read_model(str(path))
            compiled = core.compile_model(model, "CPU", settings)
        except BundleError:
            raise
        except Exception as error:  # openvino raises RuntimeError and its own types
            if ran_out(error):
                raise not_enough() from error
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = lines[-1].strip() if lines else "no reason"
            title = RUNTIMES["openvino"].title
            raise BundleError(f"{path.name}: {title} refuses it ({reason})") from None
        self._file = path.name
        self._request = compiled.create_infer_request()
        taken, given = compiled.inputs[0], compiled.outputs[0]
        self.input_type = {"u8": "uint8"}.get(taken.element_type.get_type_name(), "other")
        self.input_shape = _shape(taken.partial_shape)
        self.output_shape = _shape(given.partial_shape)
        # A graph of a fixed batch takes its samples one after the other.
        self._one_by_one = self.input_shape[:1] == (1,)

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._one_by_one and len(codes) != 1:
            return np.concatenate([self.run(one[None]) for one in codes])
        self._request.infer([np.ascontiguousarray(codes)])
        answers = np.array(self._request.get_output_tensor(0).data, dtype=np.float32)
        if len(answers) != len(codes):
            # Seen of version 2026.4 in int8 on a Cortex-A72: an empty answer and no error.
            raise BundleError(
                f"{self._file}: {RUNTIMES['openvino'].title} gives {len(answers)} answers to "
                f"{len(codes)} pictures on this processor; choose another precision or runtime"
            )
        return answers


def _shape(partial: object) -> tuple[int | None, ...]:
    return tuple(
        None if side.is_dynamic else int(side.get_length())
        for side in partial  # type: ignore[attr-defined]
    )


def _cache_folder() -> Path | None:
    folder = user_folder("cache") / "openvino"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None  # a read-only system compiles at every start
    return folder
