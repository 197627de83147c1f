"""A small laboratory on one machine, by one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.receivers import ROOT
from tests.support.schemas import validate

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_the_demonstration_runs_and_goes_on_in_its_folder(tmp_path: Path) -> None:
    for run in (1, 2):
        done = subprocess.run(
            [sys.executable, "-m", "edgehemo", "laboratory", "demo", "--out", str(tmp_path / "lab"),
             "--engine", "sqlite", "--kiosks", "1", "--results", "2", "--json", "-"],
            capture_output=True, text=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        validate(said)
        # Of two results one is corrected, one withdrawn: two versions each were told.
        assert (said["results"], said["versions"], said["faults"]) == (2 * run, 4 * run, [])
        (kiosk,) = said["kiosks"]
        assert kiosk["standing"] == "in service" and not kiosk["records"][0]["missing"]
        assert said["pictures"] == 4 * run


def test_a_bundle_is_staged_over_more_kiosks_and_all_run_what_is_good(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgehemo", "laboratory", "demo", "--out", str(tmp_path / "lab"),
         "--engine", "sqlite", "--kiosks", "1", "--results", "1", "--staged", "20", "--json", "-"],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    validate(said)
    staged = said["staged"]
    # One in ten is the first stage; of these one in two finds fault with it, always the same.
    assert 1 <= staged["offered"] <= 4 and staged["fell_back"] >= 1
    assert staged["fell_back"] + staged["took"] <= staged["offered"]
    assert "the self-check found fault with it" in staged["halted"]
    assert (staged["earlier"], staged["lost"], said["faults"]) == (20, 0, [])
