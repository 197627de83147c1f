"""`edgehemo outbox`: what waits to be sent, what was received, and sending it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, RecordsBusyError, UsageError

if TYPE_CHECKING:
    from edgehemo.device.configuration import DeviceConfiguration
    from edgehemo.interop.outbox import Row
    from edgehemo.interop.output import ReceiverEntry
    from edgehemo.interop.states import State
    from edgehemo.records.store import Reader, Store

STATES = ("noted", "pending", "retrying", "delivered", "refused")
_KIOSK_SENDS = (
    "the kiosk or another sender runs and sends by itself; `edgehemo outbox list` shows how far it "
    "is"
)


@click.group()
def outbox() -> None:
    """Show what waits to be sent to the receivers of this device, and what they have received.

    Every signed, corrected or withdrawn result is noted for each receiver of the device
    configuration. A kiosk sends by itself; elsewhere `edgehemo outbox send` does.
    """


@outbox.command(name="list")
@click.option("--state", type=click.Choice(STATES), help="In this state.")
@click.option("--open", "is_open", is_flag=True, help="Still to be sent, in whichever state.")
@click.option("--receiver", metavar="NAME", help="For this receiver.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
@common.json_option
def list_(
    state: State | None,
    is_open: bool,
    receiver: str | None,
    limit: int,
    json_file: str | None,
) -> int:
    """The receivers and their messages, newest first.

    "noted here": it is in the records of this device and will be sent. "received there": the
    receiver has said that it has it.
    """
    from edgehemo.interop.outbox import listed, numbers
    from edgehemo.interop.output import OutboxEntry, OutboxOutput
    from edgehemo.interop.states import OPEN

    if state is not None and is_open:
        raise UsageError("give --state or --open, not both")
    states = OPEN if is_open else () if state is None else (state,)
    device, store = _device_and_store()
    rows: list[Row] = []
    found = 0
    if store.folder.exists():
        with store.reader() as reader:
            receivers = _receivers(device, reader)
            rows = listed(reader, states=states, receiver=receiver, limit=limit)
            found = len(rows)
            if found == limit:
                found = len(numbers(reader, states=states, receiver=receiver))
    else:
        receivers = _receivers(device, None)
    for entry in receivers:
        for line in _receiver_lines(entry):
            common.say(line, json_file)
    if not receivers:
        common.say("this device has no receivers; the device configuration names them", json_file)
    for row in rows:
        common.say(_line(row), json_file)
    if found > len(rows):
        common.say(f"{len(rows)} of {found}; --limit shows more", json_file)
    output = OutboxOutput(
        receivers=receivers, found=found, messages=[OutboxEntry.of(row) for row in rows]
    )
    common.write_json(json_file, output)
    return EXIT_DONE


@outbox.command()
@click.argument("which", metavar="ID|NUMBER")
@click.option(
    "--message",
    "message_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what is sent to FILE. That it was read is noted in the chain.",
)
@common.json_option
def show(which: str, message_file: Path | None, json_file: str | None) -> int:
    """The messages of one result, or one message by its number: where it is and what is wrong.

    ID: the result's identifier, or its first four characters. NUMBER: as `list` shows it.
    """
    from edgehemo.files.atomic import written_atomically
    from edgehemo.guidance.catalogue import guidance
    from edgehemo.interop.outbox import message_body
    from edgehemo.interop.output import OutboxEntry, OutboxShowOutput

    _, store = _device_and_store()
    with store.reader() as reader:
        rows = _named(reader, which)
        if message_file is not None:
            if len(rows) != 1:
                raise UsageError("name one message by its number to have it written")
            body = message_body(reader, rows[0])
            _note_viewed(reader, rows[0])
            with written_atomically(message_file, private=True) as file:
                file.write(body)
    actions: dict[str, str] = {}
    for row in rows:
        common.say(_line(row), json_file)
        code = row.standing.code
        if code is not None:
            said = guidance(code)
            actions[str(row.number)] = said.action
            common.say(f"  {said.title}. {said.meaning}", json_file)
            common.say(f"  {said.action}", json_file)
        if row.standing.said:
            common.say(f"  its words: {row.standing.said}", json_file)
        if row.identity is not None:
            common.say(f"  {row.format}, {row.bytes} bytes, identity {row.identity}", json_file)
    if not rows:
        common.say("nothing of it was noted for a receiver", json_file)
    output = OutboxShowOutput(messages=[OutboxEntry.of(row) for row in rows], actions=actions)
    common.write_json(json_file, output)
    return EXIT_DONE


@outbox.command()
@click.argument("which", metavar="[ID|NUMBER]...", nargs=-1)
@click.option("--refused", is_flag=True, help="All that were refused, instead of those named.")
@click.option("--all", "everything", is_flag=True, help="All that are refused or still wait.")
@click.option("--receiver", metavar="NAME", help="With --refused or --all: of this receiver only.")
@common.json_option
def retry(
    which: tuple[str, ...],
    refused: bool,
    everything: bool,
    receiver: str | None,
    json_file: str | None,
) -> int:
    """Have messages sent now: refused ones once more, waiting ones without their wait.

    What was received stays received and is never sent again.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo.interop.asking import ask
    from edgehemo.interop.outbox import numbers
    from edgehemo.interop.output import OutboxRetryOutput
    from edgehemo.interop.states import OPEN

    if sum((bool(which), refused, everything)) != 1:
        raise UsageError("name messages or results, or give --refused or --all")
    if receiver is not None and which:
        raise UsageError("--receiver goes with --refused or --all")
    _, store = _device_and_store()
    with store.reader() as reader:
        if which:
            chosen = [row.number for name in which for row in _named(reader, name)]
        else:
            states: tuple[State, ...] = ("refused",) if refused else ("refused", *OPEN)
            chosen = numbers(reader, states=states, receiver=receiver)
    chosen = list(dict.fromkeys(chosen))
    again = ask(store, chosen, by=command_actor()) if chosen else []
    if again is None:
        common.say(f"the sender that runs was asked to send {len(chosen)} now", json_file)
    else:
        common.say(f"{len(again)} will be sent now", json_file)
        for number in chosen:
            if number not in again:
                common.say(f"{number} was received and stays so", json_file)
    output = OutboxRetryOutput(numbers=chosen if again is None else again, by_sender=again is None)
    common.write_json(json_file, output)
    return EXIT_DONE


