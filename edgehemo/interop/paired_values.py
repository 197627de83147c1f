"""What analysers measured of stored samples, as the laboratory gets it.

The values are numbered in the records, and the laboratory says up to which number it has them:
nothing is remembered here, and an answer that was lost costs nothing.
"""

from __future__ import annotations

from edgehemo.interop.laboratory import MOST_PAIRED, Paired, PairedValue
from edgehemo.records.deidentified import View
from edgehemo.records.store import Reader


def highest_paired(reader: Reader) -> int:
    """The number of the newest value; 0 without any."""
    return int(reader.rows("SELECT coalesce(max(number), 0) FROM paired")[0][0])


def paired_after(reader: Reader, view: View, number: int) -> Paired:
    """The next values after a number, `MOST_PAIRED` at most."""
    rows = reader.rows(
        "SELECT number, sample, measurand, value, analyser, at FROM paired WHERE number > ? "
        "ORDER BY number LIMIT ?",
        (number, MOST_PAIRED),
    )
    values = tuple(
        PairedValue(
            number=each,
            sample=view.name("sample", sample) or "",
            measurand=measurand,
            value=value,
            analyser=analyser[:200] if view.identified else None,
            at=view.moment(at),
        )
        for each, sample, measurand, value, analyser, at in rows
    )
    return Paired(store=reader.id, values=values)
