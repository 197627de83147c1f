"""What publications are called: their kinds, and how they stand. A leaf module."""

from __future__ import annotations

from typing import Literal

Kind = Literal["bundle", "language", "settings"]
# Those that are packed and signed as `edgehemo.published.packages` says.
PackagedKind = Literal["language", "settings"]
Standing = Literal[
    "offered", "waiting", "putting", "on trial", "in use", "refused", "declined", "withdrawn",
    "fell back",
]  # fmt: skip
# What may still become something.
OPEN: tuple[Standing, ...] = ("offered", "waiting", "putting")
# What was put in use here.
USED: tuple[Standing, ...] = ("on trial", "in use")
# What a device does not take, or left again by itself.
FAILED: tuple[Standing, ...] = ("refused", "fell back")
# Where a publication came from that a person brought: no receiver is called so.
FROM_STICK = "on a stick"
