"""The report of an export: what was made, how well it follows PyTorch, by what, how long it took.

Two files in the bundle: JSON for programs, and a page one can read with a plot of parity for each
artefact. What was taken over from an earlier bundle keeps what its report said of it.
"""

from __future__ import annotations

import base64
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgehemo.bench.stages import machine
from edgehemo.bundle.bundle import Bundle
from edgehemo.bundle.manifest import Artefact, ArtefactFormat, Precision
from edgehemo.errors import BundleError
from edgehemo.files.atomic import sha256_of_file, write_json_atomically, write_text_atomically
from edgehemo.pages.environment import page_environment
from edgehemo.version import __version__

REPORT_SCHEMA = "edgehemo.export-report/1"
REPORT_JSON, REPORT_PAGE = "export.json", "export.html"
REPORT_TEMPLATE = "export_report.html.j2"
# Of an artefact's answers the report keeps this many beside PyTorch's, drawn evenly, and as many
# again of those that lie furthest apart.
KEPT_ANSWERS = 150
SIGNIFICANT_DIGITS = 6
PLOT_INCHES = 2.6

Answers = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Measured:
    """What making and verifying one artefact showed.

    seconds: of both. run_ms: median of one run over the kept-out inputs, on this machine with this
    many threads; an indication, not a benchmark. pytorch, artefact: some answers of both to the
    same inputs, in the same order.
    """

    seconds: float
    run_ms: float
    threads: int
    board: str
    architecture: str
    pytorch: list[float]
    artefact: list[float]

    @classmethod
    def here(
        cls, seconds: float, run_ms: float, threads: int, wanted: Answers, got: Answers
    ) -> Measured:
        """On this machine; wanted, got: all answers of PyTorch and of the artefact."""
        on = machine()
        theirs, ours = chosen_answers(wanted, got)
        return cls(
            round(seconds, 1),
            round(run_ms, 3),
            threads,
            on["board"],
            on["architecture"],
            theirs,
            ours,
        )


@dataclass(frozen=True)
class ReportRow:
    """One artefact. taken_over: from an earlier bundle. measured: None where that did not say.
    problem: which gate it failed and by how much; it is then not in the bundle.
    """

    model: str
    format: ArtefactFormat
    precision: Precision
    artefact: Artefact | None
    measured: Measured | None
    taken_over: bool = False
    problem: str | None = None


def chosen_answers(wanted: Answers, got: Answers) -> tuple[list[float], list[float]]:
    """PyTorch's answers and the artefact's to keep: an even draw by size, the furthest apart."""
    theirs = np.concatenate([answer.ravel() for answer in wanted])
    ours = np.concatenate([answer.ravel() for answer in got])
    by_size = np.argsort(theirs, kind="stable")
    even = by_size[np.linspace(0, len(by_size) - 1, KEPT_ANSWERS).astype(int)]
    apart = np.argsort(-np.abs(ours - theirs), kind="stable")[:KEPT_ANSWERS]
    kept = np.unique(np.concatenate([even, apart]))
    return _rounded(theirs[kept]), _rounded(ours[kept])


def earlier_measurements(bundle: Bundle) -> dict[str, Measured]:
    """What a bundle's report says of its artefacts, by fingerprint; empty where it cannot tell."""
    digest = bundle.manifest.files.get(REPORT_JSON)
    if digest is None:
        return {}
    try:
        record = json.loads(bundle.checked_bytes(REPORT_JSON, digest))
        return {
            row["fingerprint"]: Measured(**row["measured"])
            for row in record["artefacts"]
            if row.get("measured") is not None and "fingerprint" in row
        }
    except (BundleError, OSError, ValueError, KeyError, TypeError):
        return {}


def write_report(folder: Path, rows: Sequence[ReportRow], name: str) -> dict[str, str]:
    """Write both files; their digests by name."""
    here = {**machine(), "processors": os.cpu_count() or 1}
    record = {
        "schema": REPORT_SCHEMA,
        "bundle": name,
        "software_version": __version__,
        "machine": here,
        "artefacts": [_recorded(row) for row in rows],
    }
    write_json_atomically(folder / REPORT_JSON, record)
    write_text_atomically(folder / REPORT_PAGE, _page(rows, name))
    return {file: sha256_of_file(folder / file) for file in (REPORT_JSON, REPORT_PAGE)}


def _recorded(row: ReportRow) -> Mapping[str, Any]:
    out: dict[str, Any] = {
        "model": row.model,
        "format": row.format,
        "precision": row.precision,
        "gate": "pass" if row.problem is None else "fail",
        "problem": row.problem,
        "taken_over": row.taken_over,
        "measured": None if row.measured is None else vars(row.measured),
    }
    if row.artefact is not None:
        out["bytes_of_all_files"] = row.artefact.total_bytes
        out |= row.artefact.model_dump(exclude_none=True)
    return out


def _page(rows: Sequence[ReportRow], name: str) -> str:
    made = [(row, row.artefact) for row in rows if row.artefact is not None]
    largest: dict[str, int] = {}
    for row, artefact in made:
        largest[row.model] = max(largest.get(row.model, 0), artefact.total_bytes)
    template = page_environment("edgehemo_export.quantisation").get_template(REPORT_TEMPLATE)
    return template.render(
        name=name,
        version=__version__,
        machine=machine(),
        python=platform.python_version(),
        failed=[row for row in rows if row.problem is not None],
        rows=[
            {
                "model": row.model,
                "artefact": artefact,
                "megabytes": artefact.total_bytes / 1e6,
                "share": artefact.total_bytes / largest[row.model],
                "taken_over": row.taken_over,
                "measured": row.measured,
                "plot": None if row.measured is None else _plot(row.measured),
            }
            for row, artefact in made
        ],
    )


def _plot(measured: Measured) -> str:
    """PyTorch against the artefact, answer by answer, as a PNG in base64."""
    figure = Figure(figsize=(PLOT_INCHES, PLOT_INCHES), layout="constrained")
    axes = figure.subplots()
    ends = [min(measured.pytorch), max(measured.pytorch)]
    axes.plot(ends, ends, color="0.7", linewidth=1)
    axes.plot(measured.pytorch, measured.artefact, ".", markersize=3, alpha=0.5)
    axes.set_xlabel("PyTorch", fontsize=7)
    axes.set_ylabel("artefact", fontsize=7)
    axes.tick_params(labelsize=6)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90, metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()


def _rounded(values: NDArray[np.float32]) -> list[float]:
    return [float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in values.tolist()]
