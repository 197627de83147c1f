"""Automatic capture on a simulated slide that a hand moves and focuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.capture import FOCUS_PASS_WAIT_S, NEXT_FIELD_WAIT_S, LiveCapture, distinct_frames
from edgehemo.capture.autocapture import (
    STILL_FRAMES,
    AutoCapture,
    FocusPass,
    Judge,
    View,
    focus_bar,
)
from edgehemo.capture.guard import GuardedCamera
from edgehemo.capture.overlap import correlation, displacement, place_of
from edgehemo.capture.protocol import CameraSettings, OpenedByContext
from edgehemo.errors import CaptureError
from edgehemo.field.scale import ScaleEstimate
from edgehemo.guidance.catalogue import guidance
from edgehemo.guidance.codes import Advice
from edgehemo.images.frame import Frame
from edgehemo.quality.focus import Sharpness, frame_sharpness
from edgehemo.simulation.field import Specimen, draw_specimen, photograph
from edgehemo.simulation.panels import CBCPanel
from edgehemo.simulation.parameters import (
    OpticsParameters,
    SensorParameters,
    SimulationParameters,
    SmearParameters,
    StainParameters,
)
from tests.support.smears import set_files

UM_PER_PX = 0.2
WIDTH, HEIGHT = 480, 360
# Places on the slide a field's width apart, px.
HERE, THERE, BEYOND = (0, 0), (500, 0), (1000, 0)
EMPTY = (1500, 0)
PANEL = CBCPanel(125.0, 0.38, 4.3, 6.5, 250.0)
# Where the focus drive stands, um: a pass through focus, down and up again.
PASS_UM = (-2.4, -1.6, -0.8, 0.0, 0.8, 1.6, 2.4)
View3 = tuple[tuple[int, int], float]


def parameters(z_um: float) -> SimulationParameters:
    return SimulationParameters(
        SmearParameters(),
        StainParameters(),
        OpticsParameters(vignette=0.0, tilt_x=0.0, tilt_y=0.0, defocus_um=z_um),
        SensorParameters(),
    )


@lru_cache(maxsize=1)
def specimen() -> Specimen:
    return draw_specimen(
        PANEL,
        rng=np.random.default_rng(3),
        width_px=1500,
        height_px=HEIGHT + 60,
        um_per_px=UM_PER_PX,
        parameters=parameters(0.0),
        margin_px=48,
    )


@lru_cache(maxsize=16)
def slide(z_um: float) -> NDArray[np.uint8]:
    """The whole slide at one height of the focus drive, and clear ground beyond its end."""
    rng = np.random.default_rng(4)
    seen = photograph(specimen(), parameters=parameters(z_um), rng=rng).frame.pixels
    clear = np.full((seen.shape[0], WIDTH, 3), np.quantile(seen, 0.9, axis=(0, 1)))
    return np.hstack([seen, clear.astype(np.uint8)])


def seen_at(place: tuple[int, int], z_um: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    x, y = place
    part = slide(z_um)[y : y + HEIGHT, x : x + WIDTH].astype(np.float32)
    return np.clip(part + rng.normal(0, 1.0, part.shape), 0, 255).astype(np.uint8)


def resting(place: tuple[int, int], z_um: float = 0.0, frames: int = 4) -> list[View3]:
    return [(place, z_um)] * frames


def capture(*, focus_pass: bool = False) -> AutoCapture:
    return AutoCapture(partial(frame_sharpness, um_per_px=UM_PER_PX), focus_pass=focus_pass)


def views(state: AutoCapture, script: Iterable[View3]) -> list[View]:
    rng = np.random.default_rng(5)
    return [state.consider(seen_at(place, z_um, rng)) for place, z_um in script]


def advices(state: AutoCapture, script: Iterable[View3]) -> list[str]:
    return [view.advice for view in views(state, script)]


def test_a_sharp_still_new_field_is_taken_once() -> None:
    state = capture()
    told = advices(state, resting(HERE, frames=6))
    assert told == ["HOLD_STILL"] * STILL_FRAMES + ["FIELD_TAKEN"] + ["MOVE_ON"] * 3
    assert state.taken == 1


def test_each_place_is_taken_once_however_the_slide_wanders() -> None:
    state = capture()
    shaken = (HERE[0] + 30, HERE[1] + 20)
    script = [*resting(HERE), *resting(THERE), *resting(shaken), *resting(BEYOND), *resting(THERE)]
    taken = [
        place for (place, _), view in zip(script, views(state, script), strict=True) if view.take
    ]
    assert taken == [HERE, THERE, BEYOND]


def test_a_moving_slide_is_not_taken() -> None:
    state = capture()
    moving: list[View3] = [((x, 0), 0.0) for x in range(0, 400, 25)]
    assert set(advices(state, moving)) == {"HOLD_STILL"}
    assert advices(state, resting((400, 0)))[-2] == "FIELD_TAKEN"


def test_a_place_without_cells_is_not_taken() -> None:
    state = capture()
    state.consider(seen_at(HERE, 0.0, np.random.default_rng(1)))
    assert "FIELD_TAKEN" not in advices(state, resting(EMPTY, frames=6))
    assert state.taken == 0


def test_a_field_clearly_below_the_best_seen_is_refused() -> None:
    state = capture(focus_pass=True)
    through: list[View3] = [(HERE, z) for z in PASS_UM for _ in range(2)]
    told = advices(state, [*resting(HERE, PASS_UM[0], 2), *through])
    assert not state.focusing
    assert "FIELD_TAKEN" not in told
    assert state.sharpest is not None
    # Accepted by its own limit where nothing better is known, not where the best is.
    nearly = 0.8
    own = frame_sharpness(seen_at(THERE, nearly, np.random.default_rng(2)), um_per_px=UM_PER_PX)
    assert own.value is not None and own.value * UM_PER_PX < 0.6 * state.sharpest
    assert advices(state, resting(THERE, nearly))[-1] == "REFOCUS"
    assert "FIELD_TAKEN" in advices(state, resting(THERE, 0.0))


def test_the_live_judge_goes_by_the_scale_of_the_slide_and_by_pixels() -> None:
    """Whatever scale a frame is judged at, it is held against the best in the frame's pixels."""
    sharp = seen_at(HERE, 0.0, np.random.default_rng(3))
    nearly = seen_at(THERE, 0.8, np.random.default_rng(4))
    asked: list[tuple[int, int]] = []
    scales = {"slide": UM_PER_PX}

    def slide(width: int, height: int) -> ScaleEstimate:
        asked.append((width, height))
        return ScaleEstimate(scales["slide"], 200, 0.1)

    best = frame_sharpness(sharp, slide=slide)
    assert asked == [(sharp.shape[1], sharp.shape[0])]
    assert best.um_per_px == UM_PER_PX
    own = frame_sharpness(sharp, um_per_px=UM_PER_PX)
    assert best.value == pytest.approx(own.value)
    assert best.value is not None
    # The slide's scale became known better: the frame is still below the best of the slide.
    for scale in (UM_PER_PX, UM_PER_PX / 1.3):
        scales["slide"] = scale
        judged = frame_sharpness(nearly, best.value * best.um_per_px, slide=slide)
        assert judged.value is not None and judged.um_per_px == scale
        assert judged.value < judged.lowest


