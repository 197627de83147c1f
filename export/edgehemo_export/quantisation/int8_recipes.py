"""The order in which int8 recipes are tried: calibrators first, then layers left in float."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

# Raise when what a recipe does changes, so that artefacts of the old kind are made again.
RECIPE_VERSION = 7


# A last linear layer that holds less than this share of the weights stays in float: that costs no
# size, and a class is decided by small differences there.
SMALL_HEAD_SHARE = 0.1


@dataclass(frozen=True)
class Int8Recipe:
    """calibrator: how ranges are drawn from the samples. keep_float: names of modules."""

    calibrator: str
    keep_float: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.calibrator} calibration" + (
            f", {', '.join(self.keep_float)} in float" if self.keep_float else ""
        )


def first_recipes(calibrators: Sequence[str], float_layers: Sequence[str]) -> list[Int8Recipe]:
    """One recipe a calibrator; among these the measured difference decides."""
    return [Int8Recipe(name, tuple(float_layers)) for name in calibrators]


def float_layers_of(net: nn.Module, named: Sequence[str]) -> tuple[str, ...]:
    """The modules that stay in float from the first try on: those named and a small head."""
    linear = [(name, item) for name, item in net.named_modules() if isinstance(item, nn.Linear)]
    if not linear:
        return tuple(named)
    name, head = linear[-1]
    whole = sum(parameter.numel() for parameter in net.parameters())
    small = sum(parameter.numel() for parameter in head.parameters()) < SMALL_HEAD_SHARE * whole
    return tuple(dict.fromkeys((*named, name))) if small else tuple(named)


def further_recipes(
    net: nn.Module, calibrators: Sequence[str], float_layers: Sequence[str]
) -> Iterator[Int8Recipe]:
    """What accuracy control falls back on: more and more layers in float, the likeliest first.

    The last layers carry the answer's range and the first the picture's; then the early ones and
    whole thirds.
    """
    heavy = [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)
    ]
    third = max(1, len(heavy) // 3)
    # Of a ResNet the convolution after the pooling is what int8 may spoil, and the early layers
    # hold few weights.
    early = heavy[: max(2, len(heavy) // 4)]
    groups = [heavy[-1:], heavy[:1] + heavy[-1:], early, heavy[-third:], heavy[-2 * third :]]
    seen = {frozenset(float_layers)}
    for group in groups:
        kept = frozenset((*float_layers, *group))
        if kept in seen:
            continue
        seen.add(kept)
        for calibrator in calibrators:
            yield Int8Recipe(calibrator, tuple(sorted(kept)))
