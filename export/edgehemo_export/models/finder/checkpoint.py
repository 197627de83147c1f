"""What training stored of a cell finder: its network and its operating points."""

from __future__ import annotations

from edgehemo.bundle.manifest import KindOperatingPoint, ModelTask
from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.nets.architectures import CellFinderConfig, CellFinderNet

TASK: ModelTask = "cell_finder"


def finder_net(checkpoint: Checkpoint) -> CellFinderNet:
    """The network of a checkpoint, in evaluation mode."""
    if checkpoint.task != TASK:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of the cell finder")
    net = CellFinderNet(CellFinderConfig(**checkpoint.record["configuration"]["model"]))
    net.load_state_dict(checkpoint.weights)
    return net.eval()


def operating_points(checkpoint: Checkpoint) -> dict[str, KindOperatingPoint]:
    """The operating points that training stored."""
    stored = checkpoint.record["operating_points"]
    return {kind: KindOperatingPoint.model_validate(values) for kind, values in stored.items()}
