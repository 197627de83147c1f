"""What the operating system of a kiosk needs: profiles by parts, units, rules, the installer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgehemo.device.named_profiles import ProfileFolder


def device_profiles() -> ProfileFolder:
    """The whole device profiles, ``<name>.toml`` each (`edgehemo.device.named_profiles`): one of
    every board, made from its part.
    """
    from edgehemo_firmware.board_profiles import BoardProfiles  # noqa: PLC0415  read when asked

    return BoardProfiles()
