"""What the workstation's commands write as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from edgehemo.bundle.manifest import ArtefactFormat, Companion, Metric, Precision
from edgehemo.files.strict import Count, Record, Sha256
from edgehemo_export.data.checking.check import CheckedSet
from edgehemo_export.data.checking.findings import Finding
from edgehemo_export.data.fetching.registry import SaidBy
from edgehemo_export.data.manifest import SetSummary
from edgehemo_export.quantisation.options import ExportRow


class TrainOutput(Record, frozen=True, kw_only=True):
    """The checkpoint that `edgehemo train` wrote."""

    schema: Literal["edgehemo.train/1"] = "edgehemo.train/1"
    task: str
    checkpoint: str
    sha256: Sha256
    steps: Count
    seconds: float


class EvaluateOutput(Record, frozen=True, kw_only=True):
    """A checkpoint's figures on kept-out data. split: by which the data were kept out; split_note:
    what is to be said where the checkpoint was trained on an earlier split. tables: confusion
    matrices and the like, whose shape is the task's.
    """

    schema: Literal["edgehemo.evaluate/1"] = "edgehemo.evaluate/1"
    checkpoint: str
    part: Literal["tune", "test"]
    split: str
    split_note: str | None
    metrics: list[Metric]
    tables: Mapping[str, Any]


class ExportEntry(Record, frozen=True, kw_only=True):
    """One artefact. seconds: of making and verifying, 0 where it was taken over. problem: which
    gate it failed; then all that its manifest entry would say is left out.
    """

    model: str
    format: ArtefactFormat
    precision: Precision
    gate: Literal["pass", "fail"]
    seconds: float
    problem: str | None
    file: str | UnsetType = UNSET
    sha256: Sha256 | UnsetType = UNSET
    bytes: Count | UnsetType = UNSET
    companion: Companion | UnsetType = UNSET
    height_px: int | UnsetType = UNSET
    width_px: int | UnsetType = UNSET
    parity: dict[str, float] | UnsetType = UNSET
    recipe: dict[str, str | int | float | list[str]] | UnsetType = UNSET
    reproduction: float | UnsetType = UNSET
    versions: dict[str, str] | UnsetType = UNSET
    fingerprint: str | UnsetType = UNSET

    @classmethod
    def of(cls, row: ExportRow) -> ExportEntry:
        made: dict[str, Any] = {}
        if row.artefact is not None:
            said = {name: getattr(row.artefact, name) for name in row.artefact.__struct_fields__}
            made = {name: value for name, value in said.items() if value is not None}
        return cls(
            **{
                "model": row.model,
                "format": row.format,
                "precision": row.precision,
                "gate": row.gate,
                "seconds": row.seconds,
                "problem": row.problem,
                **made,
            }
        )


class ExportOutput(Record, frozen=True, kw_only=True):
    """The bundle that `edgehemo export` wrote; signed_by: the key's identifier."""

    schema: Literal["edgehemo.export/1"] = "edgehemo.export/1"
    bundle: str
    signed_by: str | None
    artefacts: list[ExportEntry]


class DatasetManifestOutput(Record, frozen=True, kw_only=True):
    """The public sets in numbers. conflicting_labels: pairs of pictures that are one and bear two
    classes. unreadable: file -> why.
    """

    schema: Literal["edgehemo.dataset-manifest/1"] = "edgehemo.dataset-manifest/1"
    manifest: str
    split: str
    sets: list[SetSummary]
    straddling_by_group_alone: Count
    conflicting_labels: list[tuple[str, str]]
    unreadable: Mapping[str, str]


class ListedSet(Record, frozen=True, kw_only=True):
    """A published data set. folders: it brings, by the names of the readers. url: None where it is
    had by hand alone; url_said_by, licence_said_by: the publisher, or others who quote it.
    pinned_files: unpacked files whose digest is known; 0 says that nothing is pinned. here: folders
    that lie in the data root, None where no root was given. unsure: what could not be verified.
    """

    name: str
    title: str
    about: str
    folders: list[str]
    pictures: Count | None
    size_mb: float | None
    licence: str
    licence_said_by: SaidBy
    licence_page: str
    page: str
    url: str | None
    url_said_by: SaidBy
    citation: str
    pinned_files: Count
    here: list[str] | None
    unsure: list[str]


class DataListOutput(Record, frozen=True, kw_only=True):
    """The data sets that `edgehemo data get` knows by name."""

    schema: Literal["edgehemo.data-list/1"] = "edgehemo.data-list/1"
    data: str | None
    sets: list[ListedSet]


class GotSet(Record, frozen=True, kw_only=True):
    """A folder of the data root. pinned_files: of its files, those whose digest the registry has;
    the others were recorded when they came first. same_as_ours, other_than_ours: of the files that
    this project's figures stand on. archive_as_published: None where no digest of it was published.
    """

    name: str
    folder: str
    state: Literal["fetched", "already there"]
    source: str
    licence: str
    files: Count
    bytes: Count
    pictures: Count
    pinned_files: Count
    same_as_ours: Count
    other_than_ours: Count
    archive_as_published: bool | None


class DataGetOutput(Record, frozen=True, kw_only=True):
    """What `edgehemo data get` brought, or found whole."""

    schema: Literal["edgehemo.data-get/1"] = "edgehemo.data-get/1"
    data: str
    sets: list[GotSet]


class DataCheckOutput(Record, frozen=True, kw_only=True):
    """What `edgehemo data check` found. folder: the data root that files are relative to. faults:
    findings that must be put right. findings: the worst first.
    """

    schema: Literal["edgehemo.data-check/1"] = "edgehemo.data-check/1"
    folder: str
    faults: Count
    sets: list[CheckedSet]
    findings: list[Finding]


class DatasetDrawOutput(Record, frozen=True, kw_only=True):
    """A set that was drawn to practise on. cells: that bear a type."""

    schema: Literal["edgehemo.dataset-draw/1"] = "edgehemo.dataset-draw/1"
    folder: str
    samples: Count
    fields: Count
    cells: Count


class ConfigEntry(Record, frozen=True, kw_only=True):
    """One value. key: with its tables, such as ``loop.steps``. origin: the file that says it, or
    ``default``.
    """

    key: str
    value: Any
    origin: str


class ConfigShowOutput(Record, frozen=True, kw_only=True):
    """The configuration that a training of this task has in force."""

    schema: Literal["edgehemo.config-show/1"] = "edgehemo.config-show/1"
    task: str
    shipped: str
    override: str | None
    values: list[ConfigEntry]
