"""Under what a result is stored, where it is."""

from __future__ import annotations

from edgehemo.files.strict import Count, Record, Text


class AuditHead(Record, frozen=True, kw_only=True):
    """The last entry of the records' chain, as papers and messages name it.

    number: of the entry. digits: the first 16 of its hash. store: which chain, by its identifier.
    """

    number: Count
    digits: Text
    store: Text

    def __str__(self) -> str:
        return f"{self.number}-{self.digits}"


class RecordedAs(Record, frozen=True, kw_only=True):
    """result_id: what the stored result is called. sample: its number, drawn where none was given.
    audit: the chain's head once it was stored.
    """

    result_id: Text
    sample: Text
    audit: AuditHead
