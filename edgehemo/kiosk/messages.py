"""What passes between the kiosk's server and the process that captures and analyses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgehemo.anaemia.who_grade import Person
from edgehemo.capture.protocol import CameraSettings
from edgehemo.images.frame import Frame
from edgehemo.kiosk.faults import FaultCode
from edgehemo.kiosk.practice import DrawnCell
from edgehemo.kiosk.state import Checked
from edgehemo.records.circumstances import Circumstances
from edgehemo.report.asked_cells import AskedCell
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
    """Take fields until the rule is satisfied. images: what was read of the sample so far. run: of
    this order, which its fields say again: one that was begun before the sample was left, and read
    after it was taken up again, is not of it.
    """

    ref: int
    run: int
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
class TruthOrder:
    """Draw fields of a practice slide again: what are the asked cells?"""

    ref: int
    source: str
    asked: tuple[AskedCell, ...]


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Let go of the camera."""


@dataclass(frozen=True, slots=True)
class LookOrder:
    """Show the camera's picture without a sample; ends by itself where it is not said again.

    number: of what was asked for, rising; reports say it again. settings: given to the camera.
    folder: where pictures are kept as PNG files, one for each of `pictures`, which are settings
    given before it on top of the others; move: a stage goes on before each but the first.
    """

    number: int
    source: str
    settings: CameraSettings = field(default_factory=CameraSettings)
    folder: str | None = None
    pictures: tuple[CameraSettings, ...] = ()
    move: bool = False


Order = CheckOrder | CaptureOrder | FinishOrder | ProbeOrder | StopOrder | LookOrder | TruthOrder


@dataclass(frozen=True, slots=True)
class Awake:
    """The process has begun and takes orders."""


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
    """A field. run: of the order. position: among those of the sample, from 0. small: its picture,
    small, as JPEG. red_cells: in all accepted ones.
    """

    ref: int
    run: int
    position: int
    reading: FieldReading | UnreadableImage
    frame: Frame | None
    small: bytes
    accepted: int
    refused: int
    red_cells: int


@dataclass(frozen=True, slots=True)
class KnowsTruth:
    """What the asked cells of a practice slide are, by their number; None where none was drawn."""

    ref: int
    drawn: Mapping[int, DrawnCell | None]


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


@dataclass(frozen=True, slots=True)
class Levels:
    """What a picture's light and sharpness are. bright_rgb: counts (0 to 255) that 98 % of each
    channel lie below. clipped, black: shares of its pixels at either end. histogram: shares of the
    pixels by their green counts, from dark to bright. focus: of `focus_bar`, no unit.
    """

    bright_rgb: tuple[float, float, float]
    clipped: float
    black: float
    histogram: tuple[float, ...]
    focus: float


@dataclass(frozen=True, slots=True)
class SawLook:
    """A live picture of a look, as a JPEG file. settings: what the camera says it is set to."""

    number: int
    jpeg: bytes
    bar: float
    levels: Levels
    settings: CameraSettings


@dataclass(frozen=True, slots=True)
class TookPicture:
    """A picture that was asked for is in its file."""

    number: int
    file: str


@dataclass(frozen=True, slots=True)
class LookFailed:
    """What was asked for could not be done. message: in English, with what to do."""

    number: int
    code: str
    message: str


Report = Awake | (
    SawLook
    | TookPicture
    | LookFailed
    | Probed
    | Ready
    | WasChecked
    | SawPicture
    | ReadField
    | HasEnough
    | Finished
    | KnowsTruth
    | Failed
)
