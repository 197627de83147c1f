"""Runs inside the emulated machine: the camera of `usb_video_camera` over a slide of pictures.

``slide_under_usb_camera.py FOLDER STATE``. FOLDER holds the slide's places, 1.png, 2.png ... as the
camera's sensor sees them. The file STATE says which place lies under the objective (``1``), that it
is ``unplugged`` or ``wedged``; it is looked at before each frame, and the slide is seen to move to
another place.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from usb_video_camera import HEIGHT, WIDTH, UsbCamera, plug, unplug

# A live picture never repeats: so many patterns of noise in turn, of at most so many counts.
PATTERNS, NOISE_COUNTS = 3, 2
# Frames of a slide that moves.
MOVING_FRAMES = 4
# An emulated processor decodes no more than so many frames beside its other work.
FRAMES_PER_S = 4
LOOK_S = 0.1


class SlideCamera(UsbCamera):
    """The camera over the slide. Each frame is encoded once for each setting of the controls."""

    def __init__(self, places: list[NDArray[np.uint8]]) -> None:
        super().__init__(places[0], FRAMES_PER_S)
        self.places = places
        self.moving = False
        self.place = 0
        self._noise = np.random.default_rng(1)
        self._known: dict[tuple[int, ...], bytes] = {}
        self._left = 0
        self._shown = 0

    def move_to(self, place: int) -> None:
        """Lay another place under the objective, from 0."""
        if place != self.place:
            self.place, self._left = place, MOVING_FRAMES

    def frame(self) -> bytes:
        self._shown += 1
        step, pattern = self._left, self._shown % PATTERNS
        self._left = max(0, step - 1)
        settings = (control.value for control in self.controls.values())
        known = (self.place, step, pattern, *settings)
        if known not in self._known:
            still = self.places[self.place]
            noise = self._noise.integers(-NOISE_COUNTS, NOISE_COUNTS + 1, still.shape)
            noisy = np.clip(still.astype(np.int16) + noise, 0, 255).astype(np.uint8)
            self.picture = np.roll(noisy, step * WIDTH // (MOVING_FRAMES + 1), axis=1)
            self._known[known] = super().frame()
        return self._known[known]


def read_places(folder: Path) -> list[NDArray[np.uint8]]:
    """The slide's pictures in their order."""
    files = sorted(folder.glob("*.png"), key=lambda path: int(path.stem))
    places = []
    for path in files:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None or picture.shape != (HEIGHT, WIDTH, 3):
            raise SystemExit(f"{path}: is no picture of {WIDTH}x{HEIGHT}")
        places.append(np.asarray(picture, dtype=np.uint8))
    return places


def main() -> None:
    """Be plugged in until this ends."""
    folder, state = Path(sys.argv[1]), Path(sys.argv[2])
    places = read_places(folder)
    camera: SlideCamera | None = None
    while True:
        said = state.read_text("utf-8").strip() if state.exists() else "1"
        if said == "unplugged":
            if camera is not None:
                unplug()
            camera = None
        elif camera is None:
            camera = SlideCamera(places)
            plug(camera)
        if camera is not None:
            camera.wedged = said == "wedged"
            if said.isdigit():
                camera.move_to((int(said) - 1) % len(places))
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