def test_of_the_frames_at_rest_one_in_so_many_is_judged() -> None:
    """The others say the same again; a new place is judged at once."""
    judged: list[float | None] = []

    def judge(pixels: NDArray[np.uint8], sharpest: float | None = None) -> Sharpness:
        judged.append(frame_sharpness(pixels, sharpest, um_per_px=UM_PER_PX).value)
        return frame_sharpness(pixels, sharpest, um_per_px=UM_PER_PX)

    state = AutoCapture(judge, judge_every=3)
    blurred = advices(state, resting(HERE, 2.4, STILL_FRAMES + 7))
    assert blurred[STILL_FRAMES:] == ["REFOCUS"] * 7
    assert len(judged) == 3
    sharp = advices(state, resting(HERE, 0.0, 3))
    assert sharp.count("FIELD_TAKEN") == 1
    judged.clear()
    assert "FIELD_TAKEN" in advices(state, resting(THERE, 0.0, STILL_FRAMES + 1))
    assert len(judged) == 1


def test_nothing_is_taken_before_the_pass_through_focus() -> None:
    state = capture(focus_pass=True)
    assert set(advices(state, resting(HERE, 0.0, 8))) == {"TURN_FOCUS"}
    assert state.focusing and state.taken == 0


@pytest.mark.parametrize("start", [0, 3, 6], ids=["below", "in focus", "above"])
def test_the_pass_may_start_anywhere(start: int) -> None:
    order = [*PASS_UM[start:], *reversed(PASS_UM), *PASS_UM]
    state = capture(focus_pass=True)
    views(state, [(HERE, z) for z in order for _ in range(2)])
    assert not state.focusing
    best = frame_sharpness(seen_at(HERE, 0.0, np.random.default_rng(6)), um_per_px=UM_PER_PX).value
    assert best is not None and state.sharpest == pytest.approx(best * UM_PER_PX, rel=0.1)


