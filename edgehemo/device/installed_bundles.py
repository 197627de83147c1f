"""Model bundles installed on a device: one in use, the last good one kept, no way back by accident.

A bundle is checked whole (signature, digests, strangers) in a folder of its own before it counts.
What counts is one small state file, written atomically and twice: a pulled plug leaves the old
bundle in use or the new one, never half of one. Serials only rise; going back is `rollback`, done
on purpose. One process at a time changes the store. Where the bundle in use is damaged a device
goes on with the one before or the one that comes with edgehemo, and says so each time.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import field

from edgehemo.bundle.bundle import (
    MANIFEST_NAME,
    SHIPPED_BUNDLE,
    SIGNATURE_NAME,
    Bundle,
    load_bundle,
)
from edgehemo.bundle.manifest import MAX_SERIAL, ModelTask
from edgehemo.bundle.packing import MAX_FILES, MAX_UNPACKED_BYTES, pack_files, unpack
from edgehemo.errors import BundleError
from edgehemo.files.atomic import flush_folder, write_text_atomically
from edgehemo.files.lock import locked
from edgehemo.files.strict import Record, RecordError

log = logging.getLogger(__name__)

STATE_NAME = "state.json"
# The same once more: what stands in it counts where the first is missing or damaged.
STATE_COPY_NAME = "state.copy.json"
# A serial further above the highest known one is a mistake that would lock out all that follow. A
# serial may be a date (20261127).
MAX_SERIAL_STEP = 100_000_000
# What no screening can do without.
NEEDED_TASK: ModelTask = "cell_finder"
# A folder in the store: its name, serial and the beginning of its digest.
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
FOLDER = "bundles"


class StoreState(Record, frozen=True, kw_only=True):
    """current, previous: folders in the store. highest_serial: ever installed, by bundle name.
    rolled_back: the current one is older than the highest on purpose.
    """

    schema: Literal["edgehemo.bundle-store/1"] = "edgehemo.bundle-store/1"
    current: str | None = None
    previous: str | None = None
    highest_serial: dict[str, int] = field(default_factory=dict)
    rolled_back: bool = False


@dataclass(frozen=True)
class Installed:
    """One bundle in the store. problem: why it cannot be used, None where it can."""

    folder: str
    current: bool
    previous: bool
    bundle: Bundle | None
    problem: str | None


class BundleStore:
    """The bundles below a device's data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FOLDER
        self._said: set[str] = set()

    def state(self) -> StoreState:
        """What is installed.

        Where the state file is missing or damaged its copy counts, else what the bundles in the
        store say themselves, and that is said. BundleError for a damaged one without either.
        """
        file, copy = self.path / STATE_NAME, self.path / STATE_COPY_NAME
        problem: BundleError | None = None
        try:
            if (found := _read_state(file)) is not None:
                return found
        except BundleError as error:
            problem = error
        try:
            found = _read_state(copy)
        except BundleError:
            found = None
        if found is None:
            found = self._told_by_the_bundles()
        if found is not None:
            self._warn(
                f"{file}: is {'missing' if problem is None else 'damaged'}; its copy is used"
            )
            return found
        if problem is not None:
            raise problem
        return StoreState()

    def _told_by_the_bundles(self) -> StoreState | None:
        """The newest whole bundle as the one in use, the next as the one before; None without."""
        whole = [item.bundle for item in self._stored() if item.bundle and item.problem is None]
        if not whole:
            return None
        whole.sort(key=lambda bundle: (bundle.manifest.created_at, bundle.manifest.serial))
        highest: dict[str, int] = {}
        for bundle in whole:
            name = bundle.manifest.name
            highest[name] = max(highest.get(name, 0), bundle.manifest.serial)
        folders = [bundle.path.name for bundle in reversed(whole)]
        return StoreState(
            current=folders[0],
            previous=folders[1] if len(folders) > 1 else None,
            highest_serial=highest,
        )

    def _warn(self, message: str) -> None:
        """Say it once."""
        if message not in self._said:
            self._said.add(message)
            log.warning("%s", message)

    def current(self) -> Path | None:
        """The folder in use; None where nothing was installed."""
        name = self.state().current
        return None if name is None else self.path / name

    def refuse_older(self, bundle: Bundle) -> None:
        """BundleError for a bundle older than one of its name that was installed here.

        The one that `rollback` went back to is no such.
        """
        state = self.state()
        name = bundle.manifest.name
        highest = _known_serial(state, name)
        if bundle.manifest.serial >= highest:
            return
        back = state.rolled_back and self.current() is not None
        if back and bundle.path.resolve() == (self.path / str(state.current)).resolve():
            return
        raise BundleError(
            f"{bundle.shown}: is serial {bundle.manifest.serial} of {name}, serial {highest} was "
            "installed here; an older bundle is not used (`edgehemo bundle rollback` goes back to "
            "the last one)"
        )

    def install(self, source: Path) -> Bundle:
        """Check a bundle folder or ZIP and put it into use; the one before is kept.

        Its artefacts are opened and asked for answers, in each runtime that is installed here.
        Raises BundleError and leaves what was in use where anything is wrong with it.
        """
        with self._locked():
            return self._install(source)

    def _install(self, source: Path) -> Bundle:
        self._sweep()
        staging = Path(tempfile.mkdtemp(prefix=".incoming.", dir=self.path))
        try:
            if source.is_dir():
                _copy_folder(source, staging)
            else:
                unpack(source, staging)
            bundle = load_bundle(staging, origin=source)
            check_whole(bundle)
            _refuse_useless(bundle)
            self.refuse_older(bundle)
            self._refuse_far_off(bundle)
            _refuse_wrong_answers(bundle)
            manifest = bundle.manifest
            name = f"{manifest.name}-{manifest.serial}-{bundle.digest[:12]}"
            state = self.state()
            target = self.path / name
            if _is_whole(target):  # in use, the one before, or of an interrupted installation
                shutil.rmtree(staging)
                if name == state.current:
                    return load_bundle(target)
            else:
                if target.exists():
                    shutil.rmtree(target)
                _flush(staging)
                staging.chmod(0o755)
                staging.rename(target)
            flush_folder(self.path)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        highest = max(_known_serial(state, manifest.name), manifest.serial)
        self._store(
            StoreState(
                current=name,
                previous=state.current if name != state.current else state.previous,
                highest_serial={**state.highest_serial, manifest.name: highest},
            )
        )
        self._sweep()
        return load_bundle(target)

    def rollback(self) -> Bundle:
        """Go back to the bundle before; BundleError where there is none or it is damaged."""
        with self._locked():
            return self._rollback()

    def _rollback(self) -> Bundle:
        state = self.state()
        if state.previous is None:
            raise BundleError("there is no bundle to go back to: none was in use before this one")
        bundle = load_bundle(self.path / state.previous)
        check_whole(bundle)
        highest = _known_serial(state, bundle.manifest.name)
        self._store(
            state.model_copy(
                update={
                    "current": state.previous,
                    "previous": state.current,
                    "rolled_back": bundle.manifest.serial < highest,
                }
            )
        )
        return bundle

    def take_back(self, brought: str, before: str | None) -> Bundle | None:
        """Have the bundle in use again that was before an update brought another.

        brought, before: folders in the store; before None: the one that comes with edgehemo. None
        where another is in use than the one that was brought: what a person chose since stays.
        BundleError where the one before is damaged or gone; nothing is changed then.
        """
        with self._locked():
            state = self.state()
            if state.current != brought:
                return None
            if before is None:
                bundle, older = load_bundle(SHIPPED_BUNDLE), False
            else:
                bundle = load_bundle(self.path / before)
                check_whole(bundle)
                older = bundle.manifest.serial < _known_serial(state, bundle.manifest.name)
            changed = {"current": before, "previous": brought, "rolled_back": older}
            self._store(state.model_copy(update=changed))
            return bundle

    def installed(self) -> list[Installed]:
        """All bundles in the store, the one in use first."""
        state = self.state()
        out = [
            replace(
                item, current=item.folder == state.current, previous=item.folder == state.previous
            )
            for item in self._stored()
        ]
        return sorted(out, key=lambda item: (not item.current, not item.previous, item.folder))

    def _stored(self) -> list[Installed]:
        """The bundles in the store, whatever the state says of them."""
        out = []
        for path in sorted(self.path.glob("[!.]*")):
            if not path.is_dir() or path.is_symlink():
                continue
            bundle, problem = None, None
            try:
                bundle = load_bundle(path)
                check_whole(bundle)
            except BundleError as error:
                problem = str(error)
            out.append(Installed(path.name, False, False, bundle, problem))
        return out

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.path / STATE_NAME, BundleError)

    def _store(self, state: StoreState) -> None:
        text = state.model_dump_json(indent=2) + "\n"
        # The copy after: it may be behind, and must not be ahead of what is in use.
        write_text_atomically(self.path / STATE_NAME, text)
        write_text_atomically(self.path / STATE_COPY_NAME, text)

    def _sweep(self) -> None:
        """Delete what is neither in use nor the one before, and what was interrupted."""
        state = self.state()
        for path in self.path.iterdir():
            if path.is_dir() and path.name not in (state.current, state.previous):
                shutil.rmtree(path, ignore_errors=True)

    def _refuse_far_off(self, bundle: Bundle) -> None:
        """BundleError for a serial after which no other could be installed."""
        name, serial = bundle.manifest.name, bundle.manifest.serial
        highest = _known_serial(self.state(), name)
        if serial > highest + MAX_SERIAL_STEP:
            raise BundleError(
                f"{bundle.shown}: its serial {serial} is far above {highest}, the highest "
                f"of {name} here: it would lock out all that follow; export it with the next serial"
            )


