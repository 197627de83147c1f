"""Roots of the lab that are kept: which stay when another is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import debian

pytestmark = pytest.mark.lab


def test_those_last_used_stay_when_another_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEHEMO_LAB_CACHE", str(tmp_path))
    other, _ = debian.kept("another-root", "1")
    made = [debian.kept("root", f"{number}")[0] for number in range(3)]
    for age, folder in enumerate((*made, other)):
        folder.mkdir()
        debian.mark_whole(folder)
        os.utime(folder / ".whole", (1000 - age, 1000 - age))
    begun, _ = debian.kept("root", "never ended")
    begun.mkdir()
    assert debian.kept("root", "2") == (made[2], True)
    debian.make_room("root", others=2)
    assert sorted(tmp_path.iterdir()) == sorted((other, made[0], made[2]))
    debian.make_room("root")
    assert list(tmp_path.iterdir()) == [other]
