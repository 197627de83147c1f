"""What `edgehemo archive` writes as JSON."""

from __future__ import annotations

from typing import Literal

from edgehemo.files.strict import Count, NonNegative, Record


class BrokenPicture(Record, frozen=True, kw_only=True):
    """A picture that was set aside when it came, and why."""

    name: str
    sample: str
    error: str


class IngestOutput(Record, frozen=True, kw_only=True):
    """What came of an ingest. part: of the catalogue that it added, null where nothing was new.
    pictures: looked at. new: fields that the archive did not have. known: fields that it had;
    differing: of these, fields of which something else was said before, which stands; updated: of
    which what is said now counts. doubled: fields whose bytes came twice in this ingest. samples:
    of the new fields. named_cells: cells that people named. broken_count: pictures set aside;
    broken: the first of them. left_out: what was not read at all, and what to know of it.
    """

    schema: Literal["edgehemo.archive-ingest/1"] = "edgehemo.archive-ingest/1"
    archive: str
    part: str | None
    pictures: Count
    new: Count
    known: Count
    differing: Count
    updated: Count
    doubled: Count
    samples: Count
    named_cells: Count
    broken_count: Count
    broken: list[BrokenPicture]
    left_out: list[str]


class SiteEntry(Record, frozen=True, kw_only=True):
    """A site's share of the archive; site: null where none was told."""

    site: str | None
    fields: Count
    samples: Count


class SetAside(Record, frozen=True, kw_only=True):
    """An item that could not be read. kind: crash, time limit, error, missing, of a field; error,
    of a sample. item: what it is called in the archive. tries: how often it was begun.
    """

    item: str
    name: str
    site: str | None
    kind: str
    error: str
    tries: Count


class ReadingEntry(Record, frozen=True, kw_only=True):
    """A reading. reading: what it is called. fields: of the archive; read, unreadable, set_aside:
    of these; waiting: that have no row yet. samples, samples_read, samples_set_aside,
    samples_waiting: likewise. twice: items with two rows of one plan, which there never are.
    """

    reading: str
    bundle: str
    bundle_sha256: str
    software_version: str
    begun_at: str
    fields: Count
    read: Count
    unreadable: Count
    set_aside: Count
    waiting: Count
    samples: Count
    samples_read: Count
    samples_set_aside: Count
    samples_waiting: Count
    twice: Count
    aside: list[SetAside]


class StatusOutput(Record, frozen=True, kw_only=True):
    """What is in an archive and by which bundles it was read. broken: pictures that were set aside
    when they came. named_cells: that people named.
    """

    schema: Literal["edgehemo.archive-status/1"] = "edgehemo.archive-status/1"
    archive: str
    fields: Count
    samples: Count
    bytes: Count
    broken: Count
    named_cells: Count
    sites: list[SiteEntry]
    readings: list[ReadingEntry]


class RereadOutput(Record, frozen=True, kw_only=True):
    """What a run came to. done: whether every field and sample that was asked for has its row;
    missing: items that have none. workers: at most so many at once. seconds: of the run;
    fields_per_s: read in it. restarted: readers that were started anew after a crash or a time
    limit. lost: batches that were begun again because their worker was lost. reader_mb: the most
    memory that a reader held.
    """

    schema: Literal["edgehemo.archive-reread/1"] = "edgehemo.archive-reread/1"
    archive: str
    done: bool
    missing: list[str]
    fields_in_run: Count
    samples_in_run: Count
    workers: Count
    seconds: NonNegative
    fields_per_s: NonNegative
    restarted: Count
    lost: Count
    reader_mb: NonNegative
    reading: ReadingEntry


class ComparedReading(Record, frozen=True, kw_only=True):
    """One of the two readings that were compared."""

    reading: str
    bundle: str
    bundle_sha256: str
    software_version: str


class Change(Record, frozen=True, kw_only=True):
    """How one quantity changes. old, new: pooled over the samples that have it by both. change: the
    difference, or in percent where it is relative; low, high: its 95 % interval by patients drawn
    with replacement, null with too few of them.
    """

    name: str
    label: str
    unit: str
    relative: bool
    samples: Count
    old: float | None
    new: float | None
    change: float | None
    low: float | None
    high: float | None


class GroupEntry(Record, frozen=True, kw_only=True):
    """The changes in one site; site: null for all together. fields: of these samples."""

    site: str | None
    samples: Count
    patients: Count
    fields: Count
    changes: list[Change]


class OutcomeChange(Record, frozen=True, kw_only=True):
    """So many samples are reported or withheld by the one and by the other."""

    old: str
    new: str
    samples: Count


class GradeChange(Record, frozen=True, kw_only=True):
    """So many samples have these grades; null where there is none."""

    old: str | None
    new: str | None
    samples: Count


class Mover(Record, frozen=True, kw_only=True):
    """A sample that changed much. pictures: its fields that changed most, as the archive calls
    them.
    """

    sample: str
    site: str | None
    quantity: str
    old: float
    new: float
    pictures: list[str]


class CompareOutput(Record, frozen=True, kw_only=True):
    """One bundle's reading held against another's. samples: that both have; unread: that one of
    them lacks. groups: all samples first, then by site where there are several.
    """

    schema: Literal["edgehemo.archive-compare/1"] = "edgehemo.archive-compare/1"
    archive: str
    old: ComparedReading
    new: ComparedReading
    samples: Count
    unread: Count
    groups: list[GroupEntry]
    outcomes: list[OutcomeChange]
    grades: list[GradeChange]
    movers: list[Mover]


class DatasetOutput(Record, frozen=True, kw_only=True):
    """A training set that was made by query. labels: whose names the cells bear: people's, or the
    bundle's own. fields: that were chosen. cells: in the set, by class. groups: patients, else
    samples. samples_measured: whose values an analyser measured. lost: cells and fields whose
    picture or reading is gone.
    """

    schema: Literal["edgehemo.archive-dataset/1"] = "edgehemo.archive-dataset/1"
    archive: str
    name: str
    labels: Literal["people", "model"]
    fields: Count
    cells: Count
    classes: dict[str, int]
    groups: Count
    samples_measured: Count
    lost: Count
    licence: str
    simulated: bool
