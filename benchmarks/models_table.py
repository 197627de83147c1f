"""Every shipped model's stored metrics by source with intervals, and what quantising cost each.

``python benchmarks/models_table.py [--checkpoints DIR] [--bundle DIR]`` prints Markdown. It reads
the records inside the checkpoints and the bundle's manifest, and runs no model: the figures are
those that `edgehemo evaluate --save` and `edgehemo export` measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from edgehemo.bundle.bundle import Bundle, load_bundle
from edgehemo.bundle.manifest import Artefact
from edgehemo.files.atomic import sha256_of_file
from edgehemo_export.evaluation.card_parts import metrics_table, section, table

CHECKPOINTS = Path(__file__).resolve().parents[1] / "export" / "checkpoints"
# How `parity` names PyTorch's figure beside the artefact's own.
PYTORCH_SUFFIX = "_pytorch"


@dataclass(frozen=True)
class StoredModel:
    """A checkpoint's record, its digest and size; weights: how many numbers it stores."""

    path: Path
    task: str
    record: dict[str, Any]
    sha256: str
    weights: int


def main(checkpoints: Path, bundle: Bundle) -> None:
    """Print the tables."""
    models = [stored_model(path) for path in sorted(checkpoints.glob("*.safetensors"))]
    lines = section(
        "Models", table(("model", "stored numbers", "MB", "steps", "minutes"), sizes(models))
    )
    for model in models:
        metrics = model.record.get("metrics", [])
        note = [] if metrics else ["Not evaluated yet: `edgehemo evaluate --save`."]
        title = f"{model.path.stem}, kept-out part"
        lines += section(title, metrics_table(metrics) if metrics else note, level=3)
    headings = ("model", "format", "precision", "MB", "metric", "PyTorch", "artefact", "change")
    lines += section("fp32 against the artefacts of the bundle", table(headings, parities(bundle)))
    stale = [f"- {name}" for name in not_of_checkpoint(bundle, models)]
    lines += section("Exported from another checkpoint than the one here", stale) if stale else []
    print("\n".join(lines))


def stored_model(path: Path) -> StoredModel:
    """Read a checkpoint's record; the weights are counted, not loaded."""
    with safe_open(path, framework="np") as stored:
        metadata = stored.metadata() or {}
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys()]  # noqa: SIM118
    weights = 0
    for shape in shapes:
        size = 1
        for side in shape:
            size *= side
        weights += size
    return StoredModel(
        path, metadata["task"], json.loads(metadata["record"]), sha256_of_file(path), weights
    )


def sizes(models: list[StoredModel]) -> Iterator[tuple[object, ...]]:
    """Rows of size and training of every checkpoint."""
    for model in models:
        seconds = model.record.get("seconds")
        yield (
            model.path.stem,
            f"{model.weights:,}",
            f"{model.path.stat().st_size / 1e6:.2f}",
            model.record.get("steps"),
            None if seconds is None else f"{seconds / 60:.0f}",
        )


def parities(bundle: Bundle) -> Iterator[tuple[object, ...]]:
    """Rows of every figure an artefact was compared by with PyTorch."""
    for entry in bundle.manifest.models:
        for artefact in entry.artefacts:
            for name, before, after in compared(artefact):
                yield (
                    entry.name,
                    artefact.format,
                    artefact.precision,
                    f"{artefact.bytes / 1e6:.2f}",
                    name,
                    f"{before:.4f}",
                    f"{after:.4f}",
                    f"{after - before:+.4f}",
                )


def compared(artefact: Artefact) -> Iterator[tuple[str, float, float]]:
    """Metric, PyTorch's value and the artefact's, of each pair that its parity holds."""
    for name, after in artefact.parity.items():
        before = artefact.parity.get(name + PYTORCH_SUFFIX)
        if before is not None:
            yield name, before, after


def not_of_checkpoint(bundle: Bundle, models: list[StoredModel]) -> list[str]:
    """Models of the bundle whose checkpoint is none of those here."""
    digests = {model.sha256 for model in models}
    return [e.name for e in bundle.manifest.models if e.checkpoint_sha256 not in digests]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS)
    parser.add_argument("--bundle", type=Path, help="bundle folder [default: the shipped one]")
    given = parser.parse_args()
    main(given.checkpoints, load_bundle(given.bundle))
