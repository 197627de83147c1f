"""Checkpoints: weights as safetensors with the configuration inside. Pickles are refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_bytes_atomically

CHECKPOINT_SCHEMA = "edgehemo.checkpoint/1"


@dataclass(frozen=True)
class Checkpoint:
    """task: a name of `edgehemo_export.models.registry`.

    record: configuration, split, metrics, data.
    """

    task: str
    weights: dict[str, Tensor]
    record: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; tensors are stored contiguous in their own precision."""
    metadata = {
        "schema": CHECKPOINT_SCHEMA,
        "task": checkpoint.task,
        "record": json.dumps(checkpoint.record, sort_keys=True),
    }
    weights = {name: tensor.detach().contiguous() for name, tensor in checkpoint.weights.items()}
    write_bytes_atomically(path, save(weights, metadata=metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of ours; anything else is one line and UsageError."""
    if not path.is_file():
        raise UsageError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        head = file.read(9)
    # safetensors begin with 8 bytes of length (which may look like anything) and a JSON object.
    if head[8:] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80"):
        raise UsageError(
            f"{path.name}: a pickled checkpoint, which can run code when opened; "
            "use the .safetensors file that `edgehemo train` wrote"
        )
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(
            f"{path.name}: not a readable safetensors checkpoint ({error}); "
            "it may be truncated: copy it again or retrain"
        ) from error
    if metadata.get("schema") != CHECKPOINT_SCHEMA:
        raise UsageError(f"{path.name}: not a checkpoint of `edgehemo train`")
    return Checkpoint(metadata["task"], weights, json.loads(metadata["record"]))
