"""The step of an installation that puts the program on the device from media."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgehemo.bundle.signatures import PublicKey, read_public_key
from edgehemo_firmware.target import Target
from edgehemo_firmware.update.installing import install_version
from edgehemo_firmware.update.layout import Place, pointed_slot, target_there
from edgehemo_firmware.update.media import Media, opened_media
from edgehemo_firmware.update.slots import is_whole


@dataclass(frozen=True, slots=True)
class FromMedia:
    """The program from media that were checked, with no network. trust: the public key of whoever
    signed them, to be trusted from now on; None: one that is trusted already.
    """

    media: Media
    trust: PublicKey | None = None

    @classmethod
    def checked(cls, target: Target, source: Path, trust: Path | None) -> FromMedia:
        """Check media whole, before anything is planned. trust: a file. MediaError or UsageError
        where they or the key are refused.
        """
        key = None if trust is None else read_public_key(trust)
        media = opened_media(source.resolve(), target_there(Place(target.root)), trust=key)
        return cls(media, key)

    @property
    def said(self) -> str:
        version = self.media.manifest.version
        return f"/data/edgehemo/versions: edgehemo {version} and what it needs, from media"

    @property
    def debs(self) -> tuple[Path, ...]:
        """Packages of the distribution that the media carry."""
        return tuple(self.media.file(each) for each in self.media.manifest.of("deb"))

    def is_done(self, target: Target) -> bool:
        place = Place(target.root)
        runs = pointed_slot(place.current)
        return runs is not None and is_whole(place, runs, self.media.sha256)

    def do(self, target: Target) -> None:
        install_version(Place(target.root), self.media, trust=self.trust)