@outbox.command()
@click.option("--once", is_flag=True, help="Send what is due now, then end.")
@common.json_option
def send(once: bool, json_file: str | None) -> int:
    """Send until stopped by a signal, where no kiosk does.

    With --once the exit code is 0 where nothing is left to be sent, and 1 where something waits or
    was refused.
    """
    device, store = _device_and_store()
    if not device.receivers:
        raise UsageError("this device has no receivers; name them in the device configuration")
    if not store.folder.exists():
        with store.writer():
            pass
    if json_file is not None and not once:
        raise UsageError("--json goes with --once")
    return _sent_once(device, store, json_file) if once else _sent_until_stopped(device, store)


@outbox.command()
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--code", metavar="CODE", help="The pairing code; without it the terminal asks for it."
)
@click.option(
    "--receiver",
    "name",
    metavar="NAME",
    default="laboratory",
    show_default=True,
    help="What results, lists and the log call the laboratory here.",
)
@click.option("--pictures", is_flag=True, help="Let the laboratory have the pictures it asks for.")
@click.option("--simulated", is_flag=True, help="Send results of the simulated microscope too.")
@common.json_option
def enrol(
    address: str,
    code: str | None,
    name: str,
    pictures: bool,
    simulated: bool,
    json_file: str | None,
) -> int:
    """Enrol this device at the laboratory of ADDRESS, such as https://laboratory.example:8443.

    The laboratory gives the pairing code: `edgehemo laboratory enrol`. It counts once. The
    laboratory is named in the device configuration, and what is signed from then on is sent there.
    """
    from edgehemo.device.configuration import load_device
    from edgehemo.device.recorded import note_in_chain
    from edgehemo.interop.enrolling import Place
    from edgehemo.interop.enrolling import enrol as enrolled
    from edgehemo.interop.output import OutboxEnrolOutput
    from edgehemo.interop.pairing import read_code

    device = load_device(None)
    given = enrolled(
        device,
        address,
        read_code(click.prompt("pairing code") if code is None else code),
        name=name,
        pictures=pictures,
        simulated=simulated,
    )
    note_in_chain("configuration changed", {"receiver": name, "enrolled as": given.kiosk})
    place = Place.of(device, name)
    names = "with names and numbers" if given.identified else "with pseudonyms in their place"
    common.say(f"enrolled as {given.kiosk} at {given.site}; results are sent {names}", json_file)
    common.say(f"its key and certificate lie in {place.folder}", json_file)
    common.say("a kiosk that runs sends there once it is started again", json_file)
    output = OutboxEnrolOutput(
        receiver=name,
        address=address,
        kiosk=given.kiosk,
        site=given.site,
        identified=given.identified,
        pictures=given.pictures,
    )
    common.write_json(json_file, output)
    return EXIT_DONE


