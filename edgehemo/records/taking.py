"""A sample being taken: every field is on the disk before the next one comes.

After a power cut whoever took it goes on where it was (`takings`), with the same result identifier;
what a command left is abandoned when the records are next opened to be written.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgehemo.anaemia.who_grade import Person
from edgehemo.errors import RecordsError
from edgehemo.images.frame import Frame
from edgehemo.records.circumstances import (
    Circumstances,
    circumstances_of,
    person_of,
    person_text,
)
from edgehemo.records.identifiers import (
    SampleFrom,
    drawn_number,
    new_result_id,
    sample_number,
)
from edgehemo.records.pictures import kept as kept_picture
from edgehemo.records.results import inserted, json_text
from edgehemo.records.store import Reader, Writer
from edgehemo.screening.field import FieldReading
from edgehemo.screening.resuming import kept, resumed
from edgehemo.screening.sample import UnreadableImage

Owner = Literal["command", "kiosk"]


@dataclass(frozen=True, slots=True)
class Taking:
    """A sample being taken, as the store holds it. id: what its result will be called. state: the
    kiosk's own snapshot (`keep_state`).
    """

    id: str
    owner: Owner
    sample: str
    sample_from: SampleFrom
    site: str | None
    operator: str | None
    person: Person | None
    circumstances: Circumstances
    started_at: str
    state: dict[str, Any]


def begin(
    writer: Writer,
    *,
    owner: Owner,
    sample: str | None,
    circumstances: Circumstances,
    sample_from: SampleFrom = "typed",
    site: str | None = None,
    operator: str | None = None,
    person: Person | None = None,
) -> Taking:
    """Begin a sample. sample: its number; None, and the device draws one.

    Raises RecordsError for a number that may be a name.
    """
    number = None if sample is None else sample_number(sample)
    writer.take_noted()
    identifier = new_result_id()
    with writer.transaction() as connection:
        if number is None:
            number, sample_from = _drawn(writer), "drawn"
        inserted(
            connection,
            "taking",
            {
                "id": identifier,
                "owner": owner,
                "sample": number,
                "sample_from": sample_from,
                "site": site,
                "operator": operator,
                "person": person_text(person),
                "circumstances": json_text(circumstances.model_dump()),
                "started_at": writer.stamp().text,
            },
        )
    return taking_of(writer, identifier)


def draw_number(writer: Writer) -> str:
    """A sample number that the device has not given before and never gives again; it is on the disk
    when this returns, so that it can be written on the slide at once.
    """
    with writer.transaction():
        return _drawn(writer)


def _drawn(writer: Writer) -> str:
    """The next number that the device draws and that no sample has yet."""
    while True:
        writer.connection.execute("UPDATE store SET drawn = drawn + 1")
        ((store, count),) = writer.rows("SELECT id, drawn FROM store")
        number = drawn_number(store, count)
        if not writer.rows("SELECT 1 FROM latest WHERE sample = ?", (number,)):
            return number


def takings(reader: Reader) -> list[Taking]:
    """The samples being taken, oldest first."""
    return [
        taking_of(reader, row[0])
        for row in reader.rows("SELECT id FROM taking ORDER BY started_at, id")
    ]


def taking_of(reader: Reader, identifier: str) -> Taking:
    """A sample being taken. RecordsError where there is none of that name."""
    found = reader.rows("SELECT * FROM taking WHERE id = ?", (identifier,))
    if not found:
        raise RecordsError(f"no sample {identifier} is being taken")
    row = found[0]
    values: dict[str, Any] = dict(zip(Taking.__slots__, row, strict=True))
    return Taking(
        **{
            **values,
            "person": person_of(values["person"]),
            "circumstances": circumstances_of(values["circumstances"]),
            "state": json.loads(values["state"]),
        }
    )


def keep_state(writer: Writer, identifier: str, state: Mapping[str, Any]) -> None:
    """Keep the snapshot of whoever takes the sample; it is on the disk when this returns."""
    with writer.transaction() as connection:
        connection.execute(
            "UPDATE taking SET state = ? WHERE id = ?", (json_text(state), identifier)
        )


def add_field(
    writer: Writer,
    identifier: str,
    position: int,
    reading: FieldReading | UnreadableImage,
    frame: Frame | None,
) -> None:
    """Keep a field and what was read of it: picture first, then the row that names it.

    frame: None where nothing could be had. Both are on the disk when this returns.
    """
    picture = None if frame is None else kept_picture(frame)
    digest = None if picture is None else writer.keep("picture", picture.data)
    with writer.transaction() as connection:
        inserted(
            connection,
            "taking_field",
            {
                "taking": identifier,
                "position": position,
                "source": reading.image,
                "sha256": digest,
                "form": None if picture is None else picture.form,
                "page": 0 if picture is None else picture.page,
                "taken_at": None
                if frame is None or frame.timestamp is None
                else frame.timestamp.isoformat(),
                "metadata": json_text({} if frame is None else dict(frame.metadata)),
                "error": reading.error if isinstance(reading, UnreadableImage) else None,
                "reading": zlib.compress(kept([reading]), 1),
            },
        )
        if digest is not None:
            writer.settled([digest])


def drop_field(writer: Writer, identifier: str, position: int) -> None:
    """Take a field out of a sample again; the later ones keep their positions."""
    with writer.transaction() as connection:
        found = connection.execute(
            "SELECT sha256 FROM taking_field WHERE taking = ? AND position = ?",
            (identifier, position),
        ).fetchone()
        connection.execute(
            "DELETE FROM taking_field WHERE taking = ? AND position = ?", (identifier, position)
        )
    if found is not None and found[0] is not None:
        writer.drop_unnamed([found[0]])


def readings_of(reader: Reader, identifier: str) -> list[FieldReading | UnreadableImage]:
    """What was read so far, as a screening goes on with it."""
    rows = reader.rows(
        "SELECT reading FROM taking_field WHERE taking = ? ORDER BY position", (identifier,)
    )
    return [resumed(zlib.decompress(row[0]))[0] for row in rows]


def field_rows(connection: sqlite3.Connection, identifier: str) -> list[dict[str, Any]]:
    """The rows of the fields as a result takes them over, numbered anew from 0."""
    rows = connection.execute(
        "SELECT source, sha256, form, page, taken_at, metadata, error "
        "FROM taking_field WHERE taking = ? ORDER BY position",
        (identifier,),
    )
    names = ("source", "sha256", "form", "page", "taken_at", "metadata", "error")
    return [
        {"position": position, **dict(zip(names, row, strict=True))}
        for position, row in enumerate(rows)
    ]
