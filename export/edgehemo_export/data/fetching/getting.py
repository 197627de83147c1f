"""`edgehemo data get`: fetch, unpack beside its place, verify, move there whole.

Nothing appears under a set's name before every file of it is right. What was fetched is written
into the lock before the folder is moved to its place, so that a process killed between the two
leaves a promise, which the next call keeps, and never an unrecorded folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from edgehemo.errors import UsageError
from edgehemo.files.atomic import sha256_of_file
from edgehemo.files.lock import locked
from edgehemo.files.staging import FolderBusyError, StagedFolder
from edgehemo_export.data.fetching.locks import (
    LOCK_FILE,
    FetchedSet,
    differences,
    read_lock,
    told,
    with_set,
    write_lock,
)
from edgehemo_export.data.fetching.problems import DataSetError, NoSpaceError, space_watched
from edgehemo_export.data.fetching.registry import (
    Placed,
    Release,
    our_digests,
    pinned_digests,
)
from edgehemo_export.data.fetching.transfer import Transfer
from edgehemo_export.data.fetching.unpacking import (
    Limits,
    Member,
    inner_archives,
    opened,
    taken,
    top_with,
    unpack,
)
from edgehemo_export.data.sets import READERS, set_folder

# Archives on their way lie here, below the data root.
DOWNLOADS = ".edgehemo-downloads"

State = Literal["fetched", "already there"]


@dataclass(frozen=True)
class Telling:
    """Who is told how far it is. began: of a step, with a word for it and how much there is to do,
    None where nobody knows; reached: how much of it is done; said: a line in between.
    """

    began: Callable[[str, int | None], None]
    reached: Callable[[int], None]
    said: Callable[[str], None]


@dataclass(frozen=True)
class Got:
    """One folder of a data root after `get`. files, bytes: of the folder. pictures: as its reader
    counts them. pinned: files whose digest the registry has. same_as_ours, other_than_ours: of the
    files that the project's figures stand on, how many are the same bytes and how many others.
    """

    name: str
    folder: Path
    state: State
    source: str
    licence: str
    files: int
    bytes: int
    pictures: int
    pinned: int
    same_as_ours: int
    other_than_ours: int
    archive_as_published: bool | None


def get(
    name: str,
    release: Release,
    root: Path,
    *,
    mirror: str | None = None,
    keep: Path | None = None,
    again: bool = False,
    trust_new: bool = False,
    telling: Telling,
) -> list[Got]:
    """Fetch a release into a data root; what is there and right is left.

    mirror: a folder or address where archives lie by the names of the registry. keep: folder that
    the archive is moved to afterwards, which makes it a mirror. again: replace what was fetched
    before. trust_new: take what differs from an earlier fetch or from a pinned digest, and write
    that down. Raises DataSetError, and nothing under a set's name is changed.
    """
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / LOCK_FILE, DataSetError):
        there = None if again else already(name, release, root)
        if there is not None:
            return there
        for placed in release.sets:
            _refuse_strange(placed, root)
        with _archive(release, root, mirror, telling) as (archive, source):
            got = _placed(name, release, root, archive, source, trust_new, telling)
            if keep is not None:
                _keep(archive, keep / release.archive.file)
    return got


def already(name: str, release: Release, root: Path) -> list[Got] | None:
    """What was fetched before and is whole, None where a set of it was not fetched yet.

    DataSetError names files that lack or are other than they were fetched.
    """
    lock = read_lock(root)
    found: list[Got] = []
    for placed in release.sets:
        fetched = lock.sets.get(placed.name)
        folder = root / placed.name
        if fetched is None or not folder.is_dir():
            return None
        digests = {
            path: sha256_of_file(folder / path)
            for path in fetched.files
            if (folder / path).is_file()
        }
        wrong = differences(fetched.files, digests)
        if wrong.any:
            parts = [
                f"{len(paths)} {word} ({told(paths)})"
                for paths, word in ((wrong.changed, "changed"), (wrong.missing, "missing"))
                if paths
            ]
            raise DataSetError(
                f"{folder}: not as it was fetched: {', '.join(parts)}. `edgehemo data get {name} "
                "--again` puts the published files back"
            )
        found.append(_got(placed, root, fetched, "already there", None))
    return found


def source_of(release: Release, mirror: str | None) -> str:
    """The address or file that a release is fetched from; UsageError where there is none."""
    file = release.archive.file
    if mirror is None:
        if release.archive.url is None:
            raise UsageError(
                f"{file} cannot be fetched by an address. Get it by hand from {release.page}, put "
                f"it into a folder as {file}, and say --mirror FOLDER"
            )
        return release.archive.url
    if mirror.startswith(("http://", "https://")):
        return f"{mirror.rstrip('/')}/{file}"
    folder = Path(mirror)
    if not folder.is_dir():
        raise UsageError(f"--mirror {mirror}: neither a folder nor an address with http")
    if not (folder / file).is_file():
        raise UsageError(f"--mirror {mirror}: holds no {file}")
    return str(folder / file)


@contextlib.contextmanager
def _archive(
    release: Release, root: Path, mirror: str | None, telling: Telling
) -> Iterator[tuple[Path, str]]:
    """The archive as a file, and where it came from. One that was fetched is removed at the end; it
    stays, being whole, where the unpacking was interrupted or found no space.
    """
    source = source_of(release, mirror)
    if not source.startswith(("http://", "https://")):
        yield Path(source), source
        return
    downloads = root / DOWNLOADS
    place = downloads / release.archive.file
    begun = False

    def progress(there: int, total: int | None) -> None:
        nonlocal begun
        if not begun:
            begun = True
            telling.began(
                f"{release.archive.file}, MB", None if total is None else round(total / 1e6)
            )
        telling.reached(round(there / 1e6))

    try:
        if not place.is_file():
            Transfer(source, place, progress, telling.said).fetch()
    except NoSpaceError:
        _remove_if_empty(downloads)
        raise
    except DataSetError as error:
        if mirror is not None:
            raise
        raise DataSetError(
            f"{error}. Or fetch it by hand from {release.page}, as {release.archive.file}, into a "
            "folder that --mirror names"
        ) from None
    try:
        yield place, source
    except NoSpaceError as error:
        raise NoSpaceError(f"{error}. The archive is whole and stays at {place}") from None
    except DataSetError:
        # What is damaged or not what was asked for would be met again by the next call.
        place.unlink(missing_ok=True)
        _remove_if_empty(downloads)
        raise
    place.unlink(missing_ok=True)
    _remove_if_empty(downloads)


def _placed(
    name: str,
    release: Release,
    root: Path,
    archive: Path,
    source: str,
    trust_new: bool,
    telling: Telling,
) -> list[Got]:
    limits = Limits(release.limit_files, release.limit_mb * 1_000_000)
    digest = sha256_of_file(archive)
    with contextlib.ExitStack() as stack:
        staged: dict[str, tuple[StagedFolder, dict[str, str]]] = {}
        with _members(archive, release, root, limits, telling) as members:
            tops = {placed.name: _top(archive, members, placed) for placed in release.sets}
            for placed in release.sets:
                wanted = taken(members, tops[placed.name], placed.take)
                stage = _stage(root / placed.name)
                stack.callback(stage.discard)
                telling.began(f"{placed.name}, files", len(wanted))
                files = unpack(archive, wanted, stage.path, limits, telling.reached)
                staged[placed.name] = (stage, files)
        lock = read_lock(root)
        for placed in release.sets:
            stage, files = staged[placed.name]
            before = lock.sets.get(placed.name)
            if not trust_new:
                _verify(placed, files, None if before is None else before.files)
            _read_back(placed, stage.path, archive)
        published = _as_published(release, archive, digest)
        got: list[Got] = []
        for placed in release.sets:
            stage, files = staged[placed.name]
            before = lock.sets.get(placed.name)
            fetched = FetchedSet(
                release=name,
                source=source,
                archive_sha256=digest,
                fetched_at=datetime.now(UTC),
                licence=release.licence,
                files=files,
            )
            lock = with_set(lock, placed.name, fetched)
            with space_watched(root, placed.name):
                write_lock(root, lock)
                stage.publish(former=() if before is None else tuple(before.files))
            got.append(_got(placed, root, fetched, "fetched", published))
    return got


@contextlib.contextmanager
def _members(
    archive: Path, release: Release, root: Path, limits: Limits, telling: Telling
) -> Iterator[list[Member]]:
    """The files of the archive that holds the sets: this one, or one in it. Some hosts pack the one
    file that was published once more.
    """
    with opened(archive, limits) as members:
        if any(top_with(members, placed.holds) is not None for placed in release.sets):
            yield members
            return
        inner = inner_archives(members)
        if len(inner) != 1:
            yield members
            return
        telling.began(f"{inner[0].path.name}, in {archive.name}", None)
        stage = _stage(root / f"{release.sets[0].name}-archive")
        try:
            name = PurePosixPath(inner[0].path.name)
            unpack(archive, {name: inner[0]}, stage.path, limits)
            with opened(stage.path / name, limits) as found:
                yield found
        finally:
            stage.discard()


def _top(archive: Path, members: Sequence[Member], placed: Placed) -> PurePosixPath:
    top = top_with(members, placed.holds)
    if top is None:
        raise DataSetError(
            f"{archive}: {placed.name} is not in it: no folder has {' and '.join(placed.holds)}. "
            "It is another archive, or the set is published in another layout now"
        )
    return top


def _stage(place: Path) -> StagedFolder:
    try:
        return StagedFolder(place)
    except FolderBusyError:
        raise DataSetError(f"{place}: another process is fetching it; wait for it") from None
    except OSError as error:
        raise DataSetError(f"{place}: cannot be made ({error.strerror})") from None


def _verify(placed: Placed, files: Mapping[str, str], before: Mapping[str, str] | None) -> None:
    """DataSetError, with the files, where they are not those that are pinned or came before."""
    for expected, whose in (
        (pinned_digests(placed), "that the registry pins"),
        (before or {}, f"of the first fetch ({LOCK_FILE})"),
    ):
        wrong = differences(expected, files)
        if not wrong.any:
            continue
        parts = []
        if wrong.changed:
            parts.append(f"other digest than the one {whose}: {told(wrong.changed)}")
        if wrong.missing:
            parts.append(f"missing: {told(wrong.missing)}")
        raise DataSetError(
            f"{placed.name}: not what was expected; {'; '.join(parts)}. Nothing was changed. Look "
            "at the set's page for what is new; --trust-new takes the set as it is now"
        )


def _read_back(placed: Placed, folder: Path, archive: Path) -> int:
    """How many pictures the set's reader finds in an unpacked folder; DataSetError for none."""
    try:
        count = sum(1 for _ in READERS[placed.name].read(folder, folder))
    except UsageError as error:
        raise DataSetError(f"{archive}: {placed.name} cannot be read: {error}") from None
    if count == 0:
        raise DataSetError(f"{archive}: no picture of {placed.name} is in it")
    return count


