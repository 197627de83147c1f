"""What the lab asks of `edgehemo.capture.uvc` on the kernel's own driver; prints JSON.

Runs inside the guest, with the camera of `usb_video_camera` plugged into its virtual hub. Times
are not measured here: the guest is emulated.
"""

from __future__ import annotations

import faulthandler
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from usb_video_camera import HEIGHT, WIDTH, UsbCamera, node, plug, unplug

from edgehemo.capture.guard import FAULT_NOTICED_S, GuardedCamera
from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.uvc import UvcCamera
from edgehemo.errors import CaptureError

# RGB of the picture's four quarters.
QUARTERS = ((150, 40, 50), (45, 140, 60), (50, 60, 160), (130, 128, 126))
DEADLINE_S = 20.0
NEUTRAL = CameraSettings(exposure_us=15_600.0, gain=10.0, white_balance_k=4600.0)


def target() -> NDArray[np.uint8]:
    """BGR, as the camera's sensor would see it."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for place, colour in enumerate(QUARTERS):
        row, column = divmod(place, 2)
        top, left = row * HEIGHT // 2, column * WIDTH // 2
        picture[top : top + HEIGHT // 2, left : left + WIDTH // 2] = colour[::-1]
    return picture


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


def fault(call: Callable[[], Any]) -> list[Any]:
    """Code, message and seconds of the CaptureError that ``call`` raises."""
    started = time.monotonic()
    try:
        call()
    except CaptureError as error:
        return [error.code, str(error), round(time.monotonic() - started, 2)]
    return ["none", "", round(time.monotonic() - started, 2)]


def main() -> None:
    faulthandler.dump_traceback_later(240, exit=True)
    seen: dict[str, Any] = {"opencv": cv2.__version__}
    camera = UsbCamera(target())
    plug(camera)
    device = node()
    guarded = GuardedCamera(UvcCamera(device, size=(WIDTH, HEIGHT), fourcc="MJPG"))
    with guarded:
        seen["taken"] = guarded.apply(NEUTRAL).given()
        seen["controls"] = sorted(set(camera.log))
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

        camera.wedged = True
        seen["wedged"] = fault(lambda: guarded.camera.frame(FAULT_NOTICED_S))
        camera.wedged = False
        seen["after_wedge"] = quarters(guarded.frame(DEADLINE_S).pixels)[3]

        unplug()
        seen["unplugged"] = fault(lambda: guarded.camera.frame(FAULT_NOTICED_S))
        camera = UsbCamera(target())

        def plug_again() -> None:
            time.sleep(1.0)
            plug(camera)

        threading.Thread(target=plug_again, daemon=True).start()
        reopened = guarded.reopened
        ends = time.monotonic() + 60
        while True:
            # What a kiosk does: it asks again until the camera is back.
            try:
                frame = guarded.frame(DEADLINE_S)
                break
            except CaptureError:
                if time.monotonic() > ends:
                    raise
        seen["after_replug"] = quarters(frame.pixels)[3]
        seen["reopened"] = guarded.reopened - reopened
        seen["controls_after_replug"] = sorted(set(camera.log))

        camera.moving = False
        seen["frozen"] = fault(lambda: guarded.frame(DEADLINE_S))
        camera.moving = True
        camera.picture = (target() * 0.04).astype(np.uint8)
        seen["dark"] = fault(lambda: [guarded.frame(DEADLINE_S) for _ in range(5)])
    print("RESULT " + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
