"""Whose sample it is, as the operator calls it: kept with the result and shown on the report."""

from __future__ import annotations

from dataclasses import dataclass, fields

from edgehemo.errors import UsageError
from edgehemo.files.strict import Text

# A label stands in headings, file lists and messages.
MAX_LABEL_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class SampleLabels:
    """What the operator calls the sample, and who screened it where; each None where not given.

    Identifiers, not names of persons: whoever keeps the list of patients knows whose they are.
    Raises UsageError for a label that is empty, too long or not printable.
    """

    sample: Text | None = None
    operator: Text | None = None
    site: Text | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            label = getattr(self, entry.name)
            if label is None:
                continue
            if not label.strip():
                raise UsageError(f"the {entry.name} must not be empty")
            if len(label) > MAX_LABEL_CHARACTERS:
                raise UsageError(
                    f"the {entry.name} has {len(label)} characters; "
                    f"at most {MAX_LABEL_CHARACTERS} are kept"
                )
            if not label.isprintable():
                raise UsageError(f"the {entry.name} {label!r} has characters that do not print")
