"""The files a device reads and what its commands write: one row a schema."""

from __future__ import annotations

from edgehemo.bench.output import BenchOutput
from edgehemo.bundle.manifest import Manifest
from edgehemo.bundle.output import (
    BundleInstallOutput,
    BundleListOutput,
    BundleRollbackOutput,
    KeysOutput,
)
from edgehemo.control.history import Clearance, ControlCheck
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.installed_bundles import StoreState
from edgehemo.device.installed_languages import LanguagesState
from edgehemo.device.output import DoctorOutput
from edgehemo.device.version_state import UpdateState
from edgehemo.files.json_schema import Document, Schema
from edgehemo.inference.output import VerifyOutput
from edgehemo.interop.health import Health
from edgehemo.interop.output import (
    OutboxEnrolOutput,
    OutboxOutput,
    OutboxRetryOutput,
    OutboxSendOutput,
    OutboxShowOutput,
)
from edgehemo.measurands import BLOOD_FACTS
from edgehemo.monitor.output import MonitorOutput
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.published.brought import StickReport
from edgehemo.published.packages import PackageManifest
from edgehemo.published.reports import Running
from edgehemo.published.settings import SentSettings
from edgehemo.published.state import PublishedState
from edgehemo.records.backup import BackupManifest
from edgehemo.records.exports.archive_export import ArchiveManifest
from edgehemo.records.exports.dataset import DatasetFile
from edgehemo.records.exports.output import RecordsExportOutput
from edgehemo.records.output import (
    RecordsBackupOutput,
    RecordsChangeOutput,
    RecordsExportedOutput,
    RecordsListOutput,
    RecordsPurgeOutput,
    RecordsReplayOutput,
    RecordsRestoreOutput,
    RecordsShowOutput,
    RecordsVerifyOutput,
    UsersListOutput,
)
from edgehemo.report.result import DemoOutput, ScreenOutput
from edgehemo.screening.output import (
    CellsOutput,
    ClassifyOutput,
    QualityOutput,
)
from edgehemo.screening.sample_output import EstimateOutput

# What a device reads.
FILES = (
    Document("bundle", "the manifest of a model bundle", (Manifest,), written=False),
    Document(
        "profile", "the calibration profile of one microscope", (CalibrationProfile,), written=False
    ),
    Document(
        "device",
        "the configuration of one device, a TOML file",
        (DeviceConfiguration,),
        written=False,
    ),
    Document(
        "control",
        "a control check or clearance, as histories in files had them a line each",
        (ControlCheck, Clearance),
        written=False,
    ),
    Document("bundle-store", "which installed bundle a device uses", (StoreState,), written=False),
    Document(
        "languages", "which words were installed on a device", (LanguagesState,), written=False
    ),
    Document(
        "publication",
        "the manifest of published words or settings",
        (PackageManifest,),
        written=False,
    ),
    Document(
        "published",
        "what a laboratory offered a device, and how it stands",
        (PublishedState,),
        written=False,
    ),
    Document("running", "what runs on a device", (Running,), written=False),
    Document("sent-settings", "settings that a laboratory sets", (SentSettings,), written=False),
    Document("stick-report", "what runs on a device, left on a stick", (StickReport,)),
    Document("update", "which versions of edgehemo are on a kiosk", (UpdateState,), written=False),
    Document(
        "backup", "what belongs to one backup of the records", (BackupManifest,), written=False
    ),
    Document(
        "dataset", "a data set of one's own cells, dataset.toml", (DatasetFile,), written=False
    ),
    Document("archive", "what an archive of results holds", (ArchiveManifest,), written=False),
)

