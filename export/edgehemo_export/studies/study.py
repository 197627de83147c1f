"""What a study is, what it is handed, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from pydantic import Field

from edgehemo_export.configuration import Configuration
from edgehemo_export.evaluation.statistics import EvaluationFigure
from edgehemo_export.studies.parts import PartStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Json = Any


class StudyConfiguration(Configuration):
    """What every study's configuration has. seeds: each is a run of its own, from split to
    figures. threads: of PyTorch; another number gives other last digits.
    """

    seeds: tuple[int, ...] = Field(min_length=1)
    threads: int = Field(ge=1, le=64)


ConfigT = TypeVar("ConfigT", bound=StudyConfiguration)


@dataclass(frozen=True)
class Paper:
    """The paper a study repeats. citation: authors, title, journal, year. doi: without the host.
    licence: of its text.
    """

    citation: str
    doi: str
    licence: str


@dataclass(frozen=True)
class PlannedPart:
    """A step of a study before it is done. name: as `StudyContext.part` is called with. seconds:
    it took with the configured threads on one quiet core or two of a server (AMD EPYC, 2026).
    """

    name: str
    seconds: float


@dataclass(frozen=True)
class Study(Generic[ConfigT]):
    """A study: its configuration, what it plans to do with it, and how it runs.

    shape: one sentence on what ``--data`` may be, for the help and for errors.
    """

    name: str
    title: str
    paper: Paper
    shape: str
    configuration: type[ConfigT]
    plan: Callable[[ConfigT], Sequence[PlannedPart]]
    run: Callable[[StudyContext[ConfigT]], StudyResult]


@dataclass(frozen=True)
class StudyContext(Generic[ConfigT]):
    """What a run is handed.

    data: where `use` takes relative names from. quick: whether the ``[quick]`` table is in force.
    tell: says in a few words where a part is.
    """

    data: Path
    configuration: ConfigT
    quick: bool
    tell: Callable[[str], None]
    store: PartStore

    def use(self, files: Iterable[Path]) -> None:
        """The files a study reads, before its first part: their digests are the data it ran on.

        Parts made on other data are made again.
        """
        self.store.use(self.data, files)

    def part(self, name: str, make: Callable[[], Json], of: object = None) -> Json:
        """The answer of a step, made now or read back from an earlier run; plain JSON values.

        of: what the step depends on beside the data (plain values, records, configurations), None
        for the whole configuration. A part made with anything else is made again.
        """
        return self.store.part(name, make, self._of(of))

    def arrays(
        self, name: str, make: Callable[[], Mapping[str, NDArray[Any]]], of: object = None
    ) -> dict[str, NDArray[Any]]:
        """As `part`, for arrays by name."""
        return self.store.arrays(name, make, self._of(of))

    def work(self, name: str, of: object = None) -> Path:
        """A folder for what a long part stores on its own way, such as the state of a training.

        Empty when the part was never begun with what it depends on; gone when the run is done.
        """
        return self.store.work(name, self._of(of))

    def _of(self, of: object) -> object:
        return self.configuration if of is None else of


@dataclass(frozen=True)
class Measure:
    """A figure of a study.

    name: ``accuracy``, ``recall``. of: what it is of (``scattering + SVM``). on: on which part of
    the data (``held-out 30 %``). value: the mean over seeds where there are several. low, high:
    95 % bounds, None where none can be given; interval: how they were made. n: how many pictures
    (or pairs) it is measured on. seeds: seed -> its value. unit: none for a share.
    """

    name: str
    of: str
    on: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None
    interval: str = ""
    seeds: Mapping[int, float] = field(default_factory=dict)
    unit: str = ""

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds, None for fewer than two."""
        values = list(self.seeds.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def __str__(self) -> str:
        return worded(self.value, self.low, self.high) + (f" {self.unit}" if self.unit else "")

    @classmethod
    def of_seeds(
        cls,
        name: str,
        values: Mapping[int, float],
        *,
        of: str,
        on: str,
        n: int,
        figure: EvaluationFigure | None = None,
        unit: str = "",
    ) -> Measure:
        """The mean over seeds. figure: the interval that goes with it, made by who knows how the
        seeds' pictures overlap.
        """
        return cls(
            name=name,
            of=of,
            on=on,
            value=float(np.mean(list(values.values()))),
            n=n,
            low=None if figure is None else figure.low,
            high=None if figure is None else figure.high,
            interval="" if figure is None else figure.method,
            seeds=values,
            unit=unit,
        )


@dataclass(frozen=True)
class Prediction:
    """One answer to one picture. picture: its path below the data. target: of a regression with
    several. truth, predicted: a class's name or a number. scores: by class, or none.
    """

    part: str
    method: str
    seed: int
    picture: str
    group: str
    source: str
    truth: str | float
    predicted: str | float
    scores: Mapping[str, float] = field(default_factory=dict)
    fold: int | None = None
    target: str = ""


@dataclass(frozen=True)
class Comparison:
    """The paper's figure beside ours. where: in the paper (``Figure 2``). comparable: whether the
    two can be set side by side; why: or why not, in one sentence.
    """

    what: str
    paper: str
    where: str
    ours: str
    comparable: bool
    why: str


@dataclass(frozen=True)
class StudyFigure:
    """A drawing by its file's name (without an ending), with the sentence under it."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Table:
    """A table of texts. numbers: columns from 0 that are set flush right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    caption: str = ""


# What stands on the page, in its order: a paragraph, a table, drawings beside one another.
Block = str | Table | StudyFigure | tuple[StudyFigure, ...]


@dataclass(frozen=True)
class Section:
    """A heading of the page and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    summary: one to three sentences, at the top of the page. comparison: the paper's figures beside
    ours. not_comparable: sentences on what keeps the two apart. data: what was used, as a table's
    rows (name, number of pictures, what is known of it). start: weights that trainings began with,
    by network. tables: plain values that belong into metrics.json and are no single figures.
    """

    summary: str
    measures: Sequence[Measure]
    predictions: Sequence[Prediction]
    comparison: Sequence[Comparison]
    not_comparable: Sequence[str]
    sections: Sequence[Section]
    data: Table
    start: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Json] = field(default_factory=dict)

    def figures(self) -> list[StudyFigure]:
        """Every drawing of the page, in its order; ValueError where two have one name."""
        found: list[StudyFigure] = []
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, StudyFigure):
                    found.append(block)
                elif isinstance(block, tuple):
                    found += block
        names = [item.name for item in found]
        if len(set(names)) < len(names):
            raise ValueError(f"two drawings of one name: {sorted(names)}")
        return found


def worded(value: float, low: float | None = None, high: float | None = None) -> str:
    """A figure with its bounds as pages show it: three digits after the point below 10."""
    digits = 3 if abs(value) < 10 else 1
    text = f"{value:.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} ({low:.{digits}f} to {high:.{digits}f})"
