"""The step of an installation that puts the program on the device from media."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgehemo_firmware.target import Target
from edgehemo_firmware.update.installing import install_version
from edgehemo_firmware.update.layout import Place, pointed_slot, target_there
from edgehemo_firmware.update.manifest import MANIFEST_NAME
from edgehemo_firmware.update.media import folder_of
from edgehemo_firmware.update.slots import is_whole


@dataclass(frozen=True, slots=True)
class FromMedia:
    """The program from a stick, with no network. trust: the public key of whoever signed it, to be
    trusted from now on; None: one that is trusted already.
    """

    media: Path
    trust: Path | None = None

    @property
    def said(self) -> str:
        return f"/data/edgehemo/versions: edgehemo and what it needs, from {self.media}"

    def is_done(self, target: Target) -> bool:
        place = Place(target.root)
        runs = pointed_slot(place.current)
        if runs is None:
            return False
        folder = folder_of(self.media, target_there(place))
        digest = hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()
        return is_whole(place, runs, digest)

    def do(self, target: Target) -> None:
        install_version(Place(target.root), self.media, trust=self.trust)
