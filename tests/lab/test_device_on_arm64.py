"""The device's program on 64-bit ARM: a real field recorded, the kiosk's page; as on x86-64.

Emulated: function and parity only. The demonstration is in `make soak`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab import arm64_root

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

BOARD = "Raspberry Pi 4"
LIMIT_S = 900.0
EDGEHEMO = str(Path(sys.executable).with_name("edgehemo"))
FIELD = "bccd/images"
# Counts of one field may differ by a cell at the threshold, what is measured by the gate of int8.
CELLS_OFF = 1
SHARE_OFF = 0.02


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real field, where there is one, else a simulated one."""
    folder = tmp_path_factory.mktemp("given")
    root = Path(os.environ.get("EDGEHEMO_DATA", Path(__file__).parents[3] / "shared" / "data"))
    found = sorted((root / FIELD).glob("*.jpg"))
    if not found:
        pytest.skip(f"no real field below {root / FIELD}")
    shutil.copyfile(found[0], folder / "field.jpg")
    return folder


def screened(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "result.json").read_text("utf-8"))
    return record


def test_a_real_field_is_screened_and_recorded_as_on_x86_64(given: Path, tmp_path: Path) -> None:
    done = arm64_root.python(
        BOARD, given, "-m", "edgehemo", "screen", "/opt/given/field.jpg", "--out", "/opt/given/arm",
        "--record", "--sample", "26-0417", "--json", "/opt/given/arm.json", timeout_s=LIMIT_S,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    here = subprocess.run(
        [EDGEHEMO, "screen", str(given / "field.jpg"), "--out", str(tmp_path / "x86"), "--record",
         "--sample", "26-0417"],
        capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert here.returncode == done.returncode, (here.stderr, done.stderr)
    there = json.loads((given / "arm.json").read_text("utf-8"))
    assert there["result_id"]
    (arm,), (x86,) = screened(given / "arm")["images"], screened(tmp_path / "x86")["images"]
    for kind, count in x86["counts"].items():
        assert abs(arm["counts"][kind] - count) <= CELLS_OFF, (kind, arm["counts"], x86["counts"])
    assert [check["verdict"] for check in arm["checks"]] == [
        check["verdict"] for check in x86["checks"]
    ]
    assert arm["um_per_px"] == pytest.approx(x86["um_per_px"], rel=SHARE_OFF)
    for name, value in x86["indices"].items():
        if isinstance(value, float):
            assert arm["indices"][name] == pytest.approx(value, rel=SHARE_OFF), name


def test_the_kiosk_serves_its_page(given: Path) -> None:
    done = arm64_root.python(
        BOARD, given, "/opt/source/tests/lab/parts/kiosk_page_in_root.py", timeout_s=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["machine"], told["status"], told["ended"]) == ("aarch64", 200, 0)
    assert 'data-screen="' in told["page"]