def open_in_use(data_dir: Path) -> Bundle:
    """The bundle a device should screen with: the installed one, else the shipped one.

    The shipped bundle counts as well where it is of the same name and newer: after an update of
    edgehemo. Where the installed one is damaged the one before is opened, else the shipped one, and
    a warning says so each time.
    """
    store = BundleStore(data_dir)
    shipped = load_bundle(SHIPPED_BUNDLE)
    try:
        state = store.state()
    except BundleError as error:
        log.warning("%s. Until then the bundle that comes with edgehemo is used", error)
        return shipped
    if state.current is None:
        return shipped
    problem: str | None = None
    for name in (state.current, state.previous):
        if name is None:
            continue
        try:
            bundle = load_bundle(store.path / name)
            check_whole(bundle)
            if problem is None:
                store.refuse_older(bundle)
        except BundleError as error:
            problem = problem or str(error)
            continue
        newer = _is_newer(shipped, bundle)
        _say_fallback(problem, shipped if newer else bundle)
        return shipped if newer else bundle
    _say_fallback(problem, shipped)
    return shipped


def _is_newer(shipped: Bundle, installed: Bundle) -> bool:
    one, other = shipped.manifest, installed.manifest
    return one.name == other.name and one.serial > other.serial


def _say_fallback(problem: str | None, used: Bundle) -> None:
    if problem is not None:
        log.warning(
            "the bundle in use cannot be opened (%s). Serial %d is used instead (%s); install the "
            "newest bundle again",
            problem,
            used.manifest.serial,
            used.digest[:12],
        )


