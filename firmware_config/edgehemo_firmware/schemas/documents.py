"""What the device commands read and write: one row a schema."""

from __future__ import annotations

from edgehemo.files.json_schema import Document
from edgehemo_firmware.first_check import ExpectedSlide
from edgehemo_firmware.update.manifest import MediaManifest
from edgehemo_firmware.update.output import DeviceMediaOutput, DeviceVersionOutput

DOCUMENTS = (
    Document("media", "the manifest of installation media", (MediaManifest,), written=False),
    Document(
        "test-slide", "the numbers that the stored slide must give", (ExpectedSlide,), written=False
    ),
    Document("device-media", "media that were made", (DeviceMediaOutput,)),
    Document("device-version", "what a change of versions came to", (DeviceVersionOutput,)),
)
