"""The device profiles of boards: valid, found by name, each named after its board."""

from __future__ import annotations

import pytest

from edgehemo.device.configuration import list_profiles, load_device, load_profile
from edgehemo_firmware import device_profiles

BOARDS = ("raspberry_pi_4", "raspberry_pi_5")


def test_the_folder_holds_a_profile_for_each_board() -> None:
    names = {item.name for item in device_profiles().iterdir()}
    assert names == {f"{board}.toml" for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_is_found_by_name(board: str) -> None:
    assert board in list_profiles()
    profile = load_device(board)
    assert profile.board == board
    profile.camera.settings().validate()
    assert profile.camera.source == "picamera2:0"


def test_the_smaller_board_gives_less_memory() -> None:
    smaller, larger = (load_profile(board).inference.memory_limit_mb for board in BOARDS)
    assert smaller < larger
