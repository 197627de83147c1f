"""Automatic capture from a live picture: sharp, still, and of a place not seen yet.

The operator turns the focus and moves the slide; each live frame goes in, and what comes out is
how sharp it looks, what to do next, and whether this frame is to be taken. No I/O here: where
frames come from and who is told is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.overlap import Place, displacement, place_of, same_place
from edgehemo.guidance.codes import Advice

# Longest side of the picture that the focus bar is read from. On real fields of six sets the bar
# fell at every step of blur to 3 um at this size; at 480 px noise took over on two of them.
BAR_SIDE_PX = 320
# A pass through focus has risen from, and fallen again to, this share of its best bar. Measured on
# real fields: a circle of confusion of 0.5 to 0.75 um radius leaves 0.75.
PASS_LOW_SHARE = 0.75
# The bar is at its best again from this share on: noise and the hand make it waver.
PASS_NEAR_SHARE = 0.90
# A slide that moved by no more than this between two frames (px of `overlap.COMPARED_SIDE_PX`,
# so half a hundredth of the frame) lies still, ...
STILL_PX = 0.5
# ... and has come to rest after so many such frames: a turning point of the hand is still for one.
STILL_FRAMES = 2


@dataclass(frozen=True, slots=True)
class View:
    """One live frame as the operator sees it.

    bar: 0 to 1, sharpness against the best seen. advice: what to do next. take: this frame is a
    new field.
    """

    bar: float
    advice: Advice
    take: bool = False


class Sharpness(Protocol):
    """How sharp a frame is. value: per um, None where there is nothing to judge it by. lowest: the
    least that is accepted. um_per_px: the scale that both were measured at.
    """

    @property
    def value(self) -> float | None: ...

    @property
    def lowest(self) -> float: ...

    @property
    def um_per_px(self) -> float: ...


# Judges a frame, uint8 RGB, beside the best value seen on this slide, per pixel of the frame; None
# before any.
Judge = Callable[[NDArray[np.uint8], float | None], Sharpness]


@dataclass(frozen=True, slots=True)
class BarSharpness:
    """A frame's bar as its sharpness, see `judged_by_bar`."""

    value: float | None
    lowest: float
    um_per_px: float = 1.0


# A bar below this share of the slide's best is out of focus.
BAR_SHARE_OF_BEST = 0.60


def judged_by_bar(pixels: NDArray[np.uint8], sharpest: float | None = None) -> BarSharpness:
    """Judge a frame by its focus bar alone, where nobody who knows the cells judges it."""
    return BarSharpness(focus_bar(pixels), BAR_SHARE_OF_BEST * (sharpest or 0.0))


