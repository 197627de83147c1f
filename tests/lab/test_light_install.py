"""`make demo` from nothing: the light package in a fresh environment, its size, a whole demo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).resolve().parents[2]
# What the default installation may take on a device's card, beyond Python and pip themselves.
MAX_INSTALLED_MB = 350
# The workstation's part, which a device must do without.
HOST_ONLY = ("torch", "torchvision", "onnx", "onnxscript", "sklearn", "scipy", "matplotlib")


def size_mb(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks, so that nothing installed by hand is seen."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("needs a git checkout")
    target = tmp_path_factory.mktemp("light") / "edgehemo"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    return target


@pytest.mark.timeout(900)
def test_make_demo_on_a_fresh_machine(checkout: Path) -> None:
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    done = subprocess.run(
        ["make", "demo", f"PYTHON={sys.executable}"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("report: ")
    report = checkout / last.removeprefix("report: ")
    assert "SIMULATED" in report.read_text(encoding="utf-8")
    record = json.loads((report.parent / "result.json").read_text(encoding="utf-8"))
    assert record["sample"]["hgb_g_per_l"]["value"] > 0

    packages = next((checkout / ".venv" / "lib").glob("python3*")) / "site-packages"
    present = {path.name for path in packages.iterdir()}
    assert present.isdisjoint(HOST_ONLY)
    tools = sum(size_mb(packages / name) for name in ("pip", "setuptools", "pkg_resources"))
    assert size_mb(packages) - tools < MAX_INSTALLED_MB