def _sent_once(device: DeviceConfiguration, store: Store, json_file: str | None) -> int:
    from edgehemo.interop.access import OwnWriter, only_sender
    from edgehemo.interop.lane import lanes_of
    from edgehemo.interop.outbox import counts
    from edgehemo.interop.output import LaneEntry, OutboxSendOutput
    from edgehemo.interop.sending import send_once
    from edgehemo.interop.states import OPEN

    access = OwnWriter(store, _waits)
    with (
        only_sender(store.folder) as alone,
        lanes_of(device.receivers, access, device.name) as all_,
    ):
        if not alone:
            raise RecordsBusyError(_KIOSK_SENDS)
        with common.Progress("sending"):
            send_once(all_)
        with store.reader() as reader:
            counted = counts(reader)
    entries = []
    for lane in all_:
        states = counted.get(lane.receiver.name, {})
        entries.append(
            LaneEntry(
                receiver=lane.receiver.name,
                delivered=lane.delivered,
                refused=lane.refused,
                failed=lane.failed,
                waiting=sum(states.get(state, 0) for state in OPEN),
            )
        )
    for entry in entries:
        common.say(
            f"{entry.receiver}: {entry.delivered} received there, {entry.refused} refused, "
            f"{entry.waiting} wait here",
            json_file,
        )
    common.write_json(json_file, OutboxSendOutput(receivers=entries))
    clean = all(entry.waiting == 0 and entry.refused == 0 for entry in entries)
    return EXIT_DONE if clean else EXIT_WITHHELD


def _sent_until_stopped(device: DeviceConfiguration, store: Store) -> int:
    import signal
    import threading

    from edgehemo.interop.access import OwnWriter, only_sender
    from edgehemo.interop.sending import Sender

    with only_sender(store.folder) as alone:
        if not alone:
            raise RecordsBusyError(_KIOSK_SENDS)
    sender = Sender(device, OwnWriter(store, _waits))
    asked_to_end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_end.set())
    sender.start()
    names = ", ".join(receiver.name for receiver in device.receivers)
    common.say(f"sending to {names}")
    asked_to_end.wait()
    sender.stop()
    return EXIT_DONE


def _waits(error: RecordsBusyError) -> None:
    common.complain(f"waiting: {error}")


def _device_and_store() -> tuple[DeviceConfiguration, Store]:
    from edgehemo.device.configuration import load_device
    from edgehemo.records.store import Store

    device = load_device(None)
    return device, Store.below(device.data_dir)


def _named(reader: Reader, which: str) -> list[Row]:
    """The row of a number, or all rows of a result; a number has at most nine digits."""
    from edgehemo.interop.outbox import row_of, rows_of_result

    if which.isdecimal() and len(which) < 10 and not _begins_a_result(reader, which):
        return [row_of(reader, int(which))]
    return rows_of_result(reader, which)


def _begins_a_result(reader: Reader, which: str) -> bool:
    """Identifiers are letters and digits: four digits or more may be the beginning of one."""
    if len(which) < 4:
        return False
    query = "SELECT 1 FROM result WHERE id >= ? AND id < ? LIMIT 1"
    return bool(reader.rows(query, (which, f"{which}~")))


def _note_viewed(reader: Reader, row: Row) -> None:
    from edgehemo.device.recorded import command_actor

    details = {"receiver": row.receiver, "version": row.version, "sha256": row.sha256}
    reader.note("message viewed", row.result_id, details, by=command_actor())


def _receivers(device: DeviceConfiguration, reader: Reader | None) -> list[ReceiverEntry]:
    """The configured receivers, then those that only the rows know."""
    from edgehemo.device.receiver_files import problems_of
    from edgehemo.interop.outbox import counts
    from edgehemo.interop.output import ReceiverEntry

    counted = {} if reader is None else counts(reader)
    entries = [
        ReceiverEntry.of(each.name, each, problems_of(each), counted.pop(each.name, {}))
        for each in device.receivers
    ]
    return entries + [ReceiverEntry.of(name, None, [], states) for name, states in counted.items()]


def _receiver_lines(entry: ReceiverEntry) -> list[str]:
    counted = entry.messages
    waiting = counted.noted + counted.pending + counted.retrying
    where = f"{entry.kind} {entry.address}" if entry.configured else "no longer configured"
    if entry.configured and entry.format is None:
        return [f"receiver {entry.name} ({where}): is told of this device's health, no results"]
    lines = [
        f"receiver {entry.name} ({where}): {waiting} noted here, {counted.delivered} received "
        f"there, {counted.refused} refused there"
    ]
    return lines + [f"  {problem}" for problem in entry.problems]


def _line(row: Row) -> str:
    from edgehemo.interop.output import whereabouts

    standing = row.standing
    said: str = whereabouts(standing.state)
    if standing.state == "delivered":
        said += f" {row.settled_at}"
    elif standing.state == "retrying":
        tries = "try" if standing.attempts == 1 else "tries"
        said += f", {standing.attempts} {tries} failed: {standing.code}"
    elif standing.code is not None:
        said += f": {standing.code}"
    return (
        f"{row.number:>6}  {row.receiver:<16} {row.result_id} v{row.version}  "
        f"{standing.state:<9}  {said}"
    )
