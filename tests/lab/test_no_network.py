"""The device talks to nobody: a screening where every look-up and connection is seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.report.pictures import png

SINK = Path(__file__).parent / "parts" / "network_sink.py"
FIELDS = 40
EDGEHEMO = str(Path(sys.executable).with_name("edgehemo"))

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", autouse=True)
def _namespace() -> None:
    for program in ("unshare", "ip", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no network namespace may be made here (it needs root)")


def in_a_sink(folder: Path, *command: str) -> dict[str, Any]:
    """Run a command with a fresh home; what it tried to reach, and the files it left there."""
    home, here, temporary = (folder / name for name in ("home", "here", "tmp"))
    for made in (home, here, temporary):
        made.mkdir()
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    environment = {**kept, "HOME": str(home), "TMPDIR": str(temporary)}
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-P", str(SINK), *command],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    told["left"] = [
        str(path.relative_to(folder))
        for made in (home, here, temporary)
        for path in made.rglob("*")
        if path.suffix != ".conf"
    ]
    return told


def test_the_sink_sees_what_reaches_out(tmp_path: Path) -> None:
    code = "import socket; socket.create_connection(('maker.example', 443)).close()"
    told = in_a_sink(tmp_path, sys.executable, "-c", code)
    assert "maker.example" in told["looked_up"] and told["connected"] == [443]


def test_a_screening_reaches_for_nobody_and_writes_nowhere_else(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with SimulatedMicroscope(
        SimulatedOptions(seed=5, fields=FIELDS, width_px=640, height_px=480)
    ) as slide:
        for index in range(FIELDS):
            slide.move_to_field(index)
            (pictures / f"{index:02d}.png").write_bytes(png(slide.frame(10.0).pixels))
    out = tmp_path / "out"
    told = in_a_sink(tmp_path, EDGEHEMO, "screen", str(pictures), "--out", str(out))
    assert told["rc"] in (0, 1), told["stderr"]
    assert len(json.loads((out / "result.json").read_bytes())["images"]) == FIELDS
    assert (told["looked_up"], told["connected"], told["left"]) == ([], [], [])


@pytest.mark.parametrize(
    "command",
    [
        ["verify", str(SHIPPED_BUNDLE)],
        ["doctor"],
        ["bench", "--runs", "2", "--no-write"],
        ["bundle", "list"],
    ],
    ids=lambda command: command[0],
)
def test_neither_does_any_other_command(tmp_path: Path, command: list[str]) -> None:
    told = in_a_sink(tmp_path, EDGEHEMO, *command)
    assert told["rc"] in (0, 1), told["stderr"]
    assert (told["looked_up"], told["connected"], told["left"]) == ([], [], [])


@pytest.mark.host
@pytest.mark.parametrize("modules", ["onnxruntime", "openvino", "nncf", "openvino, nncf"])
def test_nor_does_what_the_export_imports(tmp_path: Path, modules: str) -> None:
    """Imported as the export does it, directly."""
    for name in modules.split(", "):
        pytest.importorskip(name)
    told = in_a_sink(tmp_path, sys.executable, "-c", f"import edgehemo_export; import {modules}")
    assert told["rc"] == 0, told["stderr"]
    assert (told["looked_up"], told["connected"]) == ([], [])
