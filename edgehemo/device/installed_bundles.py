"""Model bundles installed on a device: one in use, the last good one kept, no way back by accident.

A bundle is checked whole (signature, digests, strangers) in a folder of its own before it counts.
What counts is one small state file, written atomically: a pulled plug leaves the old bundle in use
or the new one, never half of one. Serials only rise; going back is `rollback`, done on purpose.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
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
from edgehemo.bundle.packing import MAX_FILES, MAX_UNPACKED_BYTES, pack_files, unpack
from edgehemo.errors import BundleError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.strict import Record, RecordError

STATE_NAME = "state.json"
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

    def state(self) -> StoreState:
        """BundleError where the state file is damaged."""
        file = self.path / STATE_NAME
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return StoreState()
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{file}: cannot be read ({error})") from None
        try:
            return StoreState.model_validate(msgspec.json.decode(text))
        except (RecordError, msgspec.DecodeError, RecursionError):
            raise BundleError(
                f"{file}: is damaged; delete it and install the bundle again"
            ) from None

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
        highest = state.highest_serial.get(name, 0)
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
        self.path.mkdir(parents=True, exist_ok=True)
        self._sweep()
        staging = Path(tempfile.mkdtemp(prefix=".incoming.", dir=self.path))
        try:
            if source.is_dir():
                _copy_folder(source, staging)
            else:
                unpack(source, staging)
            bundle = load_bundle(staging, origin=source)
            check_whole(bundle)
            self.refuse_older(bundle)
            _refuse_wrong_answers(bundle)
            manifest = bundle.manifest
            name = f"{manifest.name}-{manifest.serial}-{bundle.digest[:12]}"
            state = self.state()
            if name == state.current:
                shutil.rmtree(staging)
                return load_bundle(self.path / name)
            target = self.path / name
            if target.exists():  # what an interrupted installation left, or an earlier rollback
                shutil.rmtree(target)
            _flush(staging)
            staging.chmod(0o755)
            staging.rename(target)
            _flush_folder(self.path)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        highest = max(state.highest_serial.get(manifest.name, 0), manifest.serial)
        self._store(
            StoreState(
                current=name,
                previous=state.current,
                highest_serial={**state.highest_serial, manifest.name: highest},
            )
        )
        self._sweep()
        return load_bundle(target)

    def rollback(self) -> Bundle:
        """Go back to the bundle before; BundleError where there is none or it is damaged."""
        state = self.state()
        if state.previous is None:
            raise BundleError("there is no bundle to go back to: none was in use before this one")
        bundle = load_bundle(self.path / state.previous)
        check_whole(bundle)
        highest = state.highest_serial.get(bundle.manifest.name, 0)
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

    def installed(self) -> list[Installed]:
        """All bundles in the store, the one in use first."""
        state = self.state()
        out = []
        for path in sorted(self.path.glob("[!.]*")):
            if not path.is_dir():
                continue
            bundle, problem = None, None
            try:
                bundle = load_bundle(path)
                check_whole(bundle)
            except BundleError as error:
                problem = str(error)
            out.append(
                Installed(
                    path.name,
                    path.name == state.current,
                    path.name == state.previous,
                    bundle,
                    problem,
                )
            )
        return sorted(out, key=lambda item: (not item.current, not item.previous, item.folder))

    def _store(self, state: StoreState) -> None:
        text = state.model_dump_json(indent=2) + "\n"
        write_text_atomically(self.path / STATE_NAME, text)

    def _sweep(self) -> None:
        """Delete what is neither in use nor the one before, and what was interrupted."""
        state = self.state()
        for path in self.path.iterdir():
            if path.is_dir() and path.name not in (state.current, state.previous):
                shutil.rmtree(path, ignore_errors=True)


def in_use(data_dir: Path) -> Path | None:
    """The installed bundle a device should screen with; None stands for the shipped one.

    The shipped bundle counts where it is of the same name and newer: after an update of edgehemo.
    """
    store = BundleStore(data_dir)
    folder = store.current()
    if folder is None:
        return None
    installed = load_bundle(folder).manifest
    shipped = load_bundle(SHIPPED_BUNDLE).manifest
    return None if shipped.name == installed.name and shipped.serial > installed.serial else folder


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


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
