"""What the checks measure with: the board, its camera, the service. Behind one face, so that tests
give made-up ones; `edgehemo_firmware.acceptance.here` is the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgehemo.capture.protocol import Camera
from edgehemo.device.board import BoardState
from edgehemo_firmware.acceptance.record import Figure


@dataclass(frozen=True, slots=True)
class RawPicture:
    """A picture as the sensor gave it: its size, the bits of a value, the format's name."""

    width_px: int
    height_px: int
    bits: int
    format: str


@dataclass(frozen=True, slots=True)
class Screened:
    """A slide that was screened. seconds: from its first picture to its report."""

    fields: int
    accepted: int
    seconds: float
    report: Path


@dataclass(frozen=True, slots=True)
class Screens:
    """What shows and what is touched: connected screens with their modes, touch panels by name."""

    connected: tuple[str, ...]
    touch: tuple[str, ...]


class Instruments(Protocol):
    """Every method raises NotPossibleError where this machine cannot do it, with why."""

    def boot(self) -> str:
        """The kernel's number of this start."""
        ...

    def monotonic(self) -> float:
        """Seconds from a fixed moment of this start."""
        ...

    def described(self) -> Mapping[str, str]: ...

    def software(self) -> Mapping[str, str]: ...

    def memory_mb(self) -> int: ...

    def board(self) -> BoardState:
        """Heat, and whether the firmware slowed it down."""
        ...

    def camera(self) -> tuple[str, AbstractContextManager[Camera]]:
        """What the camera of this device is called, and the camera, not opened yet."""
        ...

    def raw(self) -> RawPicture: ...

    def screened(self, folder: Path) -> Screened: ...

    def timed(self) -> Sequence[Mapping[str, Figure]]:
        """A row an artefact: model, runtime, precision, threads, median and p95 ms."""
        ...

    def loaded(self, seconds: float) -> Iterator[float]:
        """Work as a screening does for so long; yields the seconds gone after each field."""
        ...

    def screens(self) -> Screens: ...

    def service_ready_s(self) -> float:
        """Seconds from the kernel's start until the kiosk was ready."""
        ...

    def stop_answering(self) -> float:
        """Have the kiosk's server hang; seconds until it was back. Its watchdog must end it."""
        ...

    def hardware_watchdog_s(self) -> float:
        """After how many seconds without a sign of life the board is started again."""
        ...

    def crash(self) -> None:
        """Stop the kernel at once; does not come back."""
        ...

    def counter(self) -> Path:
        """The file of numbers that outlasts the cuts, on the data partition."""
        ...

    def damage(self) -> Mapping[str, int]:
        """Faults of the data's file system and of the records, counted."""
        ...
