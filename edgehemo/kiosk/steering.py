"""How the kiosk takes what its laboratory publishes: when, what is told, and what is on trial."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.receivers import is_enrolled
from edgehemo.interop.steered import Occasion
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.screens import SampleStep
from edgehemo.kiosk.state import Checked, KioskState
from edgehemo.published.noting import note_of
from edgehemo.published.state import FOLDER, Published, PublishedStore
from edgehemo.published.using import Using, judged, on_trial
from edgehemo.records.store import Writer

log = logging.getLogger(__name__)

# Steps in which the camera or a model is at work.
_AT_WORK: frozenset[SampleStep] = frozenset({"check", "capture", "analysis"})
# Before the first self-check with a bundle these are taken for its fault.
OF_THE_BUNDLE = ("BUNDLE_REFUSED", "OUT_OF_MEMORY", "WORKER_CRASHED")


def is_screening(state: KioskState) -> bool:
    """Whether a sample is taken or read now, in hand or left to finish by itself."""
    return any(each.step in _AT_WORK for each in state.samples)


def occasion_of(kiosk: Kiosk) -> Occasion:
    """When something may be fetched, and put in use by itself: asked from other threads."""
    return Occasion(
        fetching=lambda: not is_screening(kiosk.state),
        switching=lambda: kiosk.state.session is None and not is_screening(kiosk.state),
    )


def has_updates(device: DeviceConfiguration) -> bool:
    """Whether there is a laboratory that may publish something, or something came before."""
    return (
        any(is_enrolled(each) for each in device.receivers) or (device.data_dir / FOLDER).is_dir()
    )


def waiting_updates(device: DeviceConfiguration) -> int:
    """How many wait for a person."""
    return len(PublishedStore(device.data_dir).state().waiting())


def judge_by_checks(
    device: DeviceConfiguration, writer: Writer, checks: Sequence[Checked]
) -> Published | None:
    """A self-check was made: what is on trial is good, or is left. In the thread that writes."""
    item = on_trial(device.data_dir)
    line = next((each for each in checks if each.name == "bundle"), None)
    if item is None or line is None:
        return None
    fault = ""
    if line.verdict == "fails":
        fault = line.code or "it cannot be opened"
    elif line.fact != f"{item.name} {item.serial}":
        # What cannot be opened gives way to the one before, and the check says which.
        fault = f"it could not be opened, {line.fact} was"
    return _judged(device, writer, fault)


def judge_by_fault(device: DeviceConfiguration, writer: Writer, code: str) -> Published | None:
    """Something failed before a self-check was made with what is on trial."""
    return _judged(device, writer, code) if code in OF_THE_BUNDLE else None


def _judged(device: DeviceConfiguration, writer: Writer, fault: str) -> Published | None:
    left = judged(Using(device), fault)
    if left is not None:
        note_in(writer, left, f"laboratory {left.origin}")
    return left


def note_in(writer: Writer, item: Published, by: str) -> None:
    """Have it in the chain of the records what became of a publication."""
    noted = note_of(item)
    if noted is not None:
        action, details = noted
        writer.note(action, details=details, by=by)


def told_by(
    kiosk: Kiosk, take_up: Callable[[DeviceConfiguration], None], load: Callable[[], Any]
) -> Callable[[Published], None]:
    """What the sender calls when a publication moved: pages are made anew, settings taken up."""

    def told(item: Published) -> None:
        if item.kind == "settings" and item.standing in ("in use", "fell back"):
            take_up(load())
        else:
            kiosk.from_thread(kiosk.bump)

    return told
