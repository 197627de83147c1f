"""The pages of the first hour, walked on the simulated microscope."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.walked_pages import (
    PAGES,
    REPOSITORY,
    reader_environment,
    walk,
    walked_blocks,
)

FIRST_HOUR = PAGES / "first-hour"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Where a reader stands: the examples are there."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    return tmp_path


def test_a_block_says_how_it_ends_and_what_it_needs() -> None:
    page = (
        "```{ .sh .runs .ends-1 }\na\n```\n\n```\nb\n```\n\n```{ .sh .runs .on-data }\nc\nd\n```\n"
    )
    first, second = walked_blocks(page)
    assert (first.commands, first.ends_with, first.on_data) == ("a\n", 1, False)
    assert (second.commands, second.ends_with, second.on_data) == ("c\nd\n", 0, True)


@pytest.mark.parametrize("page", sorted(FIRST_HOUR.glob("*-*.md")), ids=lambda page: page.stem)
def test_every_command_of_the_pages_is_walked(page: Path) -> None:
    """A command line that nobody runs would rot; `pip` alone is left to the reader."""
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^((?:edgehemo|python) .*)$", text, re.MULTILINE)
    walked = "".join(block.commands for block in walked_blocks(text))
    assert shown
    assert [line for line in shown if line not in walked] == []


def test_a_health_workers_first_hour(clone: Path) -> None:
    environment = reader_environment(clone)
    page = (FIRST_HOUR / "health-worker.md").read_text(encoding="utf-8")
    said = "".join(walk(block, clone, environment) for block in walked_blocks(page))
    assert "not calibrated" in said
    assert "withheld" in said
    person = json.loads((clone / "person-18" / "result.json").read_text(encoding="utf-8"))
    assert person["simulated"] is True
    assert "OUT_OF_FOCUS" in (clone / "help.html").read_text(encoding="utf-8")
    demo = json.loads((clone / "demo" / "result.json").read_text(encoding="utf-8"))
    # The page tells how many fields there are and how many are bad.
    assert (demo["sample"]["images"], demo["sample"]["refused"]) == (11, 3)


def test_a_supervisors_first_hour(clone: Path) -> None:
    environment = reader_environment(clone)
    page = (FIRST_HOUR / "laboratory-supervisor.md").read_text(encoding="utf-8")
    for block in walked_blocks(page):
        walk(block, clone, environment)
    hgb = {}
    for name in ("before", "withheld", "after"):
        record = json.loads((clone / name / "result.json").read_text(encoding="utf-8"))
        hgb[name] = record["sample"]["hgb_g_per_l"]
    assert hgb["before"] is not None
    assert hgb["withheld"] is None
    assert hgb["after"] == hgb["before"]
    drawn = next(
        float(line.split(",")[1])
        for line in (clone / "practice" / "pairs.csv").read_text(encoding="utf-8").splitlines()
        if line.startswith("S03,")
    )
    assert hgb["after"]["low"] < drawn < hgb["after"]["high"]


def test_an_engineers_first_half_hour_needs_no_data(clone: Path) -> None:
    environment = reader_environment(clone)
    page = (FIRST_HOUR / "model-engineer.md").read_text(encoding="utf-8")
    blocks = [block for block in walked_blocks(page) if not block.on_data]
    said = "".join(walk(block, clone, environment) for block in blocks)
    assert "use here:" in said
    cells = json.loads((clone / "cells.json").read_text(encoding="utf-8"))
    assert len(cells["images"]) == 2
    assert all(image["counts"]["rbc"] > 0 for image in cells["images"])
