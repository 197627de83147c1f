"""Device profiles by name: the workstation's own, and those that installed packages offer.

A package offers a folder of them (``<name>.toml``) under the entry-point group
``edgehemo.device_profiles``: its entry names a function that takes nothing and returns the folder
(`ProfileFolder`). Nothing of a package is imported before a name is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgehemo.errors import DeviceError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "edgehemo.device_profiles"
# What a device is where nothing configures it; it comes with this package.
FALLBACK_PROFILE = "workstation"
_SUFFIX = ".toml"
# This package's own; a folder, as the shipped bundle is.
OWN_PROFILES = Path(__file__).with_name("profiles")


class ProfileFile(Protocol):
    """A file of such a folder: a path, a package's resource, or a text that was made."""

    @property
    def name(self) -> str: ...

    def read_text(self, encoding: str) -> str: ...


class ProfileFolder(Protocol):
    """What a package offers; a folder, or what can be listed like one."""

    def iterdir(self) -> Iterator[ProfileFile]: ...


def profile_names() -> list[str]:
    """Names of all device profiles, sorted. Raises DeviceError, see `named_profiles`."""
    return sorted(named_profiles())


def profile_text(name: str) -> str:
    """The TOML text of a device profile.

    Raises DeviceError, with the nearest name, for one that nobody offers.
    """
    found = named_profiles(only_own=name == FALLBACK_PROFILE)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(found))}"
        raise DeviceError(f"no device profile is called {name!r}; {hint}")
    return found[name].read_text("utf-8")


def named_profiles(*, only_own: bool = False) -> dict[str, ProfileFile]:
    """The file of every profile by its name.

    only_own: this package's own, without looking at others. Raises DeviceError naming a package
    whose folder cannot be had, and two that use one name.
    """
    found = _toml_files(OWN_PROFILES)
    if only_own:
        return found
    offered_by = dict.fromkeys(found, "edgehemo")
    for entry in _entries():
        try:
            theirs = _toml_files(entry.load()())
        except (ImportError, AttributeError, TypeError, OSError) as error:
            raise DeviceError(
                f"the device profiles of {entry.value} cannot be read "
                f"({' '.join(str(error).split())}): install that package again"
            ) from error
        for name, file in theirs.items():
            if name in found:
                raise DeviceError(
                    f"two packages offer a device profile {name!r}: {offered_by[name]} and "
                    f"{entry.value}; remove one"
                )
            found[name], offered_by[name] = file, entry.value
    return found


def _entries() -> list[EntryPoint]:
    # It loads the e-mail parser, and only a device profile asked for by its name comes here.
    from importlib.metadata import entry_points  # noqa: PLC0415

    # A package that is installed twice says the same twice.
    known = {entry.value: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return [known[value] for value in sorted(known)]


def _toml_files(folder: ProfileFolder) -> dict[str, ProfileFile]:
    return {
        item.name.removesuffix(_SUFFIX): item
        for item in folder.iterdir()
        if item.name.endswith(_SUFFIX)
    }
