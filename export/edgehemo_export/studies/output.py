"""What `edgehemo study` writes as JSON: metrics.json, and the same with ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from edgehemo.files.strict import Count, NonNegative, Record, Sha256


class PaperOutput(Record, frozen=True, kw_only=True):
    """The paper that the study repeats."""

    citation: str
    doi: str
    licence: str


class UsedDataOutput(Record, frozen=True, kw_only=True):
    """The files that were read. root: as ``--data`` named it; sha256: over names and contents."""

    root: str
    files: Count
    bytes: Count
    sha256: Sha256


class MeasureOutput(Record, frozen=True, kw_only=True):
    """A figure. of: a method; on: a part of the data; n: on how many pictures or pairs. value: the
    mean over the seeds where there are several, then sd is their standard deviation. low, high:
    95 % bounds, null where none can be given, made as interval says. seeds: seed -> value.
    """

    name: str
    of: str
    on: str
    value: float | None
    unit: str
    n: Count
    low: float | None
    high: float | None
    interval: str
    seeds: Mapping[str, float | None]
    sd: float | None


class ComparisonOutput(Record, frozen=True, kw_only=True):
    """The paper's figure beside ours. where: in the paper; why: it can be compared, or not."""

    what: str
    paper: str
    where: str
    ours: str
    comparable: bool
    why: str


class PartOutput(Record, frozen=True, kw_only=True):
    """A step. seconds: making it took; taken_up: it was there from an earlier run."""

    name: str
    seconds: NonNegative
    taken_up: bool


class RunOutput(Record, frozen=True, kw_only=True):
    """How the run went; all that differs between two runs with the same numbers. seconds: of all
    steps together, those of earlier runs too.
    """

    version: str
    python: str
    libraries: Mapping[str, str]
    board: str
    architecture: str
    threads: Count
    expected_seconds: NonNegative
    seconds: NonNegative
    parts: list[PartOutput]


class StudyOutput(Record, frozen=True, kw_only=True):
    """A study's figures. quick: from the cut-down run, never to be quoted. start: weights that
    trainings began with, by network. files: what lies beside it. numbers_sha256: over measures,
    tables, comparison and predictions; two runs with the same one have the same numbers.
    """

    schema: Literal["edgehemo.study/1"] = "edgehemo.study/1"
    study: str
    title: str
    quick: bool
    paper: PaperOutput
    summary: str
    data: UsedDataOutput
    configuration: Mapping[str, Any]
    start: Mapping[str, str]
    measures: list[MeasureOutput]
    tables: Mapping[str, Any]
    comparison: list[ComparisonOutput]
    not_comparable: list[str]
    numbers_sha256: Sha256
    files: list[str]
    run: RunOutput
