"""Where the kiosk's own state is kept: one text, in the transaction of what it comes with."""

from __future__ import annotations

from edgehemo.records.store import Reader, Writer


def keep_kiosk_state(writer: Writer, text: str) -> None:
    """Put it in the place of the one before; on the disk when the transaction ends."""
    with writer.transaction() as connection:
        connection.execute(
            "INSERT INTO kiosk (one, state) VALUES (1, ?) "
            "ON CONFLICT (one) DO UPDATE SET state = excluded.state",
            (text,),
        )


def kept_kiosk_state(reader: Reader) -> str | None:
    """The last one; None before the first."""
    found = reader.rows("SELECT state FROM kiosk")
    return str(found[0][0]) if found else None
