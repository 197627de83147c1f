"""The sender: threads beside the kiosk, or a process of its own. One at a time on a device.

What is under way when a process is killed is sent again by the next one, under the same identity.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.receiver_files import ReceiverFileError, not_installed
from edgehemo.device.receivers import Receiver, is_enrolled
from edgehemo.errors import EdgeHemoError, place_of
from edgehemo.interop.access import Access, SenderStoppedError, only_sender
from edgehemo.interop.asking import is_asked, take_asked
from edgehemo.interop.health import TOLD_EVERY_S, health_of
from edgehemo.interop.lane import Lane
from edgehemo.interop.outbox import forget_delivered
from edgehemo.records.clock import now

if TYPE_CHECKING:
    from edgehemo.interop.receivers.mqtt_health import MqttTeller
    from edgehemo.interop.steered import Occasion
    from edgehemo.interop.visiting import Visits
    from edgehemo.published.state import Published

log = logging.getLogger(__name__)

# How often is looked whether something was noted or asked.
LOOK_EVERY_S = 1.0
# How often another process that sends is asked whether it still does.
_TAKE_OVER_EVERY_S = 5.0
# After a fault of the records themselves.
_AFTER_FAULT_S = 30.0
_FORGET_EVERY_S = 6 * 3600.0
# How long a thread may take to end once it was told to; a receiver may be waited for longer.
_END_WITHIN_S = 2.0


class Sender:
    """Sends to the receivers of a device for as long as it runs, and tells its health.

    moved: called, from its threads, when something was received, refused or failed. fault: asked,
    likewise, for the code of what stops the kiosk's work. occasion: when what a laboratory
    publishes may be fetched and put in use; None, and it is fetched alone, for another process may
    screen. published: called when it moved.
    """

    def __init__(
        self,
        device: DeviceConfiguration,
        access: Access,
        *,
        moved: Callable[[], None] = lambda: None,
        fault: Callable[[], str | None] = lambda: None,
        occasion: Occasion | None = None,
        published: Callable[[Published], None] = lambda _: None,
    ) -> None:
        self._device = device
        self._fault = fault
        self._access = access
        self._occasion, self._published = occasion, published
        self._lanes = [
            Lane(each, access, device.name, moved=moved)
            for each in device.receivers
            if each.takes is not None
        ]
        self._enrolled = [each for each in device.receivers if is_enrolled(each)]
        self._brokers = [each for each in device.receivers if each.takes is None]
        self._tellers: dict[str, MqttTeller] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._forget_at_s = self._tell_at_s = 0.0

    def start(self) -> None:
        """Send in threads of their own, once no other process does; nothing without receivers."""
        if self._lanes or self._brokers:
            self._thread = threading.Thread(target=self.run, name="outbox", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End. What is under way is not written down any more and is sent again next time."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_END_WITHIN_S)
        self._access.stop()

    def run(self) -> None:
        """Send until told to stop."""
        while not self._stop.is_set():
            with only_sender(self._access.folder) as alone:
                if alone:
                    self._run_lanes()
                    return
            log.info("another process sends; waiting for its end")
            self._stop.wait(_TAKE_OVER_EVERY_S)

    def _run_lanes(self) -> None:
        threads = [
            threading.Thread(
                target=self._guarded, args=(lane.turn, lane), name=f"outbox-{lane.receiver.name}",
                daemon=True,
            )
            for lane in self._lanes
        ]  # fmt: skip
        threads += [self._visiting(each) for each in self._enrolled]
        for thread in threads:
            thread.start()
        self._guarded(self._keep_house, None)
        for teller in self._tellers.values():
            teller.close()
        # Nobody else sends before the last of them is through, however long it waits for an answer.
        for thread in threads:
            thread.join()

    def _visiting(self, receiver: Receiver) -> threading.Thread:
        # Its libraries are loaded where a laboratory is configured.
        from edgehemo.interop.steered import Occasion, Steered  # noqa: PLC0415
        from edgehemo.interop.visiting import Visits  # noqa: PLC0415

        occasion = self._occasion or Occasion(switching=lambda: False)
        steered = Steered(receiver, occasion=occasion, told=self._told_published)
        visits = Visits(
            receiver, self._access, self._device.name, configuration=self._device, steered=steered
        )
        return threading.Thread(
            target=self._guarded, args=(visits.turn, visits), name=f"visits-{receiver.name}",
            daemon=True,
        )  # fmt: skip

    def _told_published(self, item: Published) -> None:
        """Have it in the chain of the records what became of a publication that was put in use."""
        # Its module is loaded where a laboratory is configured.
        from edgehemo.published.noting import note_of  # noqa: PLC0415

        if (noted := note_of(item)) is not None:
            action, details = noted
            with self._access.writing() as writer:
                writer.note(action, details=details, by=f"laboratory {item.origin}")
        self._published(item)

    def _guarded(self, work: Callable[[], float | None], lane: Lane | Visits | None) -> None:
        """Do something again and again; a fault of it ends neither it nor the process."""
        while not self._stop.is_set():
            try:
                wait_s = work()
            except SenderStoppedError:
                break
            except Exception as error:
                # Not its message, which may hold a patient's data.
                log.error("the outbox: %s at %s", type(error).__name__, place_of(error))
                self._stop.wait(_AFTER_FAULT_S)
                continue
            # A person may ask for what waits, and a clock may be set: no long sleep.
            if wait_s != 0.0:
                self._stop.wait(LOOK_EVERY_S if wait_s is None else min(wait_s, LOOK_EVERY_S))
        if lane is not None:
            lane.close()

    def _keep_house(self) -> float | None:
        """Do what persons asked, and let go of what was delivered long ago."""
        now_s = time.time()
        if is_asked(self._access.folder):
            with self._access.writing() as writer:
                take_asked(writer, now_s=now_s)
            for lane in self._lanes:
                lane.hurry()
        if time.monotonic() >= self._forget_at_s:
            self._forget_at_s = time.monotonic() + _FORGET_EVERY_S
            with self._access.writing() as writer:
                forget_delivered(writer, writer.stamp())
        if self._brokers and time.monotonic() >= self._tell_at_s:
            self._tell_at_s = time.monotonic() + TOLD_EVERY_S
            self._tell_health()
        return None

    def _tell_health(self) -> None:
        """Tell the brokers how this device is. What goes wrong with one costs nothing else."""
        try:
            # What is looked at and the library are loaded where a broker is configured; the library
            # may not be installed.
            from edgehemo.interop.device_state import state_of  # noqa: PLC0415
            from edgehemo.interop.equipment_state import equipment_state  # noqa: PLC0415
            from edgehemo.interop.receivers.mqtt_health import MqttTeller  # noqa: PLC0415
        except ModuleNotFoundError as error:
            why = not_installed(str(error.name))
            log.warning("nobody is told of this device's health: %s", why)
            self._brokers = []
            return
        at = now()
        equipment = equipment_state(self._device)
        with self._access.reading() as reader:
            try:
                state = state_of(reader, self._device, at).checked()
            except (EdgeHemoError, OSError, ValueError):
                state = None
            health = health_of(
                reader, self._device, at.isoformat(timespec="seconds"), state=state,
                equipment=equipment, fault=self._fault(),
            )  # fmt: skip
        for broker in self._brokers:
            try:
                if broker.name not in self._tellers:
                    teller = MqttTeller(broker, health.store, self._device.name)
                    self._tellers[broker.name] = teller
                self._tellers[broker.name].tell(health)
            except (ReceiverFileError, OSError, ValueError) as error:
                called = broker.name
                log.warning("%s is not told of this device's health: %s", called, error)


def send_once(lanes: Sequence[Lane]) -> None:
    """Have every lane send what is due now, beside each other; raises what one of them met."""
    with ThreadPoolExecutor(max(1, len(lanes)), thread_name_prefix="outbox") as pool:
        for done in [pool.submit(_emptied, lane) for lane in lanes]:
            done.result()


def _emptied(lane: Lane) -> None:
    try:
        while lane.turn() == 0.0:
            pass
    finally:
        lane.close()
