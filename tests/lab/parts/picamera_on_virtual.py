"""What the lab asks of `edgehemo.capture.picamera` on a real picamera2; prints JSON.

Usage: picamera_on_virtual.py; the pictures served lie where virtual.yaml says.
"""

from __future__ import annotations

import faulthandler
import json
import time

import numpy as np
from virtual_libcamera import library

from edgehemo.capture.guard import GuardedCamera
from edgehemo.capture.picamera import PiCamera
from edgehemo.capture.protocol import CameraSettings
from edgehemo.errors import CaptureError

SIZE = (1280, 960)
DEADLINE_S = 5.0
# A machine busy with other tests opens it late.
OPEN_DEADLINE_S = 20.0


def _camera() -> PiCamera:
    return PiCamera(0, size=SIZE, library=library, open_deadline_s=OPEN_DEADLINE_S)


def main() -> None:
    # A hang in the library is told with its stack, not with the caller's patience.
    faulthandler.dump_traceback_later(90, exit=True)
    seen: dict[str, object] = {}
    with _camera() as camera:
        started = time.monotonic()
        frame = camera.frame(DEADLINE_S)
        seen["first_frame_s"] = time.monotonic() - started
        seen["shape"] = frame.pixels.shape
        seen["metadata"] = {key: str(value) for key, value in frame.metadata.items()}
        height, width = frame.pixels.shape[:2]
        # The middle of each of the four quarters, which the served picture paints in one colour.
        seen["quarters"] = [
            np.median(
                frame.pixels[
                    row * height // 4 - 40 : row * height // 4 + 40,
                    column * width // 4 - 40 : column * width // 4 + 40,
                ],
                axis=(0, 1),
            ).tolist()
            for row in (1, 3)
            for column in (1, 3)
        ]
        guarded = GuardedCamera(camera)
        try:
            means = [float(guarded.frame(DEADLINE_S).pixels.mean()) for _ in range(3)]
            seen["guarded_means"] = means
        except CaptureError as error:
            seen["guarded_means"] = [error.code, str(error)]
        try:
            camera.apply(CameraSettings(exposure_us=8000.0, gain=1.0))
            seen["settings"] = "taken"
        except CaptureError as error:
            seen["settings"] = [error.code, str(error)]
    try:
        PiCamera(7, library=library).open()
    except CaptureError as error:
        seen["absent"] = [error.code, str(error)]
    print("RESULT " + json.dumps(seen))


if __name__ == "__main__":
    main()
