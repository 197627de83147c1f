"""The tutorial on own data as a reader walks it: a drawn set, trained, exported, used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.walked_pages import PAGES, reader_environment, walk, walked_blocks

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')

from edgehemo.bundle.bundle import load_bundle
from edgehemo_export.checkpoints import load_checkpoint


def test_the_tutorials_commands_give_what_it_says(tmp_path: Path) -> None:
    environment = reader_environment(tmp_path, OMP_NUM_THREADS="1")
    page = (PAGES / "using" / "own-data-tutorial.md").read_text(encoding="utf-8")
    blocks = [block for block in walked_blocks(page) if block.on_data]
    assert len(blocks) == 3
    said = [walk(block, tmp_path, environment) for block in blocks]
    assert "667 cells with a type" in said[0] and "667 of its cells bear a type" in page
    record = load_checkpoint(tmp_path / "ours.safetensors").record
    assert record["learnt"] == "head"
    metrics = {m["name"]: m for m in record["metrics"] if m["source"] == "practice"}
    for name, row in (
        ("accuracy", "likeliest type right"),
        ("named (not uncertain)", "named (not `uncertain`)"),
        ("accuracy of the named", "right among the named"),
    ):
        rows = [line for line in page.splitlines() if line.startswith(f"| {row} |")]
        told = float(rows[1].split("|")[2].strip(" %")) / 100
        assert metrics[name]["value"] == pytest.approx(told, abs=0.05)
    assert metrics["accuracy"]["images"] == 147
    assert "own cells, SIMULATED" in (tmp_path / "ours.md").read_text("utf-8")
    bundle = load_bundle(tmp_path / "bundle")
    assert {"morphology", "cell_finder"} <= {entry.task for entry in bundle.manifest.models}
    (image,) = json.loads((tmp_path / "cells.json").read_text())["images"]
    assert image["counts"]["rbc"] > 10
