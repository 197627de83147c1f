"""The model bundle that media carried: put into use once its version is proved, and taken back with
the version.

What came of it stands beside the version, in its slot, and is gone with it. It is written before
anything is begun: a pulled plug leaves a bundle that is put into use at the next start.

``python -m edgehemo_firmware.update.carried_bundle DATA BROUGHT [BEFORE]`` takes a bundle back, as
the owner of the data. It prints one line of JSON: the ``bundle`` in use from then on, null where
another stays; or ``error``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgehemo.device.installed_bundles import BundleStore
from edgehemo.device.version_state import Slot
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, BundleError, EdgeHemoError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.strict import Record, RecordError, Text
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.going_back import note_for_the_next_writer
from edgehemo_firmware.update.layout import Place, as_owner, clean_environment
from edgehemo_firmware.update.slots import BUNDLE_NAME

log = logging.getLogger(__name__)

NOTE_NAME = "edgehemo-bundle.json"
# Of what a bundle said before it was refused.
_MAX_PROBLEM = 400
# Installations that may be begun: where the plug is pulled in each, the kiosk goes on without it.
TRIES = 3
# Each artefact answers in each runtime; the slowest board takes a minute.
TIMEOUT_S = 300


class CarriedBundle(Record, frozen=True, kw_only=True):
    """How it stands with the bundle of a version. before: the folder in the device's store that was
    in use; None: the bundle that comes with edgehemo. brought: the folder of the one that was put
    into use. tries_left: installations that may still be begun. problem: why it was refused.
    """

    schema: Literal["edgehemo.carried-bundle/1"] = "edgehemo.carried-bundle/1"
    standing: Literal["begun", "in use", "refused"]
    before: Text | None
    brought: Text | None = None
    tries_left: Annotated[int, Meta(ge=0, le=100)] = TRIES
    problem: str = ""


def bring(place: Place, slot: Slot) -> str:
    """Have a proved version install the bundle that its media carried; why it did not, or nothing.

    Done once: asked again, nothing happens. The version is in force without its bundle: the
    device's stays, or the shipped one serves.
    """
    bundle = place.slot(slot) / BUNDLE_NAME
    if not bundle.is_file():
        return ""
    note = _read(place, slot)
    if note is not None and note.standing != "begun":
        return ""
    try:
        if note is None:
            note = CarriedBundle(standing="begun", before=_in_use(place))
        if note.tries_left == 0:
            return _refused(place, slot, note, f"it was begun {TRIES} times and never ended")
        note = note.model_copy(update={"tries_left": note.tries_left - 1})
        # Before it is begun: where the plug is pulled in it, it was.
        _write(place, slot, note)
        _install(place, slot)
        brought = _in_use(place)
    except BundleError as error:
        return _refused(place, slot, note, str(error))
    done = {"standing": "in use", "brought": brought, "tries_left": TRIES}
    _write(place, slot, note.model_copy(update=done))
    return ""


def take_back(place: Place, slot: Slot) -> str:
    """Have the bundle in use again that was before a version brought its own; what to know of it.

    Where the version is not left after all, `bring` puts its bundle into use again.
    """
    note = _read(place, slot)
    if note is None or note.standing != "in use" or note.brought in (None, note.before):
        return ""
    _write(place, slot, note.model_copy(update={"standing": "begun"}))
    before = [] if note.before is None else [note.before]
    command = [sys.executable, "-P", "-m", __name__, str(place.data), str(note.brought), *before]
    told: dict[str, Any] = {}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            **as_owner(place.records.path),
        )
        said = done.stderr
        with contextlib.suppress(ValueError, IndexError):
            told = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if "bundle" not in told:
        reason = str(told.get("error", said)).strip()[-_MAX_PROBLEM:]
        return _said(f"the model bundle {note.brought} stays in use: {reason}")
    if told["bundle"] is None:
        return _said(f"the model bundle that was installed since {note.brought} stays in use")
    return ""


def problem_of(place: Place, slot: Slot) -> str:
    """Why a version's bundle is not in use, for people; empty where there is nothing to say."""
    note = _read(place, slot)
    return "" if note is None or note.standing != "refused" else note.problem


def _in_use(place: Place) -> str | None:
    """The folder in use in the device's store; None where it is the shipped bundle."""
    return BundleStore(place.data).state().current


def _install(place: Place, slot: Slot) -> None:
    """By the version that is to use it; BundleError with its words."""
    folder = place.slot(slot)
    command = [str(folder / "bin" / "edgehemo"), "bundle", "install", str(folder / BUNDLE_NAME)]
    try:
        done = subprocess.run(
            command,
            cwd="/",
            # Its owner has no home among root's; what it needs is named or lies below the data.
            env={**clean_environment(), "HOME": str(place.data)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            **as_owner(place.records.path),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(str(error)) from None
    if done.returncode:
        raise BundleError(" ".join(done.stderr.split())[-_MAX_PROBLEM:])


def _refused(place: Place, slot: Slot, note: CarriedBundle | None, why: str) -> str:
    reason = f"the model bundle was not installed: {why}"
    before = None if note is None else note.before
    _write(place, slot, CarriedBundle(standing="refused", before=before, problem=reason))
    return _said(reason)


def _said(reason: str) -> str:
    log.warning("%s", reason)
    return reason


def _read(place: Place, slot: Slot) -> CarriedBundle | None:
    """What stands in a slot; None where nothing does, or it cannot be read: then it is begun
    anew, and what is installed already is found so.
    """
    try:
        content = (place.slot(slot) / NOTE_NAME).read_bytes()
        return CarriedBundle.model_validate(msgspec.json.decode(content))
    except (OSError, msgspec.DecodeError, RecordError):
        return None


def _write(place: Place, slot: Slot, note: CarriedBundle) -> None:
    write_text_atomically(place.slot(slot) / NOTE_NAME, note.model_dump_json(indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Take a bundle back, and have it in the chain of the records."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("brought")
    parser.add_argument("before", nargs="?")
    given = parser.parse_args(arguments)
    folder = RecordsFolder.below(given.data)
    try:
        bundle = BundleStore(given.data).take_back(given.brought, given.before)
        if bundle is not None and folder.exists():
            made = bundle.manifest
            changed = {"name": made.name, "serial": made.serial, "sha256": bundle.digest}
            note_for_the_next_writer(folder, "bundle changed", changed)
    except EdgeHemoError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return EXIT_BAD_INPUT
    sys.stdout.write(json.dumps({"bundle": None if bundle is None else bundle.digest}) + "\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