def _read_state(file: Path) -> StoreState | None:
    """The state a file holds, None where there is no file; BundleError where it is damaged."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file}: cannot be read ({error})") from None
    try:
        state = StoreState.model_validate(msgspec.json.decode(text))
    except (RecordError, msgspec.DecodeError, RecursionError):
        state = None
    if state is None or not all(
        _FOLDER_NAME.fullmatch(name) for name in (state.current, state.previous) if name is not None
    ):
        raise BundleError(f"{file}: is damaged; delete it and install the bundle again")
    return state


def _known_serial(state: StoreState, name: str) -> int:
    """The highest serial of a name that was installed; one that no bundle can have counts not."""
    highest = state.highest_serial.get(name, 0)
    return highest if highest <= MAX_SERIAL else 0


def _is_whole(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        check_whole(load_bundle(folder))
    except BundleError:
        return False
    return True


def _refuse_useless(bundle: Bundle) -> None:
    """BundleError for a bundle with which nothing can be screened."""
    if not bundle.has(NEEDED_TASK):
        raise BundleError(
            f"{bundle.shown}: holds no {NEEDED_TASK}, without which nothing can be screened; "
            "export it with one"
        )


def check_whole(bundle: Bundle) -> None:
    """Every digest right and nothing there that the manifest does not name, else BundleError."""
    bundle.check_files()
    strangers = bundle.strangers()
    if strangers:
        raise BundleError(
            f"{bundle.shown}: holds {strangers[0]}, which its manifest does not name; "
            "install the bundle again from where it was made"
        )


def _refuse_wrong_answers(bundle: Bundle) -> None:
    """BundleError for an artefact that does not open or answer here as where it was made."""
    # Who screens with what is installed does not wait for what checks a bundle before it is.
    from edgehemo.inference.verification import verify_artefacts  # noqa: PLC0415

    for row in verify_artefacts(bundle, threads=1):
        if row.gate == "fail":
            said = str(row.problem).removeprefix(f"{row.artefact.file}: ")
            raise BundleError(f"{bundle.shown}: {row.artefact.file}: {said}")


def pack(folder: Path, target: Path) -> None:
    """A bundle folder as one ZIP file, in a fixed order and without times."""
    bundle = load_bundle(folder, trust="files-only")
    check_whole(bundle)
    names = [MANIFEST_NAME, SIGNATURE_NAME, *sorted(bundle.digests())]
    pack_files(folder, [name for name in names if (folder / name).is_file()], target)


def _copy_folder(source: Path, target: Path) -> None:
    total = 0
    for number, path in enumerate(_files(source)):
        total += path.stat().st_size
        if total > MAX_UNPACKED_BYTES or number >= MAX_FILES:
            raise BundleError(f"{source}: is too large to be a bundle")
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise BundleError(f"{folder}: {path.name} is a link; a bundle holds files only")
        if path.is_file():
            yield path


def _flush(folder: Path) -> None:
    """Have every file on the disk before anything points at it."""
    for path in folder.rglob("*"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
