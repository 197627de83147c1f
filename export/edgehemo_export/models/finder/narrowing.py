"""A narrower head for a trained finder: the channels that matter most are kept to start from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# The head's layers in the order of the signal: (made by, read by), see `CellFinderNet`.
_JOINED = (("lateral4", "lateral8"), "merge4.0.weight")
_MERGED = (("merge4",), "head.0.weight")
_HEAD = (("head",), "output.weight")


def narrowed_head(weights: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    """The weights of a finder whose head keeps its ``width`` strongest channels.

    weights: of a `CellFinderNet`. A channel is as strong as the absolute sum of the weights that
    read it, times the spread its batch norms give it (filter pruning by the L1 norm, after Li et
    al. 2017, "Pruning filters for efficient ConvNets"). The narrow head reads worse until it is
    trained on. Unchanged where the head is not wider than that.
    """
    kept = dict(weights)
    if len(kept["head.0.weight"]) <= width:
        return kept
    for makers, reader in (_JOINED, _MERGED, _HEAD):
        spread = torch.stack([kept[f"{maker}.1.weight"].abs() for maker in makers]).sum(dim=0)
        strength = kept[reader].abs().sum(dim=(0, 2, 3)) * spread
        chosen = strength.argsort(descending=True, stable=True)[:width].sort().values
        for name in list(kept):
            maker, _, _ = name.partition(".")
            if maker in makers and kept[name].ndim > 0:
                kept[name] = kept[name][chosen]
        kept[reader] = kept[reader][:, chosen]
    return {name: value.contiguous() for name, value in kept.items()}
