"""The rows of the outbox: noted with a version, made once, settled once.

A row is made in the transaction that makes the version (`noting`), so that a version without its
rows does not exist. Its message is made afterwards, by the sender: an encoder that fails never
keeps a person from signing. A version never changes, so its message says the same whenever it is
made; once made it is frozen, and every try sends the same bytes under the same identity.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgehemo.device.receivers import MessageFormat, Receiver
from edgehemo.errors import (
    EdgeHemoError,
    RecordsBusyError,
    RecordsError,
    RecordsFullError,
    place_of,
)
from edgehemo.guidance.codes import SendingCode
from edgehemo.interop.formats import FORMATS
from edgehemo.interop.message import Message, Told
from edgehemo.interop.states import (
    OPEN,
    Answer,
    Asked,
    Event,
    Made,
    Missed,
    NotMade,
    Standing,
    State,
    fits,
    step,
)
from edgehemo.interop.turns import Waiting
from edgehemo.records.audit import Action
from edgehemo.records.clock import Stamp
from edgehemo.records.results import StoredResult, Version, number_of, result_at
from edgehemo.records.store import Reader, Writer
from edgehemo.records.versions import VersionHook

log = logging.getLogger(__name__)

# Who the chain says has sent.
SENDER = "edgehemo outbox"
# How long the message of a delivered row is kept; its row, identity and digest stay for ever.
KEEP_DELIVERED_DAYS = 30
# So many open rows are looked at for one turn; a receiver that was away for weeks has more.
LOOKED_AT = 500
# More than any message has.
MAX_MESSAGE_BYTES = 32_000_000
# What changed for a receiver that has an earlier version, and is nothing to one that has none.
_FOR_THOSE_WHO_HAVE_IT = ("held", "released", "withdrawn")


@dataclass(frozen=True, slots=True)
class Row:
    """One row. receiver: its name. sequence: counts what is noted for it. result: number of the
    result in this store, result_id what it is called. format, identity, sha256, bytes: of the
    message, None until it is made. tried_at, settled_at: what the clock said.
    """

    number: int
    receiver: str
    sequence: int
    result: int
    result_id: str
    version: int
    noted_at: str
    standing: Standing
    format: MessageFormat | None
    identity: str | None
    sha256: str | None
    bytes: int | None
    tried_at: str | None
    settled_at: str | None


# -- noting -----------------------------------------------------------------------------------


def noting(receivers: Sequence[Receiver]) -> tuple[VersionHook, ...]:
    """What `edgehemo.records.versions.change` is given: notes every version for its receivers."""
    taking = tuple(receiver for receiver in receivers if receiver.takes is not None)

    def note(writer: Writer, result: StoredResult, version: Version) -> None:
        for receiver in taking:
            if _wants(writer, receiver, result, version):
                _insert(writer, receiver, result, version)

    return (note,) if taking else ()


def _wants(writer: Writer, receiver: Receiver, result: StoredResult, version: Version) -> bool:
    if not any(each.change == "signed" for each in result.versions):
        return False
    if result.simulated and not receiver.simulated:
        return False
    if result.outcome == "withheld" and receiver.withheld == "nothing":
        return False
    if version.change in _FOR_THOSE_WHO_HAVE_IT:
        known = "SELECT 1 FROM outbox WHERE receiver = ? AND result = ? LIMIT 1"
        return bool(writer.rows(known, (receiver.name, result.number)))
    return True


def _insert(writer: Writer, receiver: Receiver, result: StoredResult, version: Version) -> None:
    writer.connection.execute(
        "INSERT INTO outbox (receiver, sequence, result, version, noted_at) VALUES (?, "
        "(SELECT 1 + coalesce(max(sequence), 0) FROM outbox WHERE receiver = ?), ?, ?, ?)",
        (receiver.name, receiver.name, result.number, version.version, version.at),
    )


# -- reading ----------------------------------------------------------------------------------

_COLUMNS = (
    "o.number, o.receiver, o.sequence, o.result, r.id, o.version, o.noted_at, o.state, o.attempts, "
    "o.next_at_s, o.code, o.said, o.format, o.identity, o.sha256, o.bytes, o.tried_at, "
    "o.settled_at"
)
_FROM = f"SELECT {_COLUMNS} FROM outbox o JOIN result r ON r.number = o.result"
_OPEN = ", ".join(f"'{state}'" for state in OPEN)


def _row(found: Sequence[Any]) -> Row:
    (number, receiver, sequence, result, result_id, version, noted_at, state, attempts, next_at_s,
     code, said, kind, identity, sha256, size, tried_at, settled_at) = found  # fmt: skip
    standing = Standing(state, attempts, next_at_s, code, said, identity is not None)
    return Row(
        number, receiver, sequence, result, result_id, version, noted_at, standing,
        kind, identity, sha256, size, tried_at, settled_at,
    )  # fmt: skip


def row_of(reader: Reader, number: int) -> Row:
    """One row; RecordsError where there is none of this number."""
    found = reader.rows(f"{_FROM} WHERE o.number = ?", (number,))
    if not found:
        raise RecordsError(f"the outbox has no number {number}; `edgehemo outbox list` shows them")
    return _row(found[0])


def rows_of_result(reader: Reader, identifier: str) -> list[Row]:
    """The rows of a result, oldest first; see `number_of` for how it may be named."""
    number = number_of(reader, identifier)
    return [
        _row(row) for row in reader.rows(f"{_FROM} WHERE o.result = ? ORDER BY o.number", (number,))
    ]


def listed(
    reader: Reader,
    *,
    states: Sequence[State] = (),
    receiver: str | None = None,
    limit: int = 50,
) -> list[Row]:
    """Rows, newest first. states: of these; empty for all. receiver: of this one."""
    where, values = _where(states, receiver)
    query = f"{_FROM}{where} ORDER BY o.number DESC LIMIT ?"
    return [_row(row) for row in reader.rows(query, [*values, limit])]


def numbers(
    reader: Reader, *, states: Sequence[State] = (), receiver: str | None = None
) -> list[int]:
    """The numbers of rows, oldest first."""
    where, values = _where(states, receiver)
    return [
        row[0] for row in reader.rows(f"SELECT o.number FROM outbox o{where} ORDER BY 1", values)
    ]


def _where(states: Sequence[State], receiver: str | None) -> tuple[str, list[object]]:
    conditions, values = [], list[object]()
    if states:
        conditions.append(f"o.state IN ({', '.join('?' for _ in states)})")
        values += states
    if receiver is not None:
        conditions.append("o.receiver = ?")
        values.append(receiver)
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


def highest(reader: Reader, receiver: str) -> int:
    """The highest number that was noted for a receiver; 0 where nothing was."""
    query = "SELECT coalesce(max(sequence), 0) FROM outbox WHERE receiver = ?"
    return int(reader.rows(query, (receiver,))[0][0])


def counts(reader: Reader) -> dict[str, dict[State, int]]:
    """Receiver -> state -> how many rows; of every receiver that anything was noted for."""
    found: dict[str, dict[State, int]] = {}
    query = "SELECT receiver, state, count(*) FROM outbox GROUP BY receiver, state ORDER BY 1"
    for receiver, state, number in reader.rows(query):
        found.setdefault(receiver, {})[state] = number
    return found


def waiting_of(reader: Reader, receiver: str) -> list[Waiting]:
    """What is open for a receiver, in the order in which it was noted; the first `LOOKED_AT`."""
    rows = reader.rows(
        "SELECT number, result, state, attempts, next_at_s, code, said, identity IS NOT NULL, "
        f"coalesce(bytes, 0) FROM outbox WHERE receiver = ? AND state IN ({_OPEN}) "
        "ORDER BY sequence LIMIT ?",
        (receiver, LOOKED_AT),
    )
    return [
        Waiting(number, result, Standing(state, attempts, at, code, said, bool(made)), size)
        for number, result, state, attempts, at, code, said, made, size in rows
    ]


def message_body(reader: Reader, row: Row) -> bytes:
    """The frozen message of a row. RecordsError where it is gone or not what was made."""
    found = reader.rows("SELECT body FROM outbox_message WHERE number = ?", (row.number,))
    if not found:
        kept = f"it was delivered, and messages are kept for {KEEP_DELIVERED_DAYS} days"
        raise RecordsError(
            f"the message of number {row.number} is not here: "
            + (kept if row.standing.state == "delivered" else "it was not made yet")
        )
    try:
        worker = zlib.decompressobj()
        body = worker.decompress(found[0][0], MAX_MESSAGE_BYTES)
    except zlib.error:
        body = b""
    if hashlib.sha256(body).hexdigest() != row.sha256:
        raise RecordsError(f"the message of number {row.number} is damaged and is not sent")
    return body


# -- what becomes of them ---------------------------------------------------------------------


def made(writer: Writer, row: Row, receiver: Receiver, *, now_s: float) -> Row:
    """Make and freeze the message of a noted row, or say that none can be made.

    Raises RecordsBusyError and RecordsFullError, where it is to be tried again.
    """
    assert receiver.takes is not None, "only receivers of results have rows"
    try:
        message = _encoded(writer, row, receiver)
        if len(message.body) > MAX_MESSAGE_BYTES:
            raise RecordsError(f"the message has {len(message.body)} bytes")
    except (RecordsBusyError, RecordsFullError):
        raise
    except Exception as error:
        log.error(
            "no message of outbox number %d can be made: %s at %s",
            row.number, type(error).__name__, place_of(error),
        )  # fmt: skip
        said = str(error) if isinstance(error, EdgeHemoError) else type(error).__name__
        _moved(writer, row, NotMade("MESSAGE_NOT_MADE", said), now_s)
        return row_of(writer, row.number)
    with writer.transaction() as connection:
        connection.execute(
            "UPDATE outbox SET format = ?, identity = ?, sha256 = ?, bytes = ? WHERE number = ?",
            (receiver.takes, message.identity, message.sha256, len(message.body), row.number),
        )
        connection.execute(
            "INSERT INTO outbox_message VALUES (?, ?)", (row.number, zlib.compress(message.body, 6))
        )
        _moved(writer, row, Made(), now_s)
    return row_of(writer, row.number)


def _encoded(reader: Reader, row: Row, receiver: Receiver) -> Message:
    assert receiver.takes is not None
    result = result_at(reader, row.result)
    at_version = replace(result, versions=result.versions[: row.version])
    told = Told(at_version, reader, receiver.identified, receiver.withheld)
    return FORMATS[receiver.takes].encode(told)


def settle(
    writer: Writer, answers: Iterable[tuple[int, Answer | NotMade]], *, now_s: float, jitter: float
) -> None:
    """Write down what receivers said, all or nothing; what was settled meanwhile stays so."""
    with writer.transaction():
        for number, answer in answers:
            row = row_of(writer, number)
            if fits(row.standing, answer):
                _moved(writer, row, answer, now_s, jitter)


def ask_again(writer: Writer, wanted: Iterable[int], *, by: str, now_s: float) -> list[int]:
    """Have rows sent now, refused ones too; returns those that will be.

    Their receivers are not waited for any longer either.
    """
    again = []
    with writer.transaction() as connection:
        for number in wanted:
            row = row_of(writer, number)
            if fits(row.standing, Asked()):
                _moved(writer, row, Asked(), now_s, by=by)
                again.append(number)
                connection.execute(
                    "UPDATE outbox SET next_at_s = ? WHERE receiver = ? AND state = 'retrying'",
                    (now_s, row.receiver),
                )
    return again


def missed(
    writer: Writer, receiver: str, spans: Iterable[tuple[int, int]], *, now_s: float
) -> list[int]:
    """A receiver says that these numbers, from first to last, never came: what it had
    acknowledged of them is made and sent again. Returns the rows that are.
    """
    again = []
    with writer.transaction() as connection:
        for first, last in spans:
            rows = writer.rows(
                "SELECT number FROM outbox WHERE receiver = ? AND sequence BETWEEN ? AND ? "
                "AND state = 'delivered' ORDER BY sequence",
                (receiver, first, last),
            )
            for (number,) in rows:
                row = row_of(writer, number)
                became = step(row.standing, Missed(), now_s)
                connection.execute("DELETE FROM outbox_message WHERE number = ?", (number,))
                connection.execute(
                    "UPDATE outbox SET missed = missed + 1, state = ?, attempts = 0, "
                    "next_at_s = ?, said = '', format = NULL, identity = NULL, sha256 = NULL, "
                    "bytes = NULL, settled_at = NULL, settled_at_s = NULL WHERE number = ?",
                    (became.state, became.next_at_s, number),
                )
                details = {"receiver": receiver, "version": row.version, "sha256": row.sha256}
                writer.entry("message asked for again", row.result_id, details, by=receiver)
                again.append(number)
    return again


def _moved(
    writer: Writer, row: Row, event: Event, now_s: float, jitter: float = 0.0, by: str = SENDER
) -> None:
    """Take one step, with its entry in the chain where it is one to be remembered."""
    became = step(row.standing, event, now_s, jitter)
    settled = became.state in ("delivered", "refused")
    stamp = writer.stamp()
    tried = not isinstance(event, Made | NotMade | Asked)
    with writer.transaction() as connection:
        connection.execute(
            "UPDATE outbox SET state = ?, attempts = ?, next_at_s = ?, code = ?, said = ?, "
            "tried_at = ?, settled_at = ?, settled_at_s = ? WHERE number = ?",
            (
                became.state, became.attempts, became.next_at_s, became.code, became.said,
                stamp.text if tried else row.tried_at,
                stamp.text if settled else None, stamp.seconds if settled else None, row.number,
            ),
        )  # fmt: skip
        action: Action | None = None
        if settled:
            action = "message delivered" if became.state == "delivered" else "message refused"
        elif isinstance(event, Asked):
            action = "message asked for again"
        if action is not None:
            details: dict[str, object] = {
                "receiver": row.receiver, "version": row.version, "sha256": row.sha256,
            }  # fmt: skip
            if became.code is not None:
                details["code"] = became.code
            writer.entry(action, row.result_id, details, by=by)


def forget_delivered(writer: Writer, at: Stamp) -> int:
    """Let go of messages that were delivered long ago; returns how many.

    at: now; nothing goes while the clock cannot be believed.
    """
    if at.clock != "set":
        return 0
    before = at.seconds - KEEP_DELIVERED_DAYS * 86_400
    with writer.transaction() as connection:
        gone = connection.execute(
            "DELETE FROM outbox_message WHERE number IN (SELECT number FROM outbox "
            "WHERE state = 'delivered' AND settled_at_s < ?)",
            (before,),
        )
    return gone.rowcount


# -- what pages show --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a page says of a result and one receiver. version: the newest one noted for it. state:
    of that. received_version: the newest that it has, None where it has none. at: when it came to
    that state, None while it is open. code, said: what is wrong, and the receiver's words.
    """

    receiver: str
    version: int
    state: State
    received_version: int | None
    at: str | None
    code: SendingCode | None
    said: str

    @property
    def received(self) -> bool:
        """Whether the receiver has the newest version: "received there"; else "noted here"."""
        return self.state == "delivered"


