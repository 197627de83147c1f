"""The check on the real smears: what is known of them is found, and nothing that is not so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgehemo_export.commands.data import data

pytestmark = pytest.mark.real

SETS = ("bccd", "chula_disease", "pbc", "three_class", "txl_pbc", "anerbc")


@pytest.fixture(scope="module")
def report(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("check") / "check.json"
    chosen = [word for name in SETS for word in ("--set", name)]
    result = CliRunner().invoke(
        data, ["check", str(data_root), *chosen, "--json", str(out)], standalone_mode=False
    )
    assert result.return_value == 1, "one cell of PBC bears two classes"
    told: dict[str, Any] = json.loads(out.read_text())
    return told


def of(report: dict[str, Any], code: str) -> dict[str, dict[str, Any]]:
    """Findings of a kind by their set."""
    return {item["set_name"]: item for item in report["findings"] if item["code"] == code}


def test_pictures_of_pbc_are_found_again_in_other_sets(report: dict[str, Any]) -> None:
    same = of(report, "same_picture")
    assert len(same["pbc + three_class"]["files"]) > 250
    assert len(same["pbc + txl_pbc"]["files"]) > 400
    for first, second in same["pbc + three_class"]["files"]:
        assert first.split("/")[:2] == ["pbc", second.split("/")[1]]
    # But for the few that PBC itself has twice, copies were published under one name.
    named = [
        Path(first).stem == Path(second).stem
        for first, second in same["pbc + three_class"]["files"]
    ]
    assert sum(named) >= len(named) - 5


def test_the_split_keeps_all_copies_on_one_side(report: dict[str, Any]) -> None:
    assert of(report, "parts_share_a_picture") == {}


def test_nothing_is_broken_and_labels_lie_in_their_pictures(report: dict[str, Any]) -> None:
    faults = [item["code"] for item in report["findings"] if item["severity"] == "fault"]
    assert faults == ["two_classes"]
    (pair,) = of(report, "two_classes")["pbc"]["files"]
    assert [path.split("/")[1] for path in pair] == ["eosinophil", "neutrophil"]


def test_stated_scales_agree_with_the_red_cells(report: dict[str, Any]) -> None:
    assert of(report, "scale_differs") == {}
    scales = {scale["source"]: scale for row in report["sets"] for scale in row["scales"]}
    assert {"bccd", "chula_disease", "anerbc", "txl_pbc"} <= set(scales)
    for source in ("bccd", "chula_disease", "anerbc", "txl_pbc"):
        stated, measured = (scales[source][f"{key}_um_per_px"] for key in ("stated", "measured"))
        assert measured == pytest.approx(stated, rel=0.2)
