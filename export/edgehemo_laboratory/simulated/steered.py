"""Simulated kiosks that take what is published: the device's own code, but that the test slide is
not read, and that some fail on purpose, always the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgehemo.device.changing import change_receiver
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.interop.access import OwnWriter
from edgehemo.interop.fetching import Road
from edgehemo.interop.laboratory import Offer
from edgehemo.interop.receivers.https import HttpAnswer
from edgehemo.interop.states import Failed
from edgehemo.interop.steered import Steered
from edgehemo.interop.visiting import Visits
from edgehemo.published.reports import RunningBundle
from edgehemo.published.running import running_on
from edgehemo.published.slide import SlideNumbers
from edgehemo.published.using import Using, judged, on_trial
from edgehemo.records.store import Store
from edgehemo_laboratory.simulated.kiosk import SimulatedKiosk

# What goes wrong with a publication on a kiosk: its test slide gives other numbers, its self-check
# finds fault with it after the switch, or the connection is cut in the middle of each download.
Failing = Literal["", "slide", "self-check", "cut"]
# How much other numbers differ.
_OTHER = 1.5


@dataclass
class SteeredKiosk(SimulatedKiosk):
    """One. fails: serials of bundles, and how each goes wrong here."""

    fails: Mapping[int, Failing] = field(default_factory=dict)

    def set_up(self) -> None:
        """Write its configuration, and begin its records."""
        super().set_up()
        with self._here() as device, Store.below(device.data_dir).writer():
            pass

    def takes_by_itself(self) -> None:
        """What is published is put in use without a person; once it was enrolled."""
        with self._here() as device:
            for receiver in device.receivers:
                change_receiver(receiver.name, {"publications": "by itself"})

    def visit(self) -> None:
        """Visit, and make a self-check, as a day begins."""
        with self._here() as device:
            access = OwnWriter(Store.below(device.data_dir), lambda _: None)
            kind = _Cut if "cut" in self.fails.values() else Steered
            for receiver in device.receivers:
                steered = kind(receiver, using=self._using)
                Visits(receiver, access, device.name, configuration=device, steered=steered).turn()
            item = on_trial(device.data_dir)
            if item is not None:
                wrong = self.fails.get(item.serial) == "self-check"
                judged(self._using(device), "BUNDLE_REFUSED" if wrong else "")

    def _using(self, device: DeviceConfiguration) -> Using:
        return Using(device, reads=lambda path: self._numbers(device, path))

    def _numbers(self, device: DeviceConfiguration, bundle: Path) -> SlideNumbers:
        """What is expected of what is tried; other numbers where that fails here."""
        state = Using(device).store.state()
        (item,) = [each for each in state.items if each.standing == "putting"]
        assert item.expected is not None, "a bundle is offered with its numbers"
        if self.fails.get(item.serial) != "slide":
            return item.expected
        indices = {name: _OTHER * value for name, value in item.expected.indices.items()}
        return item.expected.model_copy(update={"indices": indices})

    def runs(self) -> RunningBundle:
        """The bundle that runs on it."""
        with self._here() as device:
            found = running_on(device, "laboratory", "asked").bundle
            assert found is not None, "there is always the one that comes with edgehemo"
            return found

    def outcomes(self) -> list[tuple[int, str]]:
        """Serial and standing of everything that it was offered."""
        with self._here() as device:
            return [(each.serial, each.standing) for each in Using(device).store.state().items]


class _Cut(Steered):
    """A connection that breaks off after one part of a download, at each visit."""

    def offered(self, offers: Sequence[Offer], road: Road) -> bool:
        return super().offered(offers, _OnePart(road))


class _OnePart:
    def __init__(self, road: Road) -> None:
        self._road, self._parts = road, 0

    def send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer | Failed:
        self._parts += 1
        if self._parts > 1:
            return Failed("RECEIVER_SILENT", "cut off")
        return self._road.send(method, url, body, headers)