def _refuse_strange(placed: Placed, root: Path) -> None:
    """DataSetError where a set lies there that was not fetched by us: it is somebody's."""
    folder = set_folder(root, placed.name)
    if folder is None or placed.name in read_lock(root).sets:
        return
    if any(folder.iterdir()):
        raise DataSetError(
            f"{folder}: {placed.name} lies there already and was not fetched by this command, so "
            "it is left as it is. Move it away to fetch the published set"
        )


def _got(
    placed: Placed, root: Path, fetched: FetchedSet, state: State, published: bool | None
) -> Got:
    folder = root / placed.name
    ours = our_digests(placed)
    here = {path: digest for path, digest in fetched.files.items() if path in ours}
    same = sum(ours[path] == digest for path, digest in here.items())
    return Got(
        name=placed.name,
        folder=folder,
        state=state,
        source=fetched.source,
        licence=fetched.licence,
        files=len(fetched.files),
        bytes=sum((folder / path).stat().st_size for path in fetched.files),
        pictures=_read_back(placed, folder, folder),
        pinned=sum(path in fetched.files for path in pinned_digests(placed)),
        same_as_ours=same,
        other_than_ours=len(here) - same,
        archive_as_published=published,
    )


def _as_published(release: Release, archive: Path, sha256: str) -> bool | None:
    """Whether the archive has the digest that was published; None where none was."""
    if release.archive.digest is None:
        return None
    kind, _, expected = release.archive.digest.partition(":")
    if kind == "sha256":
        return sha256 == expected
    with archive.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.md5(usedforsecurity=False)
        ).hexdigest() == (expected)


def _keep(archive: Path, place: Path) -> None:
    """Copy an archive to where it makes a mirror; it is whole there or not there."""
    with space_watched(place.parent, place.name):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        try:
            if place.exists() and place.samefile(archive):
                return
            shutil.copyfile(archive, part)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
