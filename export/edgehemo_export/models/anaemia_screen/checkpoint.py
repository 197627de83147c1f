"""What training stored of an anaemia screen: its network and how it is read."""

from __future__ import annotations

from edgehemo.bundle.manifest import ModelTask
from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet

TASK: ModelTask = "anaemia_screen"


def screen_net(checkpoint: Checkpoint) -> AnaemiaScreenNet:
    """The network of a checkpoint, float32, in evaluation mode."""
    if checkpoint.task != TASK:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of the anaemia screen")
    net = AnaemiaScreenNet()
    net.load_state_dict(checkpoint.weights)
    return net.eval()
