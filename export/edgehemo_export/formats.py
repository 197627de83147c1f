"""The one table of artefact formats: it drives the command line, its help, and the tests."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.bundle import ArtefactFormat, Precision
from edgehemo.errors import UsageError


@dataclass(frozen=True)
class ExportFormat:
    """One format: its file suffix, the precisions this version writes, and what runs it."""

    name: ArtefactFormat
    suffix: str
    precisions: tuple[Precision, ...]
    runtime_package: str


FORMATS: tuple[ExportFormat, ...] = (
    ExportFormat("onnx", ".onnx", ("fp32", "int8"), "onnxruntime"),
)


def chosen_formats(names: Sequence[str]) -> tuple[ExportFormat, ...]:
    """The formats of that name, all where none is named; UsageError suggests the nearest."""
    if not names:
        return FORMATS
    known = {item.name: item for item in FORMATS}
    out = []
    for name in dict.fromkeys(names):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"this version writes {', '.join(known)}"
            raise UsageError(f"unknown export format {name!r}; {hint}")
        out.append(known[name])
    return tuple(out)


def chosen_precisions(*, int8: bool, fp16: bool, fp32: bool) -> tuple[Precision, ...]:
    """The precisions asked for; int8 where none is. UsageError for one that no format has."""
    asked: list[Precision] = []
    if int8 or not (fp16 or fp32):
        asked.append("int8")
    if fp16:
        asked.append("fp16")
    if fp32:
        asked.append("fp32")
    possible = {precision for item in FORMATS for precision in item.precisions}
    for precision in asked:
        if precision not in possible:
            raise UsageError(
                f"this version writes no {precision} artefacts; choose from "
                + ", ".join(f"--{name}" for name in sorted(possible))
            )
    return tuple(asked)
