"""What passes between the kiosk's server and the process that captures and analyses."""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.anaemia.who_grade import Person
from edgehemo.images.frame import Frame
from edgehemo.kiosk.faults import FaultCode
from edgehemo.kiosk.state import Checked
from edgehemo.records.circumstances import Circumstances
from edgehemo.screening.field import FieldReading
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.sample import SampleReading, UnreadableImage


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """Look at camera, lamp, bundle and profile. source: the camera."""

    ref: int
    source: str


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """Take fields until the rule is satisfied. images: what was read of the sample so far."""

    ref: int
    source: str
    person: Person | None
    images: tuple[FieldReading | UnreadableImage, ...]


@dataclass(frozen=True, slots=True)
class FinishOrder:
    """Pool what was read of the sample."""

    ref: int
    source: str
    person: Person | None
    images: tuple[FieldReading | UnreadableImage, ...]
    simulated: bool


@dataclass(frozen=True, slots=True)
class ProbeOrder:
    """Look whether a camera that failed gives pictures again."""

    code: FaultCode
    source: str


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Let go of the camera."""


Order = CheckOrder | CaptureOrder | FinishOrder | ProbeOrder | StopOrder


@dataclass(frozen=True, slots=True)
class Ready:
    """The equipment for a camera is open. circumstances: under which it takes samples."""

    source: str
    circumstances: Circumstances


@dataclass(frozen=True, slots=True)
class WasChecked:
    """What the process found."""

    ref: int
    checks: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class SawPicture:
    """A live picture, as a JPEG file, how sharp it is (0 to 1) and what to do."""

    ref: int
    jpeg: bytes
    bar: float
    advice: str


@dataclass(frozen=True, slots=True)
class ReadField:
    """A field. position: among those of the sample, from 0. small: its picture, small, as JPEG.
    red_cells: in all accepted ones.
    """

    ref: int
    position: int
    reading: FieldReading | UnreadableImage
    frame: Frame | None
    small: bytes
    accepted: int
    refused: int
    red_cells: int


@dataclass(frozen=True, slots=True)
class HasEnough:
    """The rule of the sample is satisfied."""

    ref: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The sample, pooled."""

    ref: int
    reading: SampleReading
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Failed:
    """Something stops the work; the process itself goes on."""

    ref: int | None
    code: FaultCode


@dataclass(frozen=True, slots=True)
class Probed:
    """Whether it does."""

    code: FaultCode
    mended: bool


Report = Probed | Ready | WasChecked | SawPicture | ReadField | HasEnough | Finished | Failed
