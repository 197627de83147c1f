"""Two that extend one profile at once: what both measured is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgehemo.profile.profile import load_profile

WRITERS = 6


def test_no_update_of_a_profile_is_lost(tmp_path: Path) -> None:
    edgehemo = Path(sys.executable).with_name("edgehemo")
    profile = tmp_path / "p.json"
    running = [
        subprocess.Popen(
            [edgehemo, "calibrate", "scale", "--um-per-px", f"0.2{number}", "--out", str(profile)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    for process in running:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    assert load_profile(profile).revision == WRITERS
    assert not list(tmp_path.glob("*.part"))