# What types cannot say.
NULL: Schema = {"type": "null"}
NOT_NEGATIVE: Schema = {"properties": {key: {"minimum": 0} for key in ("value", "low", "high")}}
# A refused field holds no number.
NO_NUMBER_WHERE_REFUSED: Schema = {
    "if": {"properties": {"accepted": {"const": False}}},
    "then": {
        "properties": dict.fromkeys(
            ("counts", "interior_counts", "interior_area_mm2", "indices", "cells"), NULL
        )
    },
}
# Neither does a withheld sample, and a reported one stands on a field.
NO_NUMBER_WHERE_WITHHELD: Schema = {
    "if": {"properties": {"outcome": {"const": "withheld"}}},
    "then": {
        "properties": {
            "withheld": {"type": "object"},
            "anaemia": NULL,
            "sample": {
                "properties": {
                    **dict.fromkeys(BLOOD_FACTS, NULL),
                    "accepted": {"const": 0},
                    "indices": NULL,
                }
            },
        }
    },
    "else": {
        "properties": {
            "withheld": NULL,
            "sample": {"properties": {"accepted": {"minimum": 1}}},
        }
    },
}
RULES: dict[str, Schema] = {
    "FieldEntry": NO_NUMBER_WHERE_REFUSED,
    "CountInterval": NOT_NEGATIVE,
}

# What its commands write with --json.
OUTPUTS = (
    Document("verify", "whether a bundle is whole and answers as it should", (VerifyOutput,)),
    Document("doctor", "what a device has and what is wrong with it", (DoctorOutput,)),
    Document("bundle-install", "a bundle put into use", (BundleInstallOutput,)),
    Document("bundle-rollback", "the bundle before, in use again", (BundleRollbackOutput,)),
    Document("bundle-list", "the bundles on this device", (BundleListOutput,)),
    Document(
        "screen",
        "the result of screening one sample, result.json",
        (ScreenOutput,),
        rules={"ScreenOutput": NO_NUMBER_WHERE_WITHHELD, **RULES},
    ),
    Document(
        "demo",
        "the demonstration's result",
        (DemoOutput,),
        rules={"DemoOutput": NO_NUMBER_WHERE_WITHHELD, **RULES},
    ),
    Document("quality", "whether fields can be trusted, and what to do", (QualityOutput,)),
    Document(
        "cells",
        "the cells of images, with their boxes",
        (CellsOutput,),
        rules={"CountInterval": NOT_NEGATIVE},
    ),
    Document("classify", "what the one cell of each image is", (ClassifyOutput,)),
    Document("estimate", "indices and concentrations of one sample", (EstimateOutput,)),
    Document("bench", "how long a screening and each artefact take here", (BenchOutput,)),
    Document("records-list", "stored results", (RecordsListOutput,)),
    Document("records-show", "one stored result with its versions", (RecordsShowOutput,)),
    Document("records-verify", "whether the stored results hold together", (RecordsVerifyOutput,)),
    Document("records-replay", "one stored result computed again", (RecordsReplayOutput,)),
    Document("records-change", "a stored result's new version", (RecordsChangeOutput,)),
    Document("records-export", "exported results as JSON", (RecordsExportOutput,)),
    Document("records-exported", "what was exported and where it lies", (RecordsExportedOutput,)),
    Document("records-backup", "a backup that was read back", (RecordsBackupOutput,)),
    Document(
        "records-restore", "a backup put in the place of the records", (RecordsRestoreOutput,)
    ),
    Document("records-purge", "pictures that the policy let go", (RecordsPurgeOutput,)),
    Document("monitor", "how a device has changed over weeks, and what is found", (MonitorOutput,)),
    Document("outbox", "what waits to be sent and what was received", (OutboxOutput,)),
    Document("outbox-show", "the messages of one result", (OutboxShowOutput,)),
    Document("outbox-retry", "messages that will be sent again", (OutboxRetryOutput,)),
    Document("outbox-enrol", "a device enrolled at its laboratory", (OutboxEnrolOutput,)),
    Document("outbox-send", "what came of one run of sending", (OutboxSendOutput,)),
    Document("health", "what a broker is told of a device", (Health,)),
    Document("users-list", "who may work with the kiosk", (UsersListOutput,)),
    Document("keys", "the keys this device trusts", (KeysOutput,)),
)

DOCUMENTS = FILES + OUTPUTS
