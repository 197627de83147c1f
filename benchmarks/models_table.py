"""Every shipped model's stored metrics by source with intervals, and what quantising cost each.

``python benchmarks/models_table.py [--checkpoints DIR] [--bundle DIR] [--before DIR]`` prints
Markdown. It reads the records inside the checkpoints and the bundle's manifest, and runs no model:
the figures are those that `edgehemo evaluate --save` and `edgehemo export` measured. With
``--before``, a folder of earlier checkpoints, it begins with what all models do on sources that
were left out of training whole, before and after.
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
# How a record names sources of which training saw nothing.
NEVER_SEEN = ("left out", "never trained")


@dataclass(frozen=True)
class StoredModel:
    """A checkpoint's record, its digest and size; weights: how many numbers it stores."""

    path: Path
    task: str
    record: dict[str, Any]
    sha256: str
    weights: int


def main(checkpoints: Path, bundle: Bundle, before: Path | None) -> None:
    """Print the tables."""
    models = [stored_model(path) for path in sorted(checkpoints.glob("*.safetensors"))]
    lines: list[str] = []
    if before is not None:
        earlier = {path.stem: stored_model(path) for path in sorted(before.glob("*.safetensors"))}
        columns = ("model", "source", "metric", "before", "after")
        lines += section("Sources left out", table(columns, left_out(models, earlier)))
    lines += section(
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


def left_out(
    models: list[StoredModel], earlier: dict[str, StoredModel]
) -> Iterator[tuple[object, ...]]:
    """Rows of every metric on a source left out of training, with what it was before."""
    for model in models:
        was = earlier.get(model.path.stem)
        known = {} if was is None else _left_out_metrics(was)
        now = _left_out_metrics(model)
        for source, metric in [*now, *(key for key in known if key not in now)]:
            row = (known.get((source, metric)), now.get((source, metric)))
            yield (model.path.stem, source, metric, *map(_with_interval, row))


def _left_out_metrics(model: StoredModel) -> dict[tuple[str, str], dict[str, Any]]:
    """By source and name the metrics on sources that training never saw; not under other lights."""
    return {
        (metric["source"], metric["name"]): metric
        for metric in model.record.get("metrics", [])
        if any(words in metric["source"] for words in NEVER_SEEN) and ": " not in metric["name"]
    }


def _with_interval(metric: dict[str, Any] | None) -> str:
    if metric is None:
        return "-"
    value, low, high = metric["value"], metric.get("low"), metric.get("high")
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


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
    parser.add_argument("--before", type=Path, help="folder of earlier checkpoints")
    given = parser.parse_args()
    main(given.checkpoints, load_bundle(given.bundle), given.before)
