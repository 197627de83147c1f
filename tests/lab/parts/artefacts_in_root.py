"""Runs inside an emulated 64-bit ARM system: a bundle's artefacts on the bundle's samples.

``artefacts_in_root.py BUNDLE FORMAT...``. In one process; else as `edgehemo verify` does.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from edgehemo.bundle.bundle import load_bundle
from edgehemo.errors import BundleError
from edgehemo.inference import check_graph, open_runner
from edgehemo.inference.verification import allowed_difference, read_samples, sample_difference

FORMATS = sys.argv[2:]

bundle = load_bundle(Path(sys.argv[1]))
bundle.check_files()
rows = []
for entry in bundle.manifest.models:
    samples = read_samples(bundle, entry)
    for artefact in entry.artefacts:
        if artefact.format not in FORMATS:
            continue
        path = bundle.checked_file(artefact.file, artefact.sha256)
        runner = open_runner(path, artefact.format, threads=1)
        check_graph(runner, entry, artefact, bundle.graph(entry.task)[2])
        seen: float | None = None
        problem: str | None = None
        try:
            seen = sample_difference(runner, samples)
        except BundleError as error:
            problem = str(error)
        passed = seen is not None and seen <= allowed_difference(artefact)
        rows.append(
            {
                "model": entry.name,
                "format": artefact.format,
                "precision": artefact.precision,
                "runtime": f"{runner.name} {runner.version}",
                "difference": seen,
                "at_export": artefact.reproduction,
                "gate": "pass" if passed else "fail",
                "problem": problem,
            }
        )
print(json.dumps({"machine": platform.machine(), "trust": bundle.trust, "artefacts": rows}))
