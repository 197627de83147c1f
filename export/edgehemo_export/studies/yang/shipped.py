"""What the shipped field estimator sees of a field: a comparator, and a start of training."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.field.canonical import CanonicalField
from edgehemo.measurands import MEASURANDS
from edgehemo_export.checkpoints import SHIPPED_CHECKPOINTS, Checkpoint, load_checkpoint
from edgehemo_export.models.field_estimator.checkpoint import TASK, estimator_net
from edgehemo_export.nets.resnet_fields import FEATURES, FieldEstimatorNet, scaled_codes
from edgehemo_export.studies.yang.patients import clear_codes
from edgehemo_export.training.arithmetic import mixed_precision

# What `shipped_features` gives of a field: pooled features, then the estimator's own outputs.
SHIPPED_WIDTH = FEATURES + len(MEASURANDS)


@cache
def shipped_estimator() -> Checkpoint | None:
    """The checkpoint that the shipped bundle was exported from; None in an installed package."""
    path = SHIPPED_CHECKPOINTS / f"{TASK}.safetensors"
    return load_checkpoint(path) if path.is_file() else None


@cache
def _net() -> FieldEstimatorNet | None:
    checkpoint = shipped_estimator()
    return None if checkpoint is None else estimator_net(checkpoint)


def shipped_features(field: CanonicalField) -> NDArray[np.float32]:
    """Pooled features and nominal outputs of a whole field, float32 (SHIPPED_WIDTH,); empty
    without the checkpoint.
    """
    net = _net()
    if net is None:
        return np.zeros(0, np.float32)
    light = scaled_codes(torch.from_numpy(clear_codes(field)[None]))
    with torch.inference_mode(), mixed_precision(light.device):
        features = net.features(light.contiguous(memory_format=torch.channels_last)).float()
    with torch.inference_mode():
        outputs = net.backbone.fc(features)[:, : len(MEASURANDS)] * net.scale
    return np.asarray(torch.cat([features, outputs], dim=1)[0].numpy(), np.float32)
