"""What training stored of a field estimator: its network."""

from __future__ import annotations

from edgehemo.bundle.manifest import ModelTask
from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.nets.resnet_fields import FieldEstimatorNet

TASK: ModelTask = "field_estimator"


def estimator_net(checkpoint: Checkpoint) -> FieldEstimatorNet:
    """The network of a checkpoint, float32, in evaluation mode."""
    if checkpoint.task != TASK:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of the field estimator")
    net = FieldEstimatorNet()
    net.load_state_dict(checkpoint.weights)
    return net.eval()