def focus_bar(pixels: NDArray[np.uint8]) -> float:
    """How sharp a frame (uint8 RGB) looks, in arbitrary units; cheap enough for every frame.

    Brenner's squared difference over two pixels, in both directions, over the variance, of the
    green channel on a small picture in float: light cancels, and so does most of how many cells
    there are. 0 for a picture without any contrast.
    """
    height, width = pixels.shape[:2]
    factor = min(1.0, BAR_SIDE_PX / max(height, width))
    size = (max(3, round(width * factor)), max(3, round(height * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    green = cv2.extractChannel(small, 1).astype(np.float32)
    variance = float(green.var())
    if variance <= 0:
        return 0.0
    across = cv2.subtract(green[:, 2:], green[:, :-2])
    down = cv2.subtract(green[2:], green[:-2])
    energy = cv2.norm(across, cv2.NORM_L2SQR) / across.size
    energy += cv2.norm(down, cv2.NORM_L2SQR) / down.size
    return float(energy / variance)


@dataclass(slots=True)
class FocusPass:
    """Follows the bar through focus: it must rise to its best and fall again.

    best: the highest bar so far; sharpest: the frame's pixels it was read from. done: the pass is
    complete, in either direction and however it started.
    """

    best: float = 0.0
    sharpest: NDArray[np.uint8] | None = None
    done: bool = False
    _lowest: float = float("inf")
    _at_peak: bool = False

    def follow(self, bar: float, pixels: NDArray[np.uint8]) -> None:
        """Take the next frame's bar into account; nothing changes once it is done."""
        if self.done:
            return
        if bar > self.best:
            self.best, self.sharpest = bar, pixels
        self._lowest = min(self._lowest, bar)
        if self._at_peak:
            self.done = bar <= PASS_LOW_SHARE * self.best
        else:
            risen = self._lowest <= PASS_LOW_SHARE * self.best
            self._at_peak = risen and bar >= PASS_NEAR_SHARE * self.best


@dataclass(slots=True)
class AutoCapture:
    """Decides frame by frame; `consider` is called with each.

    judge: a frame's focus as quality measures it; asked only of frames that are still and new.
    judge_every: of such frames at one place, one in so many is judged; the others say again what
    the last judged one did, and are not taken. focus_pass: first ask for a pass through focus.
    sharpest: per pixel of the frame, the best seen on this slide, which the judge is told: a frame
    clearly below it is not taken. In pixels it stays what it is when the slide's scale becomes
    better known.
    """

    judge: Judge
    focus_pass: bool = False
    sharpest: float | None = None
    judge_every: int = 1
    _pass: FocusPass = field(default_factory=FocusPass)
    _places: list[Place] = field(default_factory=list)
    _previous: Place | None = None
    _still: int = 0
    _best_bar: float = 0.0
    _judged: Advice | None = None
    _unjudged: int = 0

    @property
    def taken(self) -> int:
        """How many fields were taken."""
        return len(self._places)

    @property
    def focusing(self) -> bool:
        """Whether the pass through focus is still asked for."""
        return self.focus_pass and not self._pass.done

    def consider(self, pixels: NDArray[np.uint8]) -> View:
        """Judge one live frame, uint8 RGB."""
        place = place_of(pixels)
        still = self._at_rest(place)
        measured = focus_bar(pixels)
        if not self.focusing:
            self._best_bar = max(self._best_bar, measured)
            return self._view(measured, self._advice(place, pixels, still))
        # A moving slide smears the picture: that is no fall of focus.
        if still > 0:
            self._pass.follow(measured, pixels)
        self._best_bar = max(self._best_bar, self._pass.best)
        if self._pass.done and self._pass.sharpest is not None:
            self._remember(self.judge(self._pass.sharpest, None))
            self._pass.sharpest = None
            return self._view(measured, "REFOCUS")
        return self._view(measured, "TURN_FOCUS")

    def _advice(self, place: Place, pixels: NDArray[np.uint8], still: int) -> Advice:
        if still < STILL_FRAMES:
            self._judged = None
            return "HOLD_STILL"
        if any(same_place(place, known) for known in self._places):
            return "MOVE_ON"
        self._unjudged += 1
        if self._judged is not None and self._unjudged < self.judge_every:
            return self._judged
        self._unjudged = 0
        sharpness = self.judge(pixels, self.sharpest)
        if sharpness.value is None or sharpness.value < sharpness.lowest:
            self._judged = "FIND_CELLS" if sharpness.value is None else "REFOCUS"
            return self._judged
        self._judged = None
        self._remember(sharpness)
        self._places.append(place)
        return "FIELD_TAKEN"

    def _view(self, measured: float, advice: Advice) -> View:
        bar = measured / self._best_bar if self._best_bar > 0 else 0.0
        return View(min(1.0, bar), advice, advice == "FIELD_TAKEN")

    def _at_rest(self, place: Place) -> int:
        """For how many frames the slide has not moved."""
        previous, self._previous = self._previous, place
        moved = None if previous is None else displacement(previous, place)
        self._still = self._still + 1 if moved is not None and moved <= STILL_PX else 0
        return self._still

    def _remember(self, found: Sharpness) -> None:
        if found.value is not None:
            self.sharpest = max(found.value * found.um_per_px, self.sharpest or 0.0)
