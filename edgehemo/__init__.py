"""edgehemo: offline anaemia screening from stained blood smears.

A research and screening aid, never a diagnosis. `screen` does the whole way from pictures to a
report; the modules below it do each step. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from edgehemo.version import __version__

# Type checkers take this name for true; importing it would cost more than the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgehemo.api import screen
    from edgehemo.field.canonical import CanonicalField, canonical_field
    from edgehemo.images.frame import Frame
    from edgehemo.images.reading import read_frame

__all__ = ["CanonicalField", "Frame", "__version__", "canonical_field", "read_frame", "screen"]

_HOMES = {
    "CanonicalField": "edgehemo.field.canonical",
    "Frame": "edgehemo.images.frame",
    "canonical_field": "edgehemo.field.canonical",
    "read_frame": "edgehemo.images.reading",
    "screen": "edgehemo.api",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgehemo' has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
