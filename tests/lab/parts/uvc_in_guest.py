"""What the lab asks of `edgehemo.capture.uvc` on the kernel's own driver; prints JSON.

Runs inside the guest, with the camera of `usb_video_camera` plugged into its virtual hub. The
guest is emulated: the seconds say only that a deadline was kept, nothing of any board.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from usb_video_camera import HEIGHT, WIDTH, CameraProcess, node

from edgehemo.capture.guard import FAULT_NOTICED_S, GuardedCamera
from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.uvc import UvcCamera
from edgehemo.errors import CaptureError

# RGB of the picture's four quarters.
QUARTERS = ((150, 40, 50), (45, 140, 60), (50, 60, 160), (130, 128, 126))
DEADLINE_S = 20.0
# Frames that may still be on their way when a fault begins: the driver's buffers and ours.
IN_FLIGHT = 10
# Opening and setting take an emulated processor longer than a real one.
OPEN_DEADLINE_S = 15.0
REPLUG_WAIT_S = 40.0
NEUTRAL = CameraSettings(exposure_us=15_600.0, gain=10.0, white_balance_k=4600.0)


def quarters(pixels: NDArray[np.uint8]) -> list[list[float]]:
    """Median RGB in the middle of each quarter."""
    height, width = pixels.shape[:2]
    return [
        np.median(
            pixels[
                row * height // 4 - 40 : row * height // 4 + 40,
                column * width // 4 - 40 : column * width // 4 + 40,
            ],
            axis=(0, 1),
        ).tolist()
        for row in (1, 3)
        for column in (1, 3)
    ]


def fault(call: Callable[[], Any], tries: int = 1) -> list[Any]:
    """Code and message of the CaptureError that one of ``tries`` calls raises, and its seconds."""
    seconds = 0.0
    for _ in range(tries):
        started = time.monotonic()
        try:
            call()
        except CaptureError as error:
            return [error.code, str(error), round(time.monotonic() - started, 2)]
        seconds = time.monotonic() - started
    return ["none", "", round(seconds, 2)]


def until_back(guarded: GuardedCamera) -> NDArray[np.uint8]:
    """What a kiosk does: it asks again until the camera is back."""
    ends = time.monotonic() + REPLUG_WAIT_S
    while True:
        try:
            return guarded.frame(DEADLINE_S).pixels
        except CaptureError:
            if time.monotonic() > ends:
                raise


def main() -> None:
    faulthandler.dump_traceback_later(200, exit=True)
    seen: dict[str, Any] = {"opencv": cv2.__version__}
    with CameraProcess() as camera:
        camera.ask("plug", quarters=QUARTERS)
        device = UvcCamera(
            node(),
            size=(WIDTH, HEIGHT),
            fourcc="MJPG",
            open_deadline_s=OPEN_DEADLINE_S,
            set_deadline_s=OPEN_DEADLINE_S,
        )
        told: list[tuple[str, float]] = []
        guarded = GuardedCamera(
            device, on_fault=lambda error: told.append((error.code, time.monotonic()))
        )
        with guarded:
            look_at_settings(seen, camera, guarded)
            look_at_faults(seen, camera, guarded, told)
    print("RESULT " + json.dumps(seen), flush=True)


def look_at_settings(seen: dict[str, Any], camera: CameraProcess, guarded: GuardedCamera) -> None:
    """Exposure, gain and white balance, their effect on the pixels, and one that is refused."""
    step("settings")
    seen["taken"] = guarded.apply(NEUTRAL).given()
    seen["controls"] = camera.ask("log")
    seen["quarters"] = quarters(guarded.frame(DEADLINE_S).pixels)
    guarded.apply(CameraSettings(exposure_us=7_800.0))
    seen["half_exposure"] = quarters(guarded.frame(DEADLINE_S).pixels)[3]
    guarded.apply(CameraSettings(exposure_us=15_600.0, gain=60.0))
    seen["gain_60"] = quarters(guarded.frame(DEADLINE_S).pixels)[3]
    guarded.apply(CameraSettings(gain=10.0, white_balance_k=6500.0))
    seen["warm"] = quarters(guarded.frame(DEADLINE_S).pixels)[3]
    guarded.apply(NEUTRAL)
    seen["refused"] = fault(lambda: guarded.apply(CameraSettings(gain=900.0)))
    guarded.apply(NEUTRAL)


def look_at_faults(
    seen: dict[str, Any],
    camera: CameraProcess,
    guarded: GuardedCamera,
    told: list[tuple[str, float]],
) -> None:
    """A wedge, a pulled plug and its return, a frozen picture, a lamp that is off."""
    step("wedge")
    guarded.frame(DEADLINE_S)
    camera.ask("set", wedged=True)
    seen["wedged"] = fault(lambda: guarded.camera.frame(FAULT_NOTICED_S), IN_FLIGHT)
    camera.ask("set", wedged=False)
    seen["after_wedge"] = quarters(until_back(guarded))[3]

    step("unplug")
    told.clear()
    started = time.monotonic()
    camera.ask("unplug")

    def plug_again() -> None:
        time.sleep(5.0)
        camera.ask("plug", quarters=QUARTERS)

    helper = threading.Thread(target=plug_again)
    helper.start()
    reopened = guarded.reopened
    seen["after_replug"] = quarters(until_back(guarded))[3]
    helper.join()
    seen["unplugged"] = [told[0][0], round(told[0][1] - started, 2)] if told else ["none", 0.0]
    seen["reopened"] = guarded.reopened - reopened
    seen["controls_after_replug"] = camera.ask("log")

    step("frozen and dark")
    camera.ask("set", moving=False)
    seen["frozen"] = fault(lambda: guarded.frame(DEADLINE_S), IN_FLIGHT)
    camera.ask("set", moving=True)
    until_back(guarded)
    camera.ask("set", light=0.04)
    seen["dark"] = fault(lambda: guarded.frame(DEADLINE_S), IN_FLIGHT)


def step(name: str) -> None:
    """Where a run that hangs came to."""
    print(f"at {time.monotonic():.0f} s of uptime: {name}", flush=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # OpenCV's reader may still sit in the driver; nothing is left to be cleaned up.
    os._exit(0)
