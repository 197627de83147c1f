"""What a report says, whole and in one language: words and numbers as they are printed.

One view feeds the page (`html`) and the paper (`pdf`); neither adds a word or a number of its own.
What stands between backticks is set as a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from edgehemo.report.histogram import Histogram
from edgehemo.report.pictures import Picture
from edgehemo.report.verdict import Verdict
from edgehemo.words.language import Language


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and what it says. code: set in a typewriter's letters."""

    label: str
    value: str
    code: bool = False


@dataclass(frozen=True, slots=True)
class Banner:
    """What must be read before all else. loud: it must not be overlooked."""

    text: str
    loud: bool = False


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of the first page. name: such as ``Haemoglobin (HGB)``. value, interval: as they
    are printed, without the unit.
    """

    name: str
    value: str
    unit: str
    interval: str


@dataclass(frozen=True, slots=True)
class Band:
    """One grade's part of the haemoglobin scale: from, to (0-1 of its length), its name and its
    range in the site's unit.
    """

    grade: str
    start: float
    end: float
    name: str
    range: str


@dataclass(frozen=True, slots=True)
class GradeScale:
    """The WHO bands of a person's group and the interval on them: places are 0-1 of its length.
    ticks: (place, number). said: all of it in words.
    """

    bands: tuple[Band, ...]
    ticks: tuple[tuple[float, str], ...]
    value: float
    low: float
    high: float
    unit: str
    said: str


@dataclass(frozen=True, slots=True)
class Attention:
    """What a person must look at or settle first: what it is, and what to do."""

    what: str
    action: str


@dataclass(frozen=True, slots=True)
class Signature:
    """Who answers for the result. lines: in whole sentences. open: nobody does yet, and the paper
    has a line to sign on; signed_by, on: the words beside that line.
    """

    title: str
    lines: tuple[str, ...]
    open: bool
    signed_by: str
    on: str


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph. soft: set back."""

    text: str
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """A table of labels and what they say."""

    rows: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts. numbers: the columns, from 0, that are set flush right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Sentences, one a line."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldShown:
    """A drawn field. verdict: whether it was accepted, in a word. lines: what is said of it."""

    picture: Picture
    number: str
    name: str
    accepted: bool
    verdict: str
    lines: tuple[str, ...]
    said: str


@dataclass(frozen=True, slots=True)
class Fields:
    """Drawn fields, and what the colours and shapes in them mean: (kind or ``refused``, words)."""

    key: tuple[tuple[str, str], ...]
    shown: tuple[FieldShown, ...]


@dataclass(frozen=True, slots=True)
class CellShown:
    """A single cell. name: what it is called. by_person: who called it so was a person."""

    picture: Picture
    place: str
    name: str
    by_person: bool
    said: str


@dataclass(frozen=True, slots=True)
class Cells:
    """A gallery of single cells."""

    shown: tuple[CellShown, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The distribution of red-cell sizes. axis, cells, usual: words in the drawing."""

    drawn: Histogram
    axis: str
    cells: str
    usual: str
    said: str


Block: TypeAlias = Note | Facts | Table | Listing | Fields | Cells | Sizes


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the evidence. together: it is not to be broken between pages."""

    title: str
    blocks: tuple[Block, ...]
    together: bool = False


@dataclass(frozen=True, slots=True)
class Headings:
    """The words of the first page's parts."""

    todo: str
    sure: str
    numbers: str
    interval: str
    attention: str
    not_given: str
    evidence: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report. name: of the document, as a reader lists it. facts: whose the sample is, where,
    when and by what. note: under the verdict. hgb_interval: the haemoglobin's in a line, empty
    without one. todo: what to do next, in order. sure: how sure, and why. not_given: what was
    withheld and why. audit: where it stands in the records, empty where it is not stored; code: the
    text of the QR code, likewise. page_of: such as ``{n} of {all}``, its places open. made_at: of
    the result, aware.
    """

    language: Language
    name: str
    heading: str
    facts: tuple[Fact, ...]
    notice: str
    banners: tuple[Banner, ...]
    verdict: Verdict
    note: str
    unit: str
    hgb_interval: str
    scale: GradeScale | None
    quantities: tuple[Quantity, ...]
    todo: tuple[str, ...]
    sure: tuple[str, ...]
    attention: tuple[Attention, ...]
    not_given: tuple[Fact, ...]
    signature: Signature
    headings: Headings
    sections: tuple[Section, ...]
    audit: tuple[str, ...]
    code: str
    code_said: str
    page_of: str
    made_at: datetime
