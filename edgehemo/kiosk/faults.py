"""What stops the work at the kiosk: one table, by the codes of the guidance catalogue.

What each says to a person stands in the catalogue; here is what the flow does with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

FaultCode = Literal[
    "CAMERA_UNPLUGGED",
    "CAMERA_FROZEN",
    "CAMERA_DARK",
    "CAMERA_TIMEOUT",
    "CAMERA_NOT_FOUND",
    "CAMERA_BUSY",
    "CAMERA_SETTING_REFUSED",
    "CAPTURE_FAILED",
    "NO_NEW_FIELD",
    "SLIDE_ENDED",
    "LAMP_OFF",
    "RECORDS_FULL",
    "RECORDS_SET_ASIDE",
    "RECORDS_REFUSED",
    "CLOCK_UNSET",
    "CALIBRATION_EXPIRED",
    "PROFILE_EDITED",
    "PROFILE_REFUSED",
    "CONTROL_DUE",
    "CONTROL_FAILED",
    "CONTROL_MISSING",
    "BUNDLE_REFUSED",
    "OUT_OF_MEMORY",
    "WORKER_CRASHED",
    "WORKER_SILENT",
    "WORKER_GAVE_UP",
    "KIOSK_BEGUN_ANEW",
    "STICK_MISSING",
    "STICK_FULL",
    "PRINTER_MISSING",
]
FAULT_CODES: tuple[FaultCode, ...] = get_args(FaultCode)

# What a fault stops: the camera's work, anything that is written, one thing that was asked for.
Stops = Literal["capture", "storing", "one_thing"]


@dataclass(frozen=True, slots=True)
class FaultRule:
    """stops: see `Stops`. passes: whether the worker may go on without mending it. clears: whether
    the device notices by itself that it is mended. caretaker: whether only whoever looks after the
    device can mend it.
    """

    stops: Stops
    passes: bool = False
    clears: bool = True
    caretaker: bool = False


FAULTS: Mapping[FaultCode, FaultRule] = {
    "CAMERA_UNPLUGGED": FaultRule("capture"),
    "CAMERA_FROZEN": FaultRule("capture"),
    "CAMERA_DARK": FaultRule("capture"),
    "CAMERA_TIMEOUT": FaultRule("capture"),
    "CAMERA_NOT_FOUND": FaultRule("capture", caretaker=True),
    "CAMERA_BUSY": FaultRule("capture", caretaker=True),
    "CAMERA_SETTING_REFUSED": FaultRule("capture", caretaker=True),
    "CAPTURE_FAILED": FaultRule("capture", caretaker=True),
    "NO_NEW_FIELD": FaultRule("capture", clears=False),
    "SLIDE_ENDED": FaultRule("capture", clears=False, caretaker=True),
    "LAMP_OFF": FaultRule("capture"),
    "RECORDS_FULL": FaultRule("storing", caretaker=True),
    "RECORDS_SET_ASIDE": FaultRule("one_thing", passes=True, clears=False, caretaker=True),
    "RECORDS_REFUSED": FaultRule("storing", clears=False, caretaker=True),
    "CLOCK_UNSET": FaultRule("capture", caretaker=True),
    "CALIBRATION_EXPIRED": FaultRule("capture", clears=False, caretaker=True),
    "PROFILE_EDITED": FaultRule("capture", clears=False, caretaker=True),
    "PROFILE_REFUSED": FaultRule("capture", clears=False, caretaker=True),
    "CONTROL_DUE": FaultRule("capture", clears=False, caretaker=True),
    "CONTROL_FAILED": FaultRule("capture", clears=False, caretaker=True),
    "CONTROL_MISSING": FaultRule("capture", clears=False, caretaker=True),
    "BUNDLE_REFUSED": FaultRule("capture", clears=False, caretaker=True),
    "OUT_OF_MEMORY": FaultRule("capture", clears=False, caretaker=True),
    "WORKER_CRASHED": FaultRule("capture"),
    "WORKER_SILENT": FaultRule("capture"),
    "WORKER_GAVE_UP": FaultRule("capture", clears=False),
    "KIOSK_BEGUN_ANEW": FaultRule("one_thing", passes=True, clears=False),
    "STICK_MISSING": FaultRule("one_thing", passes=True),
    "STICK_FULL": FaultRule("one_thing", passes=True, clears=False),
    "PRINTER_MISSING": FaultRule("one_thing", passes=True, clears=False),
}
# So many ends and silences of the worker within the window are mended by starting it again; one
# more is told.
WORKER_TRIES, WORKER_WINDOW_S = 3, 600.0
# Faults of a worker that does not answer, or is not there: trying again starts another.
ASKS_FOR_ANOTHER_WORKER: frozenset[FaultCode] = frozenset({"WORKER_SILENT", "WORKER_GAVE_UP"})

# Seen when the kiosk starts, before anybody signs in, and told to whoever signs in first.
TOLD_AT_SIGN_IN: frozenset[FaultCode] = frozenset({"RECORDS_SET_ASIDE", "KIOSK_BEGUN_ANEW"})

# What the page says that stands in the place of a kiosk that does not start.
OUT_OF_SERVICE: Literal["KIOSK_OUT_OF_SERVICE"] = "KIOSK_OUT_OF_SERVICE"

# What no health worker can mend, of faults and of the self-check: they are told whom to call, and
# not a command to type.
CARETAKER: frozenset[str] = frozenset(
    {code for code, rule in FAULTS.items() if rule.caretaker}
    | {"RECORDS_SPACE_LOW", "RECORDS_UNREADABLE", "BACKUP_DUE", "CALIBRATION_NONE"}
    | {"CONTROL_HISTORY_UNREADABLE", "CONTROL_NONE"}
)
