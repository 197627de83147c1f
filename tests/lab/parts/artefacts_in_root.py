"""Runs inside the 64-bit ARM root: a bundle's ONNX and TFLite artefacts on the bundle's samples.

In one process, since an emulated one cannot start another; else as `edgehemo verify` does.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from edgehemo.bundle.bundle import load_bundle
from edgehemo.inference import check_graph, open_runner
from edgehemo.inference.verification import allowed_difference, read_samples, sample_difference

FORMATS = ("onnx", "tflite")

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
        seen = sample_difference(runner, samples)
        rows.append(
            {
                "model": entry.name,
                "format": artefact.format,
                "precision": artefact.precision,
                "runtime": f"{runner.name} {runner.version}",
                "difference": seen,
                "at_export": artefact.reproduction,
                "gate": "pass" if seen <= allowed_difference(artefact) else "fail",
            }
        )
print(json.dumps({"machine": platform.machine(), "trust": bundle.trust, "artefacts": rows}))
