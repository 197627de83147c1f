"""The one table of artefact formats: it drives the command line, its help, the export, the tests.

What runs a format on the device is in `edgehemo.inference.RUNTIMES`; this adds what writes it.
Nothing here imports PyTorch: what is unsupported is refused before it is loaded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.bundle.manifest import ArtefactFormat, Precision
from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.inference import RUNTIMES, RuntimeFacts, format_named

ALL_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class ExportFormat:
    """One format as it is written.

    precisions: those this version writes. calibrators: of int8; the one that follows PyTorch best
    on kept-out inputs is taken. spare_calibrators: others, tried where none of those passes.
    host_modules: what writing and verifying it imports. fixed_size: whether an artefact takes one
    size only, where the model leaves it free.
    """

    name: ArtefactFormat
    precisions: tuple[Precision, ...]
    calibrators: tuple[str, ...]
    host_modules: tuple[str, ...]
    spare_calibrators: tuple[str, ...] = ()
    fixed_size: bool = False

    @property
    def runtime(self) -> RuntimeFacts:
        """What runs it on a device."""
        return RUNTIMES[self.name]

    @property
    def suffix(self) -> str:
        return self.runtime.suffix

    def needs_calibration(self, precision: Precision) -> bool:
        return precision == "int8"


FORMATS: tuple[ExportFormat, ...] = (
    ExportFormat(
        "onnx",
        ALL_PRECISIONS,
        ("minmax", "percentile"),
        ("onnx", "onnxscript", "onnxruntime"),
        spare_calibrators=("entropy",),
    ),
    ExportFormat(
        "openvino",
        ALL_PRECISIONS,
        ("minmax", "mean_minmax"),
        ("onnx", "onnxscript", "openvino", "nncf"),
        spare_calibrators=("mean_quantile",),
    ),
    ExportFormat(
        "tflite",
        ALL_PRECISIONS,
        ("minmax", "mean_minmax"),
        ("litert_torch", "ai_edge_quantizer", "ai_edge_litert"),
        spare_calibrators=("quantile",),
        fixed_size=True,
    ),
)


def chosen_formats(names: Sequence[str]) -> tuple[ExportFormat, ...]:
    """The formats of that name, all where none is named; UsageError suggests the nearest."""
    if not names:
        return FORMATS
    known = {item.name: item for item in FORMATS}
    return tuple(known[format_named(name)] for name in dict.fromkeys(names))


def chosen_precisions(*, int8: bool, fp16: bool, fp32: bool) -> tuple[Precision, ...]:
    """The precisions asked for, fp32 first; int8 where none is."""
    asked = {"fp32": fp32, "fp16": fp16, "int8": int8 or not (fp16 or fp32)}
    return tuple(precision for precision in ALL_PRECISIONS if asked[precision])


def refuse_unsupported(formats: Sequence[ExportFormat], precisions: Sequence[Precision]) -> None:
    """UsageError for a precision that a format has not, MissingDependencyError for its tools."""
    for item in formats:
        for precision in precisions:
            if precision not in item.precisions:
                raise UsageError(
                    f"{item.name} has no {precision} artefacts; choose from "
                    + ", ".join(f"--{name}" for name in item.precisions)
                )
        missing = [name for name in item.host_modules if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingDependencyError(
                f"writing {item.name} needs {', '.join(missing)}: "
                'pip install "edgehemo[host]", or choose another --format'
            )
