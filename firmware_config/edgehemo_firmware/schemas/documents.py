"""What the commands of the device write, and the files they keep: one row a schema."""

from __future__ import annotations

from edgehemo.files.json_schema import Document
from edgehemo_firmware.acceptance.record import Report
from edgehemo_firmware.clock_setting import ClockOutput
from edgehemo_firmware.first_check import ExpectedSlide
from edgehemo_firmware.installed import Installed
from edgehemo_firmware.parts import PartFile
from edgehemo_firmware.reminding import ReminderOutput
from edgehemo_firmware.showing import ShowOutput
from edgehemo_firmware.state import StatusOutput
from edgehemo_firmware.update.manifest import MediaManifest
from edgehemo_firmware.update.output import DeviceMediaOutput, DeviceVersionOutput

DOCUMENTS = (
    Document("device-part", "a part of a device profile (TOML)", (PartFile,), written=False),
    Document("installed", "what was installed on a device, with digests", (Installed,)),
    Document("device-status", "what is installed on a device and how it stands", (StatusOutput,)),
    Document("device-show", "the configuration in force and where it came from", (ShowOutput,)),
    Document("device-clock", "the device's clock", (ClockOutput,)),
    Document("device-remind", "what will be due before the day is over", (ReminderOutput,)),
    Document("media", "the manifest of installation media", (MediaManifest,), written=False),
    Document(
        "test-slide", "the numbers that the stored slide must give", (ExpectedSlide,), written=False
    ),
    Document("device-media", "media that were made", (DeviceMediaOutput,)),
    Document("acceptance", "the signed report of a device's acceptance", (Report,), written=False),
    Document("device-version", "what a change of versions came to", (DeviceVersionOutput,)),
)
