"""What runs an artefact on a device: one row a format, and the import of what it names.

The row drives the runners, the doctor, the export's table of formats and the messages that say
what to install.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, NamedTuple

from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.memory import not_enough, ran_out

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import ArtefactFormat


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """One artefact format and what runs it.

    title: of the runtime, in messages. suffix: of the artefact's file. distributions: packages
    that run it with the module each imports, the first one present is taken; those after the first
    are its predecessors. extra: of `pip install edgehemo[...]`. boards: where it is known to be
    packaged (wheels for 64-bit Raspberry Pi OS, Python 3.11 and 3.13, and for x86-64).
    environment: variables set before the import, where they are not set already. kept_out: modules
    that the import does without. Both keep the library from talking to its maker.
    """

    format: ArtefactFormat
    title: str
    suffix: str
    distributions: tuple[tuple[str, str], ...]
    extra: str
    boards: tuple[str, ...]
    note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    kept_out: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """What to install, such as ``edgehemo[onnx]``."""
        return f"edgehemo[{self.extra}]"

    def imported(self, module: str) -> ModuleType:
        """A module of the runtime, imported with its switches; raises what its import raises."""
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        with _without(self.kept_out):
            return importlib.import_module(module)


class LoadedRuntime(NamedTuple):
    """The distribution that runs a format here, and its module."""

    distribution: str
    module: ModuleType


RUNTIMES: Mapping[ArtefactFormat, RuntimeFacts] = MappingProxyType(
    {
        facts.format: facts
        for facts in (
            RuntimeFacts(
                "onnx",
                "ONNX Runtime",
                ".onnx",
                (("onnxruntime", "onnxruntime"),),
                "onnx",
                ("x86-64", "arm64"),
                environment={"ORT_DISABLE_TELEMETRY": "1"},
            ),
            RuntimeFacts(
                "openvino",
                "OpenVINO",
                ".xml",
                (("openvino", "openvino"),),
                "openvino",
                ("x86-64", "arm64"),
                "on ARM only some convolutions run in int8",
                # It has no variable to switch its telemetry off, and none where it is not there.
                kept_out=("openvino_telemetry",),
            ),
            RuntimeFacts(
                "tflite",
                "LiteRT",
                ".tflite",
                (
                    ("ai-edge-litert", "ai_edge_litert.interpreter"),
                    ("tflite-runtime", "tflite_runtime.interpreter"),
                ),
                "tflite",
                ("x86-64", "arm64"),
                "tflite-runtime only where ai-edge-litert has no wheel; it is several times slower",
            ),
        )
    }
)


def silence_runtimes() -> None:
    """Let no runtime of this process talk to its maker, whoever imports it and when.

    For the workstation's part, whose tools import the runtimes themselves: what `imported` keeps
    out of one import stays out of the process.
    """
    for facts in RUNTIMES.values():
        for name, value in facts.environment.items():
            os.environ.setdefault(name, value)
        for name in facts.kept_out:
            # Python's own mark of a module that cannot be imported.
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def format_named(name: str) -> ArtefactFormat:
    """The format of that name; UsageError suggests the nearest."""
    for known in RUNTIMES:
        if known == name:
            return known

    near = difflib.get_close_matches(name, RUNTIMES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"this version knows {', '.join(RUNTIMES)}"
    raise UsageError(f"unknown artefact format {name!r}; {hint}")


def load_runtime(format: ArtefactFormat) -> LoadedRuntime:
    """The first distribution that is installed here and runs a format, imported.

    Raises MissingDependencyError, which names what to install, where there is none, and
    NotEnoughMemoryError where one does not fit.
    """
    facts = RUNTIMES[format]
    for distribution, module in facts.distributions:
        try:
            return LoadedRuntime(distribution, facts.imported(module))
        except ImportError as error:
            if ran_out(error):
                raise not_enough() from error
            continue
    raise MissingDependencyError(
        f'{facts.title} is not installed; pip install "{facts.requirement}"'
    )


@contextmanager
def _without(modules: tuple[str, ...]) -> Iterator[None]:
    """As if modules that are not imported yet were not installed; afterwards they are again."""
    blocked = [name for name in modules if name not in sys.modules]
    for name in blocked:
        # Python's own mark of a module that cannot be imported.
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in blocked:
            sys.modules.pop(name, None)
