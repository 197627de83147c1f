"""The report of an export: what was made, how well it follows PyTorch, by what, how long it took.

Two files in the bundle: JSON for programs, and a page one can read with a plot of parity for each
artefact that was made in this run.
"""

from __future__ import annotations

import base64
import io
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.benchmark import machine
from edgehemo.bundle import Artefact
from edgehemo.files import sha256_of_file, write_json_atomically, write_text_atomically
from edgehemo.version import __version__

REPORT_JSON, REPORT_PAGE = "export.json", "export.html"
# A plot shows at most this many answers, drawn evenly.
PLOTTED_ANSWERS = 4000
PLOT_INCHES = 2.6

Answers = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class ReportRow:
    """One artefact. seconds: making and verifying it, 0 where an earlier one was taken over.
    answers: PyTorch's and the artefact's to the same inputs, None where it was taken over."""

    model: str
    artefact: Artefact
    seconds: float
    answers: tuple[Answers, Answers] | None


def write_report(folder: Path, rows: Sequence[ReportRow], name: str) -> dict[str, str]:
    """Write both files; their digests by name."""
    here = {**machine(), "processors": os.cpu_count() or 1}
    record = {
        "schema": "edgehemo.export-report/1",
        "bundle": name,
        "software_version": __version__,
        "machine": here,
        "artefacts": [
            {
                "model": row.model,
                "seconds": row.seconds,
                "taken_over": row.answers is None,
                "bytes_of_all_files": row.artefact.total_bytes,
                **row.artefact.model_dump(exclude_none=True),
            }
            for row in rows
        ],
    }
    write_json_atomically(folder / REPORT_JSON, record)
    write_text_atomically(folder / REPORT_PAGE, _page(rows, name))
    return {file: sha256_of_file(folder / file) for file in (REPORT_JSON, REPORT_PAGE)}


def _page(rows: Sequence[ReportRow], name: str) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgehemo_export"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    largest = {
        row.model: max(r.artefact.total_bytes for r in rows if r.model == row.model) for row in rows
    }
    return environment.get_template("export_report.html.j2").render(
        name=name,
        version=__version__,
        machine=machine(),
        python=platform.python_version(),
        rows=[
            {
                "model": row.model,
                "artefact": row.artefact,
                "megabytes": row.artefact.total_bytes / 1e6,
                "share": row.artefact.total_bytes / largest[row.model],
                "seconds": row.seconds,
                "plot": None if row.answers is None else _plot(*row.answers),
            }
            for row in rows
        ],
    )


def _plot(wanted: Answers, got: Answers) -> str:
    """PyTorch against the artefact, answer by answer, as a PNG in base64."""
    from matplotlib.figure import Figure

    ours = np.concatenate([answer.ravel() for answer in got])
    theirs = np.concatenate([answer.ravel() for answer in wanted])
    if len(ours) > PLOTTED_ANSWERS:
        # The extremes are what matters most, and a regular draw could miss them.
        order = np.argsort(theirs)
        chosen = order[np.linspace(0, len(order) - 1, PLOTTED_ANSWERS).astype(int)]
        ours, theirs = ours[chosen], theirs[chosen]
    figure = Figure(figsize=(PLOT_INCHES, PLOT_INCHES), layout="constrained")
    axes = figure.subplots()
    low, high = float(theirs.min()), float(theirs.max())
    axes.plot([low, high], [low, high], color="0.7", linewidth=1)
    axes.plot(theirs, ours, ".", markersize=2, alpha=0.4)
    axes.set_xlabel("PyTorch", fontsize=7)
    axes.set_ylabel("artefact", fontsize=7)
    axes.tick_params(labelsize=6)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90, metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()
