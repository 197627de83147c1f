"""Read reference figures, hold them against the checkpoints' records, and write them anew."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edgehemo.errors import UsageError

REFERENCE = Path(__file__).parent
MODELS_FILE = REFERENCE / "models.toml"
MEASURED_FILE = REFERENCE / "measured.toml"
SCHEMA = "edgehemo.reference/1"
# Figures are kept to so many digits after the point; a record holds more.
DECIMALS = 4

MODELS_HEAD = """\
# Reference figures that stand in the records of the checkpoints (export/checkpoints).
# Names, sources, metrics and tolerances are chosen by hand; the numbers are written by
#   python -m edgehemo_export.reference export/checkpoints
# after `edgehemo evaluate --save`. A tolerance is how far a repeat on another machine may lie.
"""


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number: what it is of, its 95 % interval where it has one, how many items it stands on.

    tolerance: how far a repeat of the measurement may lie from ``value`` before something has
    changed, in the figure's own unit.
    """

    metric: str
    value: float
    tolerance: Annotated[float, Meta(ge=0)]
    source: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    items: int | None = None


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Figures that one command gives. checkpoint: whose record they stand in."""

    title: str
    command: str
    machine: str
    date: date
    figures: dict[str, Figure]
    checkpoint: str | None = None
    note: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    measurement: list[Measurement]


@dataclass(frozen=True)
class Difference:
    """A figure that a record states otherwise than the reference; None where it lacks it."""

    name: str
    reference: float
    found: float | None
    tolerance: float

    def __str__(self) -> str:
        found = "missing" if self.found is None else f"{self.found:.{DECIMALS}f}"
        return f"{self.name}: {found}, reference {self.reference:g} +-{self.tolerance:g}"


def read_measurements(path: Path) -> list[Measurement]:
    """The measurements of one reference file. Raises UsageError naming the file and the fault."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        file = msgspec.convert(raw, _File)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{path}: cannot be read as reference figures ({error})") from error
    if file.schema != SCHEMA:
        raise UsageError(f"{path}: is of schema {file.schema!r}, this software reads {SCHEMA!r}")
    return file.measurement


def all_measurements() -> list[Measurement]:
    """Those of the checkpoints' records, then those of the benchmarks."""
    return [*read_measurements(MODELS_FILE), *read_measurements(MEASURED_FILE)]


def all_figures() -> dict[str, Figure]:
    """Name -> figure over all files. Raises UsageError where a name stands twice."""
    found: dict[str, Figure] = {}
    for measurement in all_measurements():
        for name, figure in measurement.figures.items():
            if name in found:
                raise UsageError(f"the reference figure {name} stands twice")
            found[name] = figure
    return found


def stored_record(checkpoint: Path) -> dict[str, Any]:
    """The record inside a checkpoint, without its weights (safetensors' own header)."""
    with checkpoint.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    record: dict[str, Any] = json.loads(header["__metadata__"]["record"])
    return record


def differences(
    measurement: Measurement, metrics: Sequence[Mapping[str, Any]]
) -> Iterator[Difference]:
    """What ``metrics`` of a record state beyond a figure's tolerance, and what they lack."""
    for name, figure in measurement.figures.items():
        metric = _metric(figure, metrics)
        found = None if metric is None else float(metric["value"])
        if found is None or abs(found - figure.value) > figure.tolerance:
            yield Difference(name, figure.value, found, figure.tolerance)


def renewed(
    measurement: Measurement, record: Mapping[str, Any], *, machine: str, today: date
) -> Measurement:
    """The measurement with the record's numbers; machine and date are new where a number is.

    Raises UsageError for a figure that the record lacks.
    """
    figures = {}
    for name, figure in measurement.figures.items():
        metric = _metric(figure, record["metrics"])
        if metric is None:
            raise UsageError(f"{name}: the record has no {figure.metric!r} of {figure.source!r}")
        figures[name] = msgspec.structs.replace(
            figure,
            value=_rounded(metric["value"]),
            low=_rounded(metric["low"]),
            high=_rounded(metric["high"]),
            items=metric["images"],
        )
    if figures == measurement.figures:
        return measurement
    return msgspec.structs.replace(measurement, figures=figures, machine=machine, date=today)


def as_toml(measurements: Sequence[Measurement]) -> str:
    """``models.toml`` as it is written: a line a figure, so that a change reads as one."""
    lines = [MODELS_HEAD + f"schema = {_quoted(SCHEMA)}"]
    for item in measurements:
        lines += ["", "[[measurement]]", f"title = {_quoted(item.title)}"]
        if item.checkpoint is not None:
            lines.append(f"checkpoint = {_quoted(item.checkpoint)}")
        lines += [
            f"command = {_quoted(item.command)}",
            f"machine = {_quoted(item.machine)}",
            f"date = {item.date.isoformat()}",
        ]
        if item.note:
            lines.append(f"note = {_quoted(item.note)}")
        lines += ["", "[measurement.figures]"]
        lines += [f"{name} = {_inline(figure)}" for name, figure in item.figures.items()]
    return "\n".join(lines) + "\n"


def _inline(figure: Figure) -> str:
    parts = []
    for name in ("source", "metric", "value", "low", "high", "unit", "items", "tolerance"):
        value = getattr(figure, name)
        if value not in (None, ""):
            parts.append(f"{name} = {_quoted(value) if isinstance(value, str) else repr(value)}")
    return "{ " + ", ".join(parts) + " }"


def _quoted(text: str) -> str:
    # A basic string of TOML escapes as JSON does.
    return json.dumps(text, ensure_ascii=False)


def _metric(figure: Figure, metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    asked = (figure.source, figure.metric)
    return next((item for item in metrics if (item["source"], item["name"]) == asked), None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), DECIMALS)
