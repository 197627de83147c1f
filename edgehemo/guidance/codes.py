"""Every code a person can meet, by kind: the types that checkers hold the source against.

What each says is in ``catalogue.json`` beside this module; a test holds the two together.
Nothing is imported here but `typing`.
"""

from __future__ import annotations

from typing import Literal

# What a check of a field finds.
QualityCode = Literal[
    "PICTURE_INCOMPLETE",
    "NOT_A_SMEAR",
    "NO_CELLS",
    "COLOUR_MISSING",
    "SCALE_UNKNOWN",
    "SCALE_UNCERTAIN",
    "SCALE_MISMATCH",
    "SCALE_CONTRADICTED",
    "LIGHT_TOO_DARK",
    "LIGHT_TOO_BRIGHT",
    "SHADOWS_CLIPPED",
    "LIGHT_UNEVEN",
    "FIELD_STOP",
    "BACKGROUND_MISSING",
    "LIGHT_DRIFT",
    "OUT_OF_FOCUS",
    "FOCUS_UNKNOWN",
    "STAIN_FAINT",
    "STAIN_DARK",
    "STAIN_COLOUR",
    "BACKGROUND_COLOUR",
    "STAIN_DRIFT",
    "NUCLEI_PALE",
    "STAINS_ALIKE",
    "NUCLEATED_RED_CELLS",
    "OUTSIDE_ENVELOPE",
    "TOO_FEW_CELLS",
    "TOO_CROWDED",
    "CELLS_CLUMPED",
    "ROULEAUX",
    "CELLS_UNEVEN",
    "ARTEFACTS",
    "SAME_PLACE",
]

# What is wrong with a camera.
CameraCode = Literal[
    "CAMERA_TIMEOUT",
    "CAMERA_UNPLUGGED",
    "CAMERA_FROZEN",
    "CAMERA_DARK",
    "CAMERA_SETTING_REFUSED",
    "CAMERA_NOT_FOUND",
    "CAMERA_BUSY",
    "SLIDE_ENDED",
    "NO_NEW_FIELD",
]

# What the operator is to do while fields are taken.
Advice = Literal[
    "TURN_FOCUS",
    "FIND_CELLS",
    "REFOCUS",
    "HOLD_STILL",
    "MOVE_ON",
    "FIELD_TAKEN",
]

# Why a whole sample has no result.
WithheldCode = Literal[
    "NO_IMAGE",
    "NOTHING_READABLE",
    "NO_FIELD_ACCEPTED",
    "PROFILE_EDITED",
    "CLOCK_UNSET",
    "CALIBRATION_EXPIRED",
    "CONTROL_HISTORY_UNREADABLE",
    "CONTROL_FAILED",
    "CONTROL_MISSING",
    "CONTROL_CLOCK_WRONG",
    "CONTROL_DUE",
]

# What of a sample that has a result looks wrong.
DoubtCode = Literal[
    "SCALES_DIFFER",
    "SIZES_DIFFER",
    "SEVERAL_SAMPLES",
]

# What of a sample a person must look at.
FindingCode = Literal[
    "RED_CELLS_WITH_INCLUSIONS",
    "BLASTS_SEEN",
    "ERYTHROBLASTS_SEEN",
    "IMMATURE_GRANULOCYTES_SEEN",
    "SCHISTOCYTES_SEEN",
    "SICKLE_CELLS_SEEN",
]

# Why one value of a sample is not given.
ValueCode = Literal[
    "NOT_CALIBRATED",
    "NOT_CALIBRATED_FOR",
    "FLAT_FIELD_CHANGED",
    "SCALE_CHANGED",
    "CAMERA_OTHER",
    "PICTURE_SIZE_OTHER",
    "SCALE_OTHER",
    "SAMPLE_UNLIKE_CALIBRATION",
    "CALIBRATION_ERROR_LARGE",
    "CALIBRATION_INTERVAL_WIDE",
    "BUNDLE_CHANGED",
    "ESTIMATOR_UNKNOWN",
    "SCALE_NOT_MEASURED",
    "NETWORK_SILENT",
    "INDEX_MISSING",
    "INDEX_OUT_OF_RANGE",
    "VALUE_OUT_OF_RANGE",
    "VALUE_NOT_A_NUMBER",
    "PART_MISSING",
    "PARTS_MISSING",
    "PART_NOT_POSITIVE",
    "SAMPLE_WITHHELD",
    "PERSON_UNKNOWN",
    "HAEMOGLOBIN_UNKNOWN",
    "INTERVAL_TOO_WIDE",
    "RED_CELL_MODEL_MISSING",
    "CONFUSION_MISSING",
    "TOO_FEW_RED_CELLS",
    "WHITE_CELL_MODEL_MISSING",
    "CELLS_UNFAMILIAR",
    "TYPES_NOT_CHECKED",
    "TYPES_CHECK_FAILED",
    "TYPES_OF_ANOTHER_MODEL",
    "ANAEMIA_SCREEN_NOT_ASKED",
    "ANAEMIA_SCREEN_MISSING",
    "ANAEMIA_SCREEN_SILENT",
]

