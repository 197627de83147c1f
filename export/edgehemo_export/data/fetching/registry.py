"""The public sets as they are published: where, under which licence, and what must come out.

The table is ``registry.toml`` beside this file; digests of unpacked files lie in ``digests/`` in
the form of sha256sum. Archives are zipped on the fly by some hosts, so an archive's own digest is a
hint, and what counts is what it unpacks to.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from msgspec import Meta

from edgehemo.errors import UsageError
from edgehemo.files.strict import Count, Positive, Record, Text

REGISTRY = Path(__file__).with_name("registry.toml")
DIGESTS = Path(__file__).with_name("digests")
# Who says that an address, or a licence, is the set's. "publisher": whoever made the set says so
# where it is published. "quoted": others who used the set say so. "none": there is no address.
SaidBy = Literal["publisher", "quoted", "none"]
# Below a published archive: of `Placed.take`, all of it.
EVERYTHING = "."

Limit = Annotated[int, Meta(gt=0)]


class Archive(Record, frozen=True, kw_only=True):
    """One file that is fetched.

    file: its name in a mirror. url: None where it must be fetched by hand. digest: of the archive,
    ``md5:...`` or ``sha256:...``, where it was published: that another came is told and is no
    fault. size_mb: about, None where nobody told.
    """

    file: Text
    url: str | None = None
    url_said_by: SaidBy = "none"
    digest: Annotated[str, Meta(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})\Z")] | None = None
    size_mb: Positive | None = None


class Placed(Record, frozen=True, kw_only=True):
    """What becomes of an archive's content: one folder of a data root.

    name: of the folder, which is the reader's name of the set. holds: paths that the top of the
    published folder has, by which it is found at any depth. take: paths below that top, and what
    each is called in the folder; all else is left out. pictures: how many there are, where known.
    pinned: file in ``digests/`` of what must come out, byte for byte. ours: likewise of the copies
    that this project's figures stand on, whose bytes may be others than the published ones.
    """

    name: Text
    holds: list[Text]
    take: dict[str, str]
    pictures: Count | None = None
    pinned: str | None = None
    ours: str | None = None


class Release(Record, frozen=True, kw_only=True):
    """One published data set. unsure: what could not be verified, each a sentence for people."""

    title: Text
    about: Text
    page: Text
    citation: Text
    licence: Text
    licence_said_by: SaidBy
    licence_page: Text
    archive: Archive
    sets: list[Placed]
    limit_mb: Limit
    limit_files: Limit
    unsure: list[str]

    @property
    def pinned_files(self) -> int:
        """How many unpacked files have a digest that they must have."""
        return sum(len(pinned_digests(item)) for item in self.sets)


@cache
def releases() -> Mapping[str, Release]:
    """Every published set of the registry, by name."""
    table = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))
    return {name: Release.model_validate(value) for name, value in table.items()}


def release_named(name: str) -> tuple[str, Release]:
    """A release by its own name or that of a folder it brings, with its own name. UsageError
    suggests the nearest.
    """
    known = releases()
    if name in known:
        return name, known[name]
    folders = {item.name: called for called, release in known.items() for item in release.sets}
    if name in folders:
        return folders[name], known[folders[name]]
    near = difflib.get_close_matches(name, [*known, *folders], n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise UsageError(f"no data set {name!r}; {hint}")


def pinned_digests(placed: Placed) -> Mapping[str, str]:
    """SHA-256 by path of the files that must come out as they are; empty where none is known."""
    return {} if placed.pinned is None else read_digests(placed.pinned)


def our_digests(placed: Placed) -> Mapping[str, str]:
    """SHA-256 by path of the copies that this project's figures stand on."""
    return {} if placed.ours is None else read_digests(placed.ours)


@cache
def read_digests(file: str) -> Mapping[str, str]:
    """A file of ``digests/``: lines as sha256sum writes them. ValueError where one is none."""
    found: dict[str, str] = {}
    for number, line in enumerate((DIGESTS / file).read_text(encoding="utf-8").splitlines(), 1):
        digest, apart, path = line.partition("  ")
        if not apart or re.fullmatch(r"[0-9a-f]{64}", digest) is None:
            raise ValueError(f"{file} line {number}: not a SHA-256 and a path")
        if ".." in PurePosixPath(path).parts or path.startswith("/") or path in found:
            raise ValueError(f"{file} line {number}: {path} is no path of its own below a folder")
        found[path] = digest
    return found
