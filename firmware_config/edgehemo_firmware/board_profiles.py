"""A whole device profile of each board, made from its parts and offered like a folder of files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgehemo_firmware.composing import compose
from edgehemo_firmware.parts import read_parts, shipped_names

# What a Raspberry Pi has on its camera connector where nothing else is said.
USUAL_CAMERA = "hq_camera"


@dataclass(frozen=True)
class ProfileText:
    """One of them. name: of its file."""

    name: str
    text: str

    def read_text(self, encoding: str) -> str:
        return self.text


class BoardProfiles:
    """The folder of them."""

    def iterdir(self) -> Iterator[ProfileText]:
        for board, kind in shipped_names().items():
            if kind == "board":
                parts = read_parts([board])
                if parts[0].content.models:
                    parts = read_parts([board, USUAL_CAMERA])
                yield ProfileText(f"{board}.toml", compose(parts).text)
