"""What a source is called on the command line: ``uvc:/dev/video0``, ``picamera2:0``, a path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from edgehemo.errors import UsageError

# One row a camera: the scheme and an example of the whole specification, whose target is meant
# where none is given.
CAMERA_SCHEMES: dict[str, str] = {
    "picamera2": "picamera2:0",
    "uvc": "uvc:/dev/video0",
    "simulated": "simulated:",
}
_BARE_NUMBER = re.compile(r"[0-9]{1,2}")
_VIDEO_DEVICE = re.compile(r"/dev/(video[0-9]+|v4l/.+)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9_-]{1,}):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera's specification taken apart.

    text: as it was given. scheme: a key of `CAMERA_SCHEMES`. target: which camera, in the one way
    it is written: of ``uvc`` the device (/dev/video0, also for ``uvc:0``, ``uvc:video0`` and
    ``uvc:``), of ``picamera2`` the number; empty for ``simulated``. query: what follows a question
    mark, not taken apart.
    """

    text: str
    scheme: str
    target: str
    query: str = ""

    @property
    def name(self) -> str:
        """The camera without its options; two specifications of one camera have the same."""
        return f"{self.scheme}:{self.target}"

    def options(self, allowed: Mapping[str, str]) -> dict[str, str]:
        """The options of the query.

        allowed: option to its meaning, for the message. Raises UsageError for an unknown option.
        """
        given = dict(parse_qsl(self.query, keep_blank_values=True))
        for name in given:
            if name not in allowed:
                known = ", ".join(f"{key} ({meaning})" for key, meaning in allowed.items())
                raise UsageError(f"{self.text}: no option {name!r}; known are {known}")
        return given


def camera_spec(text: str) -> CameraSpec | None:
    """The camera that ``text`` names, or None where it names a path.

    Raises UsageError, with the nearest scheme, for one that is mistyped: no such file exists and
    the part before the colon resembles a camera's.
    """
    match = _SCHEME.fullmatch(text)
    if match is None:
        return None
    scheme, rest = match.group(1), match.group(2)
    if scheme in CAMERA_SCHEMES:
        target, _, query = rest.partition("?")
        return CameraSpec(text, scheme, _written(scheme, target), query)
    if _exists(text):
        return None
    near = difflib.get_close_matches(scheme.lower(), [*CAMERA_SCHEMES, "picamera"], n=1, cutoff=0.5)
    if not near:
        return None
    suggested = "picamera2" if near[0] == "picamera" else near[0]
    raise UsageError(
        f"{text}: no camera is called {scheme!r}; did you mean {CAMERA_SCHEMES[suggested]}?"
    )


def refuse_bare_camera(text: str) -> None:
    """Raise UsageError, with what is meant, for a camera named as other programs name it.

    ``/dev/video0`` is a device and no file of pictures; ``0`` is taken for one where no such file
    exists.
    """
    number = _BARE_NUMBER.fullmatch(text)
    device = _VIDEO_DEVICE.fullmatch(text)
    if device is not None or (number is not None and not _exists(text)):
        target = text if device is not None else f"/dev/video{int(text)}"
        raise UsageError(f"{text}: a USB camera is named uvc:{target}; use that")


def _written(scheme: str, target: str) -> str:
    """A target in the one way it is written."""
    if not target:
        return CAMERA_SCHEMES[scheme].partition(":")[2]
    number = int(target) if target.isascii() and target.isdecimal() else None
    if scheme == "picamera2":
        return target if number is None else str(number)
    if scheme == "uvc":
        if number is not None:
            return f"/dev/video{number}"
        return target if "/" in target else f"/dev/{target}"
    return target


def size_option(options: Mapping[str, str], spec: str) -> tuple[int, int] | None:
    """Width and height in px from the options of the same names, both or neither."""
    if "width" not in options and "height" not in options:
        return None
    try:
        width, height = int(options["width"]), int(options["height"])
    except (KeyError, ValueError):
        raise UsageError(
            f"{spec}: give width and height together, in px, such as ?width=1280&height=960"
        ) from None
    if not (32 <= width <= 16_384 and 32 <= height <= 16_384):
        raise UsageError(f"{spec}: width and height must lie in 32 to 16384 px")
    return width, height


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
