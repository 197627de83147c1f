"""Packages that are public functions as well: `edgehemo.quality(picture)`.

Three functions people look for bear the names of the packages that do the work, and a package's
attribute cannot be both; so the module itself is made callable. Type checkers see the function
(`edgehemo/__init__.py`), imports see the package.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that calls the function of `edgehemo.api` of its own name."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)

    @property
    def _function(self) -> Any:
        # The face knows where its functions are, and is loaded before any of its rooms.
        face, _, name = self.__name__.rpartition(".")
        return sys.modules[face].public_function(name)

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(self._function)


def make_callable(package: str) -> None:
    """Let an imported package (``__name__`` of its ``__init__.py``) be called as a function."""
    sys.modules[package].__class__ = _CallablePackage
