"""The light of a live picture as a page shows it before the first new one comes."""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.kiosk.messages import Levels
from edgehemo.words.language import Words

# Of the drawing of the histogram, user units; look.js draws the same.
_HEIGHT = 40.0


@dataclass(frozen=True, slots=True)
class LevelsView:
    """rgb, clipped, black: in words. bars: top and height of each bar. wrong: whether the light is
    not as a screening wants it: something is clipped, or the bright part is dark.
    """

    rgb: str
    clipped: str
    black: str
    bars: tuple[tuple[float, float], ...]


def levels_view(levels: Levels | None, words: Words) -> LevelsView:
    """Dots where no picture was seen yet."""
    if levels is None:
        return LevelsView("…", "…", "…", ((_HEIGHT, 0.0),) * 32)
    tallest = max(*levels.histogram, 0.001)
    heights = [0.0 if not each else max(1.0, _HEIGHT * each / tallest) for each in levels.histogram]
    return LevelsView(
        " · ".join(f"{value:.0f}" for value in levels.bright_rgb),
        f"{words.number(levels.clipped * 100, 1)} %",
        f"{words.number(levels.black * 100, 1)} %",
        tuple((_HEIGHT - height, height) for height in heights),
    )
