"""edgehemo: offline anaemia screening from stained blood smears.

A research and screening aid, never a diagnosis. `screen` does the whole way from pictures to a
report, `quality`, `cells`, `classify` and `estimate` its parts; see `edgehemo.api`. Nothing heavy
is imported until it is used.
"""

from __future__ import annotations

from edgehemo.version import __version__

# Type checkers take this name for true; importing it would cost more than the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgehemo.anaemia.who_grade import Person
    from edgehemo.api import cells, classify, estimate, quality, screen
    from edgehemo.field.canonical import CanonicalField, canonical_field
    from edgehemo.images.frame import Frame
    from edgehemo.images.reading import read_frame

__all__ = [
    "CanonicalField",
    "Frame",
    "Person",
    "__version__",
    "canonical_field",
    "cells",
    "classify",
    "estimate",
    "quality",
    "read_frame",
    "screen",
]

_HOMES = {
    "CanonicalField": "edgehemo.field.canonical",
    "Frame": "edgehemo.images.frame",
    "Person": "edgehemo.anaemia.who_grade",
    "canonical_field": "edgehemo.field.canonical",
    "classify": "edgehemo.api",
    "read_frame": "edgehemo.images.reading",
    "screen": "edgehemo.api",
}
# Packages that are functions as well (`edgehemo.calling`).
_CALLABLE_PACKAGES = ("cells", "estimate", "quality")


def __getattr__(name: str) -> object:
    import importlib

    if name in _CALLABLE_PACKAGES:
        return importlib.import_module(f"edgehemo.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'edgehemo' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def public_function(name: str) -> object:
    """The function that a package of the same name is called as."""
    import importlib

    return getattr(importlib.import_module("edgehemo.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
