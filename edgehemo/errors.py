"""Every error a user can cause or meet, each with the exit code the command line ends with.

The message of each is one line: what is wrong and what to do about it. The command line prints
that line and no traceback; a batch keeps it as the ``error`` of one image and goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_DONE = 0
EXIT_WITHHELD = 1
EXIT_BAD_INPUT = 2
# A fault of the program itself (sysexits.h: EX_SOFTWARE); no fault of a user's ends so.
EXIT_CRASHED = 70


class EdgeHemoError(Exception):
    """Base of the project's errors.

    exit_code: what the command line returns. code: what `edgehemo.guidance` knows it by. lines:
    where many things are wrong, what the command line prints instead, each on a line of its own.
    """

    exit_code: int = EXIT_BAD_INPUT
    code: str = "FAILED"
    lines: tuple[str, ...] = ()


class UsageError(EdgeHemoError):
    """Arguments that contradict each other or ask for what this installation cannot do."""

    code = "USAGE"


class ImageError(EdgeHemoError):
    """A file that cannot be read as an image: missing, empty, truncated, not one, too large."""

    code = "IMAGE_UNREADABLE"


class FieldError(EdgeHemoError):
    """A frame from which no canonical field can be made."""

    code = "FIELD_UNREADABLE"


class CaptureError(EdgeHemoError):
    """A camera that failed; ``code`` names the fault and ``action`` tells the operator what to do.

    ``code`` is a `edgehemo.guidance.codes.CameraCode`.
    """

    code = "CAPTURE_FAILED"

    def __init__(self, message: str, *, code: str, action: str) -> None:
        super().__init__(message)
        self.code = code
        self.action = action


class BundleError(EdgeHemoError):
    """A model bundle that is missing, damaged or of a version this software does not know."""

    code = "BUNDLE_REFUSED"


class ProfileError(EdgeHemoError):
    """A calibration profile that is missing, invalid or made for other equipment."""

    code = "PROFILE_REFUSED"


class DeviceError(EdgeHemoError):
    """A device configuration that is missing or invalid."""

    code = "CONFIGURATION_REFUSED"


class MediaError(EdgeHemoError):
    """Installation media that are missing, damaged, for another device or not to be trusted."""

    code = "MEDIA_REFUSED"


class UpdateError(EdgeHemoError):
    """Another version of edgehemo cannot be installed, or gone back to; what runs is untouched."""

    code = "UPDATE_REFUSED"


class PublicationError(EdgeHemoError):
    """Something that a laboratory published is damaged, not to be trusted, old or unfit here; what
    was in use stays.
    """

    code = "PUBLICATION_REFUSED"


class CalibrationError(EdgeHemoError):
    """Calibration data from which no calibration can be made."""

    code = "CALIBRATION_REFUSED"


class TableError(CalibrationError):
    """A table of analyser values with faults: ``faults``, each with its row."""

    code = "TABLE_REFUSED"
    # The message is one line and so holds the first; the command line shows more of them.
    _IN_MESSAGE, _IN_LINES = 20, 200

    def __init__(self, origin: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{origin}: {'; '.join(_some(self.faults, self._IN_MESSAGE))}")
        if len(self.faults) > 1:
            shown = (f"  {fault}" for fault in _some(self.faults, self._IN_LINES))
            self.lines = (f"{origin}: {len(self.faults)} faults", *shown)


def _some(faults: tuple[str, ...], count: int) -> tuple[str, ...]:
    more = len(faults) - count
    return faults[:count] + ((f"and {more} more",) if more > 0 else ())


class MissingDependencyError(EdgeHemoError):
    """An optional part that is not installed; the message names the extra to install."""

    code = "PART_NOT_INSTALLED"


class NotEnoughMemoryError(EdgeHemoError):
    """Memory ran out, in whichever library: see `edgehemo.memory`."""

    code = "OUT_OF_MEMORY"


class StickMissingError(EdgeHemoError):
    """No USB stick that can be written is plugged in, or it was pulled out."""

    code = "STICK_MISSING"


class StickFullError(EdgeHemoError):
    """What is to be written does not fit on the USB stick."""

    code = "STICK_FULL"


class RecordsError(EdgeHemoError):
    """The records cannot be read or written, or refuse what is asked of them."""

    code = "RECORDS_REFUSED"


class RecordsBusyError(RecordsError):
    """Another process is writing the records."""

    code = "RECORDS_BUSY"


class KioskBusyError(EdgeHemoError):
    """Long work of the kiosk is under way already."""

    code = "KIOSK_BUSY"


class RecordsFullError(RecordsError):
    """There is no space left for the records; what was being written is not kept."""

    code = "RECORDS_FULL"


class RecordsDamagedError(RecordsError):
    """The records' file is damaged."""

    code = "RECORDS_DAMAGED"


class SignInError(RecordsError):
    """A PIN that was not taken. wait_s: seconds until the next try is."""

    code = "SIGN_IN_REFUSED"

    def __init__(self, message: str, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class PrinterMissingError(EdgeHemoError):
    """No printer is known, or nothing that prints is installed."""

    code = "PRINTER_MISSING"


class PrintFailedError(EdgeHemoError):
    """A printer did not print. said: in its own words, empty where it said nothing."""

    code = "PRINT_FAILED"

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


class WithheldError(EdgeHemoError):
    """The work was done and its result withheld, or it failed its gate."""

    exit_code = EXIT_WITHHELD
    code = "GATE_FAILED"


class EdgeHemoWarning(UserWarning):
    """Something a caller should know that does not stop the work."""


# The project's packages: whose functions are named where a fault is told, and who writes the log.
PACKAGES = (
    "edgehemo",
    "edgehemo_export",
    "edgehemo_calibration",
    "edgehemo_firmware",
    "edgehemo_laboratory",
)


def place_of(error: BaseException) -> str:
    """Module and line of each of the project's functions the error came through."""
    steps = []
    step = error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in PACKAGES:
            steps.append(f"{module}:{step.tb_lineno}")
        step = step.tb_next
    return " > ".join(steps)