def test_half_a_pass_is_not_enough() -> None:
    follow = FocusPass()
    blank = np.zeros((4, 4, 3), np.uint8)
    for bar in (0.2, 0.5, 0.9, 1.0, 0.95):  # risen, not fallen
        follow.follow(bar, blank)
    assert not follow.done
    follow.follow(0.6, blank)
    assert follow.done and follow.best == 1.0


@pytest.mark.parametrize("place", [HERE, THERE, BEYOND])
def test_the_bar_falls_with_defocus_and_not_with_the_light(place: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    bars = [focus_bar(seen_at(place, z, rng)) for z in (0.0, 0.8, 1.6, 2.4)]
    assert bars == sorted(bars, reverse=True) and bars[-1] < 0.5 * bars[0]
    half = (seen_at(place, 0.0, rng) * 0.5).astype(np.uint8)
    assert focus_bar(half) == pytest.approx(bars[0], rel=0.1)
    assert focus_bar(np.full((90, 120, 3), 255, np.uint8)) == 0.0


def test_the_bar_falls_with_blur_on_real_fields(data_root: Path) -> None:
    """Three real fields of each of three microscopes, blurred by growing discs, with noise."""
    rng = np.random.default_rng(8)
    for name in ("bccd", "chula_rbc12", "uganda_phone"):
        files = set_files(data_root, name)
        for path in (files[0], files[len(files) // 2], files[-1]):
            pixels = cv2.imread(str(path))
            assert pixels is not None
            bars = []
            for radius in (0, 3, 6, 12):
                kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
                blurred = cv2.filter2D(pixels, -1, kernel / kernel.sum(dtype=float))
                noisy = blurred + rng.normal(0, 1.5, blurred.shape)
                bars.append(focus_bar(np.clip(noisy, 0, 255).astype(np.uint8)))
            assert bars == sorted(bars, reverse=True), (path.name, bars)


@pytest.mark.parametrize("shift", [(0, 0), (20, 0), (0, -10), (-40, 15)])
def test_a_shift_is_measured(shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(9)
    x, y = shift
    one, other = seen_at((500, 20), 0.0, rng), seen_at((500 + x, 20 + y), 0.0, rng)
    moved = displacement(place_of(one), place_of(other))
    assert moved is not None
    px_per_px = max(WIDTH, HEIGHT) / 96
    assert moved * px_per_px == pytest.approx(np.hypot(x, y), abs=px_per_px)


def test_a_jump_to_another_place_cannot_be_measured() -> None:
    rng = np.random.default_rng(10)
    assert displacement(place_of(seen_at(HERE, 0, rng)), place_of(seen_at(THERE, 0, rng))) is None


def test_places_compared_again_and_again_correlate_as_the_first_time() -> None:
    rng = np.random.default_rng(11)
    one, *others = (place_of(seen_at((500 + 30 * k, 20), 0.0, rng)) for k in range(30))
    first = [correlation(one, other) for other in others]
    assert [correlation(one, other) for other in others] == first
    assert [correlation(one, replace(other)) for other in others] == first
    assert correlation(others[0], one) == pytest.approx(first[0])


def test_every_advice_is_one_sentence() -> None:
    for code in get_args(Advice):
        text = guidance(code).action
        assert text.endswith(".") and text.count(".") == 1


class HandMoved(OpenedByContext):
    """A camera over the slide, moved and focused by a script; a frame a second."""

    def __init__(self, script: Iterator[View3]) -> None:
        self.script = script
        self.now_s = 0.0
        self._rng = np.random.default_rng(11)

    @property
    def name(self) -> str:
        return "hand-moved"

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def apply(self, settings: CameraSettings) -> CameraSettings:
        return settings

    def frame(self, deadline_s: float) -> Frame:
        self.now_s += 1.0
        return Frame(seen_at(*next(self.script), self._rng), self.name)


def taken_from(
    script: Iterable[View3],
    count: int,
    *,
    focus_pass: bool = False,
    on_view: Callable[[View, Frame], None] | None = None,
) -> tuple[HandMoved, Iterator[Frame]]:
    camera = HandMoved(iter(script))
    judge: Judge = partial(frame_sharpness, um_per_px=UM_PER_PX)
    live = LiveCapture(judge, focus_pass=focus_pass, on_view=on_view)
    guard = GuardedCamera(camera)
    guard.open()
    return camera, distinct_frames(guard, count, live=live, clock=lambda: camera.now_s)


def test_a_whole_sample_by_hand() -> None:
    """Through focus, back to it, and from field to field, with a look at an old place between."""
    script: list[View3] = [
        *[(HERE, z) for z in PASS_UM for _ in range(2)],
        *[(HERE, z) for z in reversed(PASS_UM[3:])],
        *resting(HERE),
        *[((x, 0), 0.0) for x in range(50, 500, 50)],
        *resting(THERE),
        *resting(HERE),
        *resting(BEYOND, 1.6),
        *resting(BEYOND),
    ]
    seen: list[View] = []
    _, frames = taken_from(script, 3, focus_pass=True, on_view=lambda view, _: seen.append(view))
    assert len(list(frames)) == 3
    assert [view.take for view in seen].count(True) == 3
    assert {view.advice for view in seen} == set(get_args(Advice)) - {"FIND_CELLS"}
    assert all(0 <= view.bar <= 1 for view in seen)


def test_waiting_for_a_field_ends_with_what_to_do() -> None:
    def nobody_moves() -> Iterator[View3]:
        while True:
            yield HERE, 0.0

    camera, frames = taken_from(nobody_moves(), 2)
    next(frames)
    taken_s = camera.now_s
    with pytest.raises(CaptureError, match="still, new field did not come in time") as caught:
        next(frames)
    assert caught.value.code == "NO_NEW_FIELD"
    assert caught.value.action == guidance("MOVE_ON").action
    assert camera.now_s - taken_s == pytest.approx(NEXT_FIELD_WAIT_S, abs=2)


def test_waiting_for_the_pass_ends_too() -> None:
    def nobody_turns() -> Iterator[View3]:
        while True:
            yield HERE, 0.0

    camera, frames = taken_from(nobody_turns(), 2, focus_pass=True)
    with pytest.raises(CaptureError, match="pass through focus did not come") as caught:
        next(frames)
    assert caught.value.action == guidance("TURN_FOCUS").action
    assert camera.now_s == pytest.approx(FOCUS_PASS_WAIT_S, abs=2)