# What `edgehemo doctor` finds.
DeviceCode = Literal[
    "SYSTEM_32_BIT",
    "PYTHON_VERSION",
    "SOFTWARE_MIXED",
    "VERSION_LEFT",
    "VERSION_ON_TRIAL",
    "VERSION_STATE_UNREADABLE",
    "PACKAGES_MISSING",
    "SOURCE_NOT_INSTALLED",
    "OPENCV_TWICE",
    "CONFIGURATION_WRONG",
    "BOARD_NOT_A_PI",
    "BOARD_OTHER",
    "RUNTIME_MISSING",
    "RUNTIME_BROKEN",
    "RUNTIME_OUTDATED",
    "BUNDLE_UNUSABLE",
    "BUNDLE_UNSIGNED",
    "CALIBRATION_NONE",
    "CALIBRATION_UNREADABLE",
    "CALIBRATION_OLD",
    "CALIBRATION_DEMONSTRATION",
    "CONTROL_NONE",
    "CAMERA_ACCESS_DENIED",
    "CAMERA_ABSENT",
    "PICAMERA2_MISSING",
    "SENSOR_ABSENT",
    "DATA_FOLDER_UNKNOWN",
    "DATA_FOLDER_UNREADABLE",
    "DATA_FOLDER_READ_ONLY",
    "DISK_LOW",
    "RECORDS_UNREADABLE",
    "RECORDS_SET_ASIDE",
    "RECORDS_SPACE_LOW",
    "BACKUP_DUE",
    "MEMORY_LOW",
    "TEMPERATURE_HIGH",
    "THROTTLED",
    "UNDER_VOLTAGE",
    "CLOCK_WRONG",
]

# What has changed at a device over weeks.
DriftCode = Literal[
    "LIGHT_FADED",
    "LIGHT_BRIGHTER",
    "LIGHT_COLOUR_CHANGED",
    "STAIN_CHANGED",
    "STAIN_HUE_CHANGED",
    "FOCUS_WORN",
    "SMEARS_THICKER",
    "SMEARS_THINNER",
    "REFUSALS_MORE",
    "WITHHELD_MORE",
    "RESULTS_SHIFTED",
    "NAMES_UNSURE_MORE",
    "FIELDS_UNFAMILIAR",
    "OVERRIDES_MORE",
    "ANALYSER_DISAGREES",
    "CONTROL_DRIFTS",
    "RETRAINING_DUE",
]

# What stops the work at the kiosk, beside what the others are.
KioskCode = Literal[
    "LAMP_OFF",
    "WORKER_CRASHED",
    "WORKER_SILENT",
    "KIOSK_BEGUN_ANEW",
    "KIOSK_OUT_OF_SERVICE",
    "WORKER_GAVE_UP",
    "STICK_MISSING",
    "STICK_FULL",
    "PRINTER_MISSING",
    "PRINT_FAILED",
]

# Why a message is not with its receiver.
SendingCode = Literal[
    "RECEIVER_UNREACHABLE",
    "RECEIVER_SILENT",
    "RECEIVER_BUSY",
    "RECEIVER_FAILED",
    "RECEIVER_DENIED",
    "RECEIVER_ADDRESS_WRONG",
    "RECEIVER_FILES_WRONG",
    "CERTIFICATE_REFUSED",
    "ANSWER_UNREADABLE",
    "FOLDER_ABSENT",
    "FOLDER_FULL",
    "FOLDER_UNWRITABLE",
    "MESSAGE_REFUSED",
    "MESSAGE_TOO_LARGE",
    "MESSAGE_NOT_MADE",
    "MESSAGE_DAMAGED",
    "SENDING_FAULT",
]

# What an error of the project is; each class of `edgehemo.errors` bears one.
ErrorCode = Literal[
    "FAILED",
    "USAGE",
    "IMAGE_UNREADABLE",
    "FIELD_UNREADABLE",
    "CAPTURE_FAILED",
    "BUNDLE_REFUSED",
    "PROFILE_REFUSED",
    "CONFIGURATION_REFUSED",
    "MEDIA_REFUSED",
    "UPDATE_REFUSED",
    "PUBLICATION_REFUSED",
    "CALIBRATION_REFUSED",
    "TABLE_REFUSED",
    "PART_NOT_INSTALLED",
    "OUT_OF_MEMORY",
    "RECORDS_REFUSED",
    "RECORDS_BUSY",
    "KIOSK_BUSY",
    "RECORDS_FULL",
    "RECORDS_DAMAGED",
    "SIGN_IN_REFUSED",
    "GATE_FAILED",
]

Code = (
    QualityCode
    | CameraCode
    | Advice
    | WithheldCode
    | DoubtCode
    | FindingCode
    | ValueCode
    | DeviceCode
    | DriftCode
    | KioskCode
    | SendingCode
    | ErrorCode
)
Kind = Literal[
    "quality",
    "camera",
    "capture",
    "withheld",
    "doubt",
    "finding",
    "value",
    "device",
    "drift",
    "kiosk",
    "sending",
    "error",
]
