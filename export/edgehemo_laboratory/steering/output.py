"""What the commands of publications write as JSON."""

from __future__ import annotations

from typing import Literal

from edgehemo.files.strict import Count, Record, Share
from edgehemo.published.reports import RunningBundle, RunningLanguage
from edgehemo.published.terms import Kind
from edgehemo_laboratory.steering.kept import State
from edgehemo_laboratory.steering.limits import FindingKind, Limits
from edgehemo_laboratory.steering.stages import Stage


class FindingEntry(Record, frozen=True, kw_only=True):
    """What halted it. at: by the laboratory's clock. value, low, high: the figure with its 95 %
    interval. limit: that it went beyond.
    """

    at: str
    kind: FindingKind
    words: str
    value: float | None
    low: float | None
    high: float | None
    limit: float | None


class FigureEntry(Record, frozen=True, kw_only=True):
    """A change of those that use it, less that of the others. name: withheld, grade, hgb. value:
    null where too few results came; of haemoglobin in g/L, or as a share of its index.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None


class PublicationKioskEntry(Record, frozen=True, kw_only=True):
    """A kiosk in its stages. standing: as the kiosk said last; empty where it did not yet."""

    kiosk: str
    site: str
    offered: bool
    standing: str
    words: str
    silent_s: Count | None


class PublicationEntry(Record, frozen=True, kw_only=True):
    """One publication. stage: from 1. sites, for_kiosks: who it is for; empty for all. holds_again:
    number of the one whose content it is, after a rollback. waits_for: what must hold before the
    next stage.
    """

    number: Count
    kind: Kind
    name: str
    serial: Count
    sha256: str
    digest: str
    signed_by: str
    bytes: Count
    state: State
    why: str
    stage: Count
    stages: list[Stage]
    limits: Limits
    by_itself: bool
    sites: list[str]
    for_kiosks: list[str]
    holds_again: Count | None
    made_at: str
    by: str
    chosen: Count
    offered: Count
    using: Count
    failed: Count
    share_using: Share
    results: Count
    waits_for: list[str]
    figures: list[FigureEntry]
    findings: list[FindingEntry]
    kiosks: list[PublicationKioskEntry]


class RunsEntry(Record, frozen=True, kw_only=True):
    """What runs on a kiosk, as it said last. said_s: seconds ago. brought_by: who brought it on a
    stick; empty where the kiosk said it itself. settings_sha256: alike where they are set alike.
    """

    kiosk: str
    site: str
    software_version: str
    bundle: RunningBundle | None
    languages: list[RunningLanguage]
    settings_sha256: str
    policy: str
    said_s: Count
    brought_by: str


class PublicationsOutput(Record, frozen=True, kw_only=True):
    """All publications, the newest first, and what runs on each kiosk. untold: kiosks in service
    that never said it, being of an older version.
    """

    schema: Literal["edgehemo.laboratory-publications/1"] = "edgehemo.laboratory-publications/1"
    publications: list[PublicationEntry]
    running: list[RunsEntry]
    untold: list[str]


class PublicationOutput(Record, frozen=True, kw_only=True):
    """One publication, after something was done with it."""

    schema: Literal["edgehemo.laboratory-publication/1"] = "edgehemo.laboratory-publication/1"
    publication: PublicationEntry


class StickFile(Record, frozen=True, kw_only=True):
    """A publication on a stick."""

    file: str
    kind: Kind
    name: str
    serial: Count
    sha256: str


class StickOutput(Record, frozen=True, kw_only=True):
    """What was written to a stick."""

    schema: Literal["edgehemo.laboratory-stick/1"] = "edgehemo.laboratory-stick/1"
    folder: str
    files: list[StickFile]


class BroughtReport(Record, frozen=True, kw_only=True):
    """What a stick says of a kiosk. taken: empty, or why it was not."""

    file: str
    kiosk: str
    refused: str


class TakeOutput(Record, frozen=True, kw_only=True):
    """What was taken from a stick."""

    schema: Literal["edgehemo.laboratory-take/1"] = "edgehemo.laboratory-take/1"
    folder: str
    reports: list[BroughtReport]


class StagedOutput(Record, frozen=True, kw_only=True):
    """What came of a bundle that was staged over simulated kiosks. first, second, third: serials:
    what all had, what was halted, and what holds again what the first held. offered: kiosks that
    the second came to. fell_back: of these, those whose self-check found fault with it; took: the
    others. earlier: kiosks that in the end run the earlier content, file by file. lost: kiosks that
    run something else, or nothing.
    """

    kiosks: Count
    first: Count
    second: Count
    third: Count | None
    offered: Count
    fell_back: Count
    took: Count
    halted: str
    earlier: Count
    lost: Count
