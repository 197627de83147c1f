"""What a source is called on the command line: ``uvc:/dev/video0``, ``picamera2:0``, a path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from edgehemo.errors import UsageError

# One row a camera: the scheme and an example of the whole specification.
CAMERA_SCHEMES: dict[str, str] = {
    "picamera2": "picamera2:0",
    "uvc": "uvc:/dev/video0",
    "simulated": "simulated:",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9_-]{1,}):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera's specification taken apart: scheme, and what follows the colon."""

    scheme: str
    rest: str


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
        return CameraSpec(scheme, rest)
    if _exists(text):
        return None
    import difflib

    near = difflib.get_close_matches(scheme.lower(), [*CAMERA_SCHEMES, "picamera"], n=1, cutoff=0.5)
    if not near:
        return None
    suggested = "picamera2" if near[0] == "picamera" else near[0]
    raise UsageError(
        f"{text}: no camera is called {scheme!r}; did you mean {CAMERA_SCHEMES[suggested]}?"
    )


def split_options(rest: str, allowed: dict[str, str], spec: str) -> tuple[str, dict[str, str]]:
    """``/dev/video0?width=1280`` into the target and its options.

    allowed: option to its meaning, for the message. Raises UsageError for an unknown option.
    """
    target, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in allowed:
            known = ", ".join(f"{key} ({meaning})" for key, meaning in allowed.items())
            raise UsageError(f"{spec}: no option {name!r}; known are {known}")
    return target, options


def size_option(options: dict[str, str], spec: str) -> tuple[int, int] | None:
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
