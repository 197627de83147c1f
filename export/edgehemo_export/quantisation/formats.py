"""The tables of formats and precisions: they drive the command line, its help, the export, the
documentation and the tests.

What runs a format on the device is in `edgehemo.inference.RUNTIMES`; this adds what writes it.
Nothing here imports PyTorch: what is unsupported is refused before it is loaded.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from edgehemo.bundle.manifest import PRECISION_PREFERENCE, ArtefactFormat, Precision
from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.inference import RUNTIMES, RuntimeFacts, format_named


@dataclass(frozen=True)
class ExportPrecision:
    """One precision as it is asked for.

    says: the help of its option. calibrated: whether ranges are measured on pictures first.
    """

    name: Precision
    says: str
    calibrated: bool = False


PRECISIONS: Mapping[Precision, ExportPrecision] = {
    item.name: item
    for item in (
        ExportPrecision("fp32", "Single precision."),
        ExportPrecision("fp16", "Half precision."),
        ExportPrecision(
            "int8", "Static int8 (the default where no precision is given).", calibrated=True
        ),
    )
}
ALL_PRECISIONS: tuple[Precision, ...] = tuple(PRECISIONS)
# What is made where no precision is asked for: what a device runs first.
DEFAULT_PRECISION = PRECISION_PREFERENCE[0]


@dataclass(frozen=True)
class ExportFormat:
    """One format as it is written.

    precisions: those this version writes. calibrators: of int8; the one that follows PyTorch best
    on kept-out inputs is taken. spare_calibrators: others, tried where none of those passes. tools:
    distributions that write and verify it, beside PyTorch, with the module each imports; their
    versions are part of an artefact's fingerprint. writer: module of this package and class, see
    `ArtefactWriter`. fixed_size: whether an artefact takes one size only, where the model leaves it
    free.
    """

    name: ArtefactFormat
    precisions: tuple[Precision, ...]
    calibrators: tuple[str, ...]
    spare_calibrators: tuple[str, ...]
    tools: tuple[tuple[str, str], ...]
    writer: str
    fixed_size: bool = False

    @property
    def runtime(self) -> RuntimeFacts:
        """What runs it on a device."""
        return RUNTIMES[self.name]

    @property
    def suffix(self) -> str:
        return self.runtime.suffix


# PyTorch, which every format starts from.
_COMMON_TOOLS = ("torch", "torchvision")
_ONNX, _ONNXSCRIPT = ("onnx", "onnx"), ("onnxscript", "onnxscript")

FORMATS: tuple[ExportFormat, ...] = (
    ExportFormat(
        "onnx",
        ALL_PRECISIONS,
        calibrators=("minmax", "percentile"),
        spare_calibrators=("entropy",),
        tools=(_ONNX, _ONNXSCRIPT, ("onnxruntime", "onnxruntime")),
        writer="onnx_writer:OnnxWriter",
    ),
    ExportFormat(
        "openvino",
        ALL_PRECISIONS,
        calibrators=("minmax", "mean_minmax"),
        spare_calibrators=("mean_quantile",),
        tools=(_ONNX, _ONNXSCRIPT, ("openvino", "openvino"), ("nncf", "nncf")),
        writer="openvino_export:OpenVinoWriter",
    ),
    ExportFormat(
        "tflite",
        ALL_PRECISIONS,
        calibrators=("minmax", "mean_minmax"),
        spare_calibrators=("quantile",),
        tools=(
            ("litert-torch", "litert_torch"),
            ("ai-edge-quantizer", "ai_edge_quantizer"),
            ("ai-edge-litert", "ai_edge_litert"),
        ),
        writer="tflite_export:TfliteWriter",
        fixed_size=True,
    ),
)


def chosen_formats(names: Sequence[str]) -> tuple[ExportFormat, ...]:
    """The formats of that name, all where none is named; UsageError suggests the nearest."""
    if not names:
        return FORMATS
    known = {item.name: item for item in FORMATS}
    return tuple(known[format_named(name)] for name in dict.fromkeys(names))


def chosen_precisions(asked: Collection[str]) -> tuple[Precision, ...]:
    """The precisions asked for, fp32 first; `DEFAULT_PRECISION` where none is."""
    wanted = asked or (DEFAULT_PRECISION,)
    return tuple(name for name in ALL_PRECISIONS if name in wanted)


def calibrated_among(precisions: Collection[Precision]) -> tuple[Precision, ...]:
    """Those of the precisions that need pictures to be calibrated on."""
    return tuple(name for name in precisions if PRECISIONS[name].calibrated)


def refuse_unsupported(formats: Sequence[ExportFormat], precisions: Sequence[Precision]) -> None:
    """UsageError for a precision that a format has not, MissingDependencyError for its tools."""
    for item in formats:
        for precision in precisions:
            if precision not in item.precisions:
                raise UsageError(
                    f"{item.name} has no {precision} artefacts; choose from "
                    + ", ".join(f"--{name}" for name in item.precisions)
                )
        missing = [module for _, module in item.tools if importlib.util.find_spec(module) is None]
        if missing:
            raise MissingDependencyError(
                f"writing {item.name} needs {', '.join(missing)}: "
                'pip install ".[host]", or choose another --format'
            )


def tool_versions(item: ExportFormat) -> dict[str, str]:
    """Distribution to version, of what writes a format; ``none`` where it is not installed."""
    return {name: _version(name) for name in (*_COMMON_TOOLS, *(tool for tool, _ in item.tools))}


@cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"
