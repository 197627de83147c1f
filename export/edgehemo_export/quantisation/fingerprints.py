"""What decides an artefact: where none of it changed, the earlier one is taken over."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgehemo.bundle.manifest import Precision
from edgehemo.version import __version__
from edgehemo_export.checkpoints import Checkpoint, add_weights
from edgehemo_export.quantisation.formats import PRECISIONS, ExportFormat, tool_versions
from edgehemo_export.quantisation.int8_recipes import RECIPE_VERSION
from edgehemo_export.quantisation.options import ExportOptions

# What `edgehemo evaluate --save` adds to a checkpoint's record, and what is told of attempts: no
# artefact depends on it.
EVALUATION_KEYS = frozenset(("metrics", "tables", "pictures", "measured", "tried"))


def content_digest(checkpoint: Checkpoint, *heads: Checkpoint) -> str:
    """SHA-256 of what decides a checkpoint's artefacts: weights and record, evaluation aside; and
    those of the heads that its graph answers for.
    """
    if heads:
        each = [content_digest(one) for one in (checkpoint, *heads)]
        return hashlib.sha256(" ".join(each).encode()).hexdigest()
    record = {key: value for key, value in checkpoint.record.items() if key not in EVALUATION_KEYS}
    digest = hashlib.sha256(json.dumps([checkpoint.task, record], sort_keys=True).encode())
    add_weights(digest, checkpoint.weights)
    return digest.hexdigest()


def data_fingerprint(options: ExportOptions) -> str:
    """Digest of what the data folders hold, by name, size and time: content is read later."""
    digest = hashlib.sha256()
    for root in (options.calibration, options.evaluation_root):
        if root is None:
            continue
        for path in [root] if root.is_file() else _files_below(root):
            stat = path.stat()
            digest.update(f"{path.name}/{stat.st_size}/{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files_below(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names))


def artefact_fingerprint(
    content: str,
    data: str,
    item: ExportFormat,
    precision: Precision,
    float_layers: Sequence[str],
) -> str:
    """Digest of all that decides one artefact.

    content: see `content_digest`. data: see `data_fingerprint`. float_layers: modules that int8
    keeps in float from the first try on.
    """
    what = {
        "checkpoint": content,
        "format": item.name,
        "precision": precision,
        "recipe_version": RECIPE_VERSION,
        "float_layers": list(float_layers),
        "calibrators": list(item.calibrators) if PRECISIONS[precision].calibrated else [],
        "data": data,
        "versions": tool_versions(item),
        "software": __version__,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