def delivery_of(reader: Reader, result_id: str) -> tuple[Delivery, ...]:
    """Where a result stands with each receiver it was noted for, by the receivers' names.

    Empty where it was noted for none: it is unsigned, or this device has no receivers.
    """
    return _deliveries(reader, "r.id = ?", (result_id,)).get(result_id, ())


def deliveries_of(reader: Reader, result_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
    """The same of the results of one page of a list; those that were noted for nobody are not in
    it.
    """
    if not result_ids:
        return {}
    return _deliveries(reader, f"r.id IN ({', '.join('?' for _ in result_ids)})", result_ids)


def _deliveries(
    reader: Reader, where: str, values: Sequence[str]
) -> dict[str, tuple[Delivery, ...]]:
    found: dict[str, dict[str, list[Row]]] = {}
    for each in reader.rows(f"{_FROM} WHERE {where} ORDER BY o.receiver, o.version", values):
        row = _row(each)
        found.setdefault(row.result_id, {}).setdefault(row.receiver, []).append(row)
    return {
        identifier: tuple(_delivery(rows) for rows in by_receiver.values())
        for identifier, by_receiver in found.items()
    }


def _delivery(rows: Sequence[Row]) -> Delivery:
    last = rows[-1]
    there = [row.version for row in rows if row.standing.state == "delivered"]
    return Delivery(
        receiver=last.receiver,
        version=last.version,
        state=last.standing.state,
        received_version=max(there, default=None),
        at=last.settled_at,
        code=last.standing.code,
        said=last.standing.said,
    )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the status line says. waiting: results that are still to be sent to somebody. refused:
    results whose newest version a receiver refused, so that a person must look.
    """

    waiting: int
    refused: int


NOTHING_OUT = Outgoing(0, 0)


def outgoing(reader: Reader, receivers: Sequence[Receiver]) -> Outgoing:
    """How much waits to be sent to the receivers of this device, and how much was refused."""
    names = [receiver.name for receiver in receivers if receiver.takes is not None]
    if not names:
        return NOTHING_OUT
    of_them = f"receiver IN ({', '.join('?' for _ in names)})"
    ((waiting,),) = reader.rows(
        f"SELECT count(DISTINCT result) FROM outbox WHERE state IN ({_OPEN}) AND {of_them}", names
    )
    ((refused,),) = reader.rows(
        f"SELECT count(DISTINCT result) FROM outbox o WHERE state = 'refused' AND {of_them} "
        "AND NOT EXISTS (SELECT 1 FROM outbox l WHERE l.receiver = o.receiver "
        "AND l.result = o.result AND l.version > o.version)",
        names,
    )
    return Outgoing(waiting, refused)
