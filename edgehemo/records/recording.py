"""A screening that is stored: from its first field to a result that is on the disk."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgehemo.errors import EdgeHemoError
from edgehemo.records import taking as samples
from edgehemo.records.audit import head_of
from edgehemo.records.circumstances import person_text
from edgehemo.records.measured import keep_measured, measured_of
from edgehemo.records.reading_document import packed
from edgehemo.records.results import (
    inserted,
    json_text,
    result_digest,
    version_digest,
)
from edgehemo.records.store import Writer
from edgehemo.records.taking import Taking, field_rows
from edgehemo.report.result import ScreeningResult, ScreenOutput
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.recorded import AuditHead, RecordedAs

if TYPE_CHECKING:
    from datetime import datetime

    from edgehemo.images.frame import Frame
    from edgehemo.screening.field import FieldReading
    from edgehemo.screening.provenance import Provenance
    from edgehemo.screening.sample import SampleReading, UnreadableImage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recording:
    """A sample that becomes a result. device: what the device is called. profile_made_at: of the
    profile in use, None without one. by: who is named in the chain.
    """

    writer: Writer
    taking: Taking
    device: str
    profile_made_at: datetime | None
    by: str

    def add(
        self, position: int, reading: FieldReading | UnreadableImage, frame: Frame | None
    ) -> None:
        """Keep a field; it is on the disk when this returns."""
        samples.add_field(self.writer, self.taking.id, position, reading, frame)

    def finish(self, reading: SampleReading, provenance: Provenance) -> RecordedAs | None:
        """Store the result; it is on the disk when this returns.

        None, and nothing stored, where no image could be read at all.
        """
        if not reading.fields:
            self.discard("nothing could be read")
            return None
        taking = self.taking
        labels = SampleLabels(taking.sample, taking.operator, taking.site)
        result = ScreeningResult(reading, provenance, labels=labels)
        output = result.output.model_copy(update={"result_id": taking.id})
        writer = self.writer
        document = writer.keep("reading", packed(reading.images, output))
        try:
            head = self._inserted(reading, provenance, output, document)
        except BaseException:
            with contextlib.suppress(EdgeHemoError):
                writer.drop_unnamed([document])
            raise
        log.info("a result of %d images is stored", len(reading.images))
        return RecordedAs(result_id=taking.id, sample=taking.sample, audit=head)

    def _inserted(
        self,
        reading: SampleReading,
        provenance: Provenance,
        output: ScreenOutput,
        document: str,
    ) -> AuditHead:
        """The rows of the result and its audit entry, in one transaction; returns the head."""
        writer, taking = self.writer, self.taking
        estimate = reading.estimate
        hgb = None if estimate is None else estimate.hgb_g_per_l
        stamp = replace(writer.stamp(), at=provenance.created_at)
        types = reading.types
        measured = measured_of(
            reading.images,
            () if types is None else (types.red_cells_reason, types.white_cells_reason),
        )
        with writer.transaction() as connection:
            fields = field_rows(connection, taking.id)
            row: dict[str, object] = {
                "id": taking.id,
                "sample": taking.sample,
                "sample_from": taking.sample_from,
                "site": taking.site,
                "operator": taking.operator,
                "device": self.device,
                "made_at": stamp.text,
                "made_at_s": stamp.seconds,
                "clock": stamp.clock,
                "simulated": int(provenance.simulated),
                "outcome": output.outcome,
                "hgb_g_per_l": None if hgb is None else float(hgb.value),
                "grade": None if reading.anaemia is None else reading.anaemia.grade,
                "accepted": len(reading.accepted),
                "examined": len(reading.images),
                "person": person_text(taking.person),
                "circumstances": json_text(taking.circumstances.model_dump()),
                "bundle_sha256": provenance.bundle_digest,
                "profile_sha256": provenance.profile_digest,
                "profile_made_at": None
                if self.profile_made_at is None
                else self.profile_made_at.isoformat(),
                "software_version": output.provenance.software.version,
                "reading_sha256": document,
            }
            number = 1 + int(
                connection.execute("SELECT coalesce(max(number), 0) FROM result").fetchone()[0]
            )
            first: dict[str, object] = {
                "result": number,
                "version": 1,
                "state": "unsigned",
                "change": "recorded",
                "sample": taking.sample,
                "amendments": "{}",
                "by": self.by,
                "at": stamp.text,
                "clock": stamp.clock,
                "reason": "",
            }
            entry = writer.entry(
                "result recorded",
                taking.id,
                {
                    "row": result_digest(row, list(fields)),
                    "version": 1,
                    "version_row": version_digest(first),
                },
                by=self.by,
            )
            inserted(connection, "result", {"number": number, **row, "audit": entry.number})
            for item in fields:
                inserted(connection, "result_field", {"result": number, **item})
            inserted(connection, "version", {**first, "audit": entry.number})
            keep_measured(connection, number, measured)
            connection.execute("DELETE FROM taking WHERE id = ?", (taking.id,))
            writer.settled([document])
            return head_of(connection)

    def discard(self, reason: str) -> None:
        """End without a result; nothing of the sample stays but that it was begun."""
        self.writer.abandon_taking(self.taking.id, reason, by=self.by)

    def discard_quietly(self, reason: str) -> None:
        """The same on the way out of an error, which must not be hidden by another."""
        with contextlib.suppress(EdgeHemoError):
            self.discard(reason)
