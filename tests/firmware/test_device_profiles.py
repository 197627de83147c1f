"""The device profiles of boards: valid, found by name, each named after its board."""

from __future__ import annotations

import pytest

from edgehemo.device.configuration import list_profiles, load_device, load_profile
from edgehemo_firmware import device_profiles

PIS = ("raspberry_pi_zero_2_w", "raspberry_pi_4", "raspberry_pi_5")
BOARDS = (*PIS, "debian_pc")


def test_there_is_a_profile_for_each_board() -> None:
    names = {item.name for item in device_profiles().iterdir()}
    assert names == {f"{board}.toml" for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_is_found_by_name(board: str) -> None:
    assert board in list_profiles()
    profile = load_device(board)
    profile.camera.settings().validate()
    assert profile.name == board.replace("_", "-")
    assert profile.board == (board if board in PIS else "workstation")
    assert profile.camera.source == ("picamera2:0" if board in PIS else None)


def test_the_smaller_board_gives_less_memory() -> None:
    given = [load_profile(board).inference.memory_limit_mb for board in PIS]
    assert given == sorted(set(given))
