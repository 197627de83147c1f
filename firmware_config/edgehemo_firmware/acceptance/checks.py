"""The check-list: one row a check, in the order in which they are made.

A check measures or asks and returns its outcome; what it cannot do here it raises as
NotPossibleError. Those that end with a restart are driven by `edgehemo_firmware.acceptance.going`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.capture.protocol import Camera, CameraSettings
from edgehemo.errors import CaptureError, UsageError
from edgehemo_firmware.acceptance.asking import NotPossibleError, Person
from edgehemo_firmware.acceptance.instruments import Instruments
from edgehemo_firmware.acceptance.record import Figure, State

FRAMES = 30
FRAME_DEADLINE_S = 10.0
# What half the exposure may leave of the counts: half of them where they are stored as light, some
# seven tenths where by sRGB's curve. The share itself is in the report.
HALF_EXPOSURE = (0.4, 0.8)
# Ten minutes of screening is a busy hour's work in one go.
HEAT_S = 600.0
# Where a Raspberry Pi begins to slow down.
HOT_C = 80.0
CUTS = 20
BOOT_LIMIT_S = 120.0
HANG_LIMIT_S = 150.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a check came to; see `edgehemo_firmware.acceptance.record.Outcome`."""

    state: State
    why: str = ""
    figures: Mapping[str, Figure] | None = None
    rows: tuple[Mapping[str, Figure], ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """name: in the report. title, needs: for the person. minutes: about how long. make: does it;
    None for those that end with a restart. root: whether only root may.
    """

    name: str
    title: str
    needs: str
    minutes: int
    make: Callable[[Instruments, Person, Path], Found] | None = None
    root: bool = False


def passed(good: bool, why: str, **figures: Figure) -> Found:
    """Passed where good; why: what is told where it is not."""
    return Found("pass" if good else "fail", "" if good else why, figures)


# -- the checks ---------------------------------------------------------------------------------


def board(here: Instruments, person: Person, folder: Path) -> Found:
    """What it is: board, memory, system."""
    figures: dict[str, Figure] = dict(here.described())
    figures["memory_mb"] = here.memory_mb()
    for name, value in figures.items():
        person.say(f"  {name}: {value}")
    return Found("pass", figures=figures)


def camera(here: Instruments, person: Person, folder: Path) -> Found:
    """Pictures come, whole and at a rate that serves."""
    name, opening = here.camera()
    with opening as taken:
        first = taken.frame(FRAME_DEADLINE_S)
        begun = time.perf_counter()
        for _ in range(FRAMES):
            taken.frame(FRAME_DEADLINE_S)
        rate = FRAMES / (time.perf_counter() - begun)
    height, width = first.pixels.shape[:2]
    picture = folder / "camera.png"
    cv2.imwrite(str(picture), first.pixels[..., ::-1])
    person.say(f"  {name}: {width}x{height} px, {rate:.1f} pictures a second")
    right = person.yes(f"Look at {picture}: are its colours as the eye sees them in the eyepiece?")
    return passed(
        right,
        "the colours are not as the eye sees them",
        camera=name,
        width_px=width,
        height_px=height,
        pictures_per_s=round(rate, 2),
    )


def controls(here: Instruments, person: Person, folder: Path) -> Found:
    """What is set is taken, and acts on the picture: exposure, gain, white balance."""
    _, opening = here.camera()
    with opening as taken:
        base = _set(taken, CameraSettings(exposure_us=10_000.0, gain=1.0))
        if base is None:
            raise NotPossibleError("the camera takes neither exposure nor gain")
        level = _level(taken)
        if _set(taken, CameraSettings(exposure_us=5_000.0)) is None:
            return Found("fail", "the exposure could not be changed")
        half = _level(taken)
        ratio = float(half.mean() / max(level.mean(), 1e-6))
        _set(taken, CameraSettings(exposure_us=10_000.0, red_gain=2.0, blue_gain=1.0))
        red = _level(taken)
        _set(taken, CameraSettings(red_gain=1.0, blue_gain=2.0))
        blue = _level(taken)
    turned = float((red[0] - red[2]) - (blue[0] - blue[2]))
    person.say(
        f"  half the exposure gives {ratio:.2f} of the counts; red against blue {turned:.0f}"
    )
    good = HALF_EXPOSURE[0] <= ratio <= HALF_EXPOSURE[1]
    return passed(
        good,
        f"half the exposure gives {ratio:.2f} of the counts: something else moves the picture",
        half_exposure_share=round(ratio, 3),
        white_balance_turn_counts=round(turned, 1),
        level_red=round(float(level[0]), 1),
        level_green=round(float(level[1]), 1),
        level_blue=round(float(level[2]), 1),
    )


def raw(here: Instruments, person: Person, folder: Path) -> Found:
    """The sensor's own values can be had."""
    found = here.raw()
    person.say(f"  {found.width_px}x{found.height_px}, {found.bits} bits, {found.format}")
    return passed(
        found.bits >= 10,
        "fewer than 10 bits",
        width_px=found.width_px,
        height_px=found.height_px,
        bits=found.bits,
        format=found.format,
    )


def slide(here: Instruments, person: Person, folder: Path) -> Found:
    """A stained slide is screened as at the kiosk."""
    if not person.ready("Put a stained blood smear under the microscope, in focus, and move it on "
                        "when you are asked"):  # fmt: skip
        return Found("left_out", "no slide")
    found = here.screened(folder / "slide")
    person.say(f"  {found.accepted} of {found.fields} fields accepted, {found.seconds:.0f} s")
    right = person.yes(f"Open {found.report}: are the red and white cells marked where they are?")
    return passed(
        right and found.accepted > 0,
        "no field was accepted" if not found.accepted else "cells are not marked where they are",
        fields=found.fields,
        accepted=found.accepted,
        seconds=round(found.seconds, 1),
    )


def speed(here: Instruments, person: Person, folder: Path) -> Found:
    """Each runtime and precision, on this board."""
    rows = tuple(here.timed())
    for row in rows:
        person.say("  " + ", ".join(f"{value}" for value in row.values()))
    return Found("pass" if rows else "fail", "" if rows else "nothing could be timed", rows=rows)


def heat(here: Instruments, person: Person, folder: Path) -> Found:
    """Ten minutes of work in its case: how hot it becomes, and whether it is slowed down."""
    before = here.board()
    if before.celsius is None:
        raise NotPossibleError("the system tells no temperature")
    hottest, throttled, fields = before.celsius, before.throttled or 0, 0
    for _ in here.loaded(HEAT_S):
        fields += 1
        now = here.board()
        hottest = max(hottest, now.celsius or hottest)
        throttled |= now.throttled or 0
    person.say(f"  from {before.celsius:.0f} to {hottest:.0f} °C, flags {throttled:#x}")
    return passed(
        hottest < HOT_C and not throttled & 0xF,
        "it slows itself down: better cooling, or a better supply (flags 0x1: under-voltage)",
        before_celsius=before.celsius,
        hottest_celsius=hottest,
        throttled_flags=throttled,
        fields=fields,
    )


def display(here: Instruments, person: Person, folder: Path) -> Found:
    """The kiosk's page on the device's own screen."""
    found = here.screens()
    if not found.connected:
        raise NotPossibleError("no screen is connected")
    person.say(f"  {', '.join(found.connected)}")
    fits = person.yes("Does the kiosk's page fill the screen, with nothing cut off?")
    side = person.number("How wide is a big button of the page, in mm by a ruler (Enter: unknown)?")
    return passed(
        fits and (side is None or side >= 9),
        "the page does not fit" if not fits else "buttons are too small: set kiosk.px_per_mm",
        screens=", ".join(found.connected),
        button_mm=side,
    )


def touch(here: Instruments, person: Person, folder: Path) -> Found:
    """Touch reaches what is touched, with gloves too."""
    found = here.screens()
    if not found.touch:
        raise NotPossibleError("no touch panel is connected")
    corners = person.yes("Type a PIN and go to Help and back: does each touch reach its button?")
    gloves = person.yes("The same with laboratory gloves on?")
    return passed(
        corners,
        "touches miss: calibrate or turn the panel (libinput)",
        panel=", ".join(found.touch),
        with_gloves=gloves,
    )


def ready(here: Instruments, person: Person, folder: Path) -> Found:
    """How long after power-on the kiosk is ready."""
    seconds = here.service_ready_s()
    person.say(f"  ready {seconds:.1f} s after the kernel's start")
    return passed(seconds < BOOT_LIMIT_S, "it takes too long", ready_s=round(seconds, 1))


def hang(here: Instruments, person: Person, folder: Path) -> Found:
    """A kiosk that hangs is ended and begun again by itself."""
    seconds = here.stop_answering()
    person.say(f"  back after {seconds:.1f} s")
    return passed(seconds < HANG_LIMIT_S, "it did not come back in time", back_s=round(seconds, 1))


CHECKS: tuple[Check, ...] = (
    Check("board", "What it is", "nothing", 1, board),
    Check("camera", "The camera's pictures", "a slide in focus", 2, camera),
    Check("controls", "Exposure, gain, white balance", "an empty bright field", 2, controls),
    Check("raw", "The sensor's own values", "nothing", 1, raw),
    Check("slide", "A slide, screened", "a stained blood smear", 8, slide),
    Check("speed", "Speed of each runtime and precision", "nothing", 8, speed),
    Check("heat", "Ten minutes of work", "the case closed", 11, heat),
    Check("display", "The screen", "the kiosk's page on it; a ruler", 2, display),
    Check("touch", "The touch panel", "gloves", 2, touch),
    Check("ready", "From power to ready", "nothing", 1, ready),
    Check("hang", "The service's watchdog", "nothing", 3, hang, root=True),
    Check("crash", "The board's watchdog", "nothing; the board starts again", 3, root=True),
    Check("cuts", f"The plug, pulled {CUTS} times", "the plug in the hand", 20, root=True),
)


def _set(taken: Camera, settings: CameraSettings) -> CameraSettings | None:
    """Set it; None where the camera does not take it."""
    try:
        return taken.apply(settings)
    except (CaptureError, UsageError):
        return None


def _level(taken: Camera) -> NDArray[np.float64]:
    """Mean of the middle of the next settled frame, RGB counts."""
    for _ in range(4):
        frame = taken.frame(FRAME_DEADLINE_S)
    height, width = frame.pixels.shape[:2]
    middle = frame.pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]
    return np.asarray(middle.reshape(-1, 3).mean(axis=0), np.float64)
