"""Checkpoints: weights as safetensors with the configuration inside. Pickles are refused.

A model may be a head on another one's features. Its checkpoint then holds the head alone, and names
the file that holds the trunk, with the digest of its weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, uint8

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_bytes_atomically

CHECKPOINT_SCHEMA = "edgehemo.checkpoint/1"
# Those behind the shipped bundle, beside the package in the source.
SHIPPED_CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
# What the names of a trunk's weights begin with in the model that stands on it.
TRUNK_PREFIX = "trunk."


@dataclass(frozen=True)
class Trunk:
    """The checkpoint on whose features a model stands: its file, and the digest of its weights."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """task: a name of `edgehemo_export.models.registry`.

    weights: of the whole model, its trunk's among them (`TRUNK_PREFIX`). record: configuration,
    split, metrics, data. trunk: see `Trunk`, None for a model that stands alone. path: the file it
    was read from.
    """

    task: str
    weights: dict[str, Tensor]
    record: dict[str, Any]
    trunk: Trunk | None = None
    path: Path | None = field(default=None, compare=False)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights: their names, types, shapes and values."""
    digest = hashlib.sha256()
    add_weights(digest, weights)
    return digest.hexdigest()


def add_weights(digest: hashlib._Hash, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a digest: names, types, shapes and values."""
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(uint8).numpy().tobytes())


def as_trunk(checkpoint: Checkpoint) -> tuple[Trunk, dict[str, Tensor]]:
    """A checkpoint that was read from a file as the trunk of another model, and its weights as that
    one names them.
    """
    if checkpoint.path is None:
        raise ValueError("a trunk is a checkpoint that was read from a file")
    weights = {f"{TRUNK_PREFIX}{name}": value for name, value in checkpoint.weights.items()}
    return Trunk(checkpoint.path, weights_digest(checkpoint.weights)), weights


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; tensors are stored contiguous in their own precision, a trunk's not at
    all: the file names that of the trunk, as seen from its own folder.
    """
    metadata = {
        "schema": CHECKPOINT_SCHEMA,
        "task": checkpoint.task,
        "record": json.dumps(checkpoint.record, sort_keys=True),
    }
    weights = {name: tensor.detach().contiguous() for name, tensor in checkpoint.weights.items()}
    if (trunk := checkpoint.trunk) is not None:
        file = Path(os.path.relpath(trunk.path.resolve(), path.resolve().parent)).as_posix()
        metadata["trunk"] = json.dumps({"file": file, "sha256": trunk.sha256})
        weights = {k: v for k, v in weights.items() if not k.startswith(TRUNK_PREFIX)}
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
    trunk = None
    if "trunk" in metadata:
        trunk, of_trunk = _read_trunk(path, json.loads(metadata["trunk"]))
        weights |= of_trunk
    return Checkpoint(metadata["task"], weights, json.loads(metadata["record"]), trunk, path)


def _read_trunk(path: Path, named: Mapping[str, str]) -> tuple[Trunk, dict[str, Tensor]]:
    """The trunk that a checkpoint's metadata names, and its weights as that model names them."""
    file = path.parent / named["file"]
    if not file.is_file():
        raise UsageError(
            f"{path.name}: stands on {named['file']}, which is not there; put that checkpoint into "
            f"{file.parent}"
        )
    trunk, weights = as_trunk(load_checkpoint(file))
    if trunk.sha256 != named["sha256"]:
        raise UsageError(
            f"{path.name}: stands on other weights than those in {file.name}; train it again from "
            "these, or put back those it was trained on"
        )
    return trunk, weights
