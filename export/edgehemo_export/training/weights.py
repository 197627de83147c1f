"""Weights that a run starts from, averages on its way, and goes part of the way back to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgehemo.errors import UsageError


def follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the running average towards the network's weights; counters are copied."""
    with torch.no_grad():
        ours, theirs = average.state_dict(), net.state_dict()
        for name, value in ours.items():
            if value.dtype.is_floating_point:
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])


def blend(net: nn.Module, initial: Mapping[str, Tensor], share: float) -> None:
    """Move a network's weights this share of the way back to those it began with, in place.

    Between the two lie networks that keep most of what each of them reads better (Wortsman et al.
    2022, "Robust fine-tuning of zero-shot models"). Raises UsageError where the two differ in
    shape.
    """
    weights = net.state_dict()
    floats = {name: value for name, value in weights.items() if value.is_floating_point()}
    if any(name not in initial or initial[name].shape != v.shape for name, v in floats.items()):
        raise UsageError("initial_share wants first weights of the configured model's own shape")
    with torch.no_grad():
        for name, value in floats.items():
            value.lerp_(initial[name].to(value), share)


def start_from(net: nn.Module, weights: Mapping[str, Tensor], *, strict: bool) -> list[str]:
    """Load weights to start from; returns the names that started fresh instead."""
    own = net.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    fresh = sorted(set(own) - set(fitting))
    if strict and (fresh or len(fitting) != len(weights)):
        raise UsageError("the weights to start from are of another shape than the configured model")
    if not fitting:
        raise UsageError("the weights to start from share no layer with the configured model")
    net.load_state_dict({**own, **fitting})
    return fresh
