"""Every query of the dashboard and the rules asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from edgehemo_laboratory.dashboards import ALERTS, GRAFANA, text_of, write_dashboards
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.metrics import Metrics
from edgehemo_laboratory.storage.interface import Storage
from tests.laboratory.test_laboratory_metrics import entry, published
from tests.support.laboratory import certificates, enrolled, with_storage
from tests.support.receivers import ROOT

# Functions and words of PromQL that the queries use.
WORDS = {
    "sum", "count", "rate", "increase", "topk", "bottomk", "histogram_quantile", "vector", "by",
    "or", "and", "unless", "on",
}  # fmt: skip
# What Prometheus itself adds.
ADDED = {"up": {"job", "instance"}}
GROUPING = re.compile(r"\bby \(([\w, ]*)\)")
MATCHING = re.compile(r"(\w+)\s*\{([^}]*)\}")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series' name as Prometheus has it -> its labels."""
    folder = tmp_path_factory.mktemp("laboratory")
    found: dict[str, set[str]] = {}

    async def work(storage: Storage) -> None:
        metrics = Metrics(broker=lambda: True, fates=lambda: {"taken": 1})
        with pytest.MonkeyPatch.context() as patch:
            from edgehemo_laboratory import metrics as module

            async def these(*_: object) -> list[Any]:
                return [entry(1)]

            patch.setattr(module, "kiosk_entries", these)
            made = certificates(folder / "certificates")
            kiosk = await enrolled(storage, made)
            await published(storage, 1, "staged", {kiosk.number: "in use"})
            await metrics.look(storage, made)
        metrics.answered("results", 200, 0.1)
        families: list[Metric] = list(metrics.registry.collect())
        for family in families:
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)

    with_storage(folder / "laboratory.sqlite3", work)
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Where a query stands, and it."""
    board = json.loads(text_of(GRAFANA))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for group in yaml.safe_load(text_of(ALERTS))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def asked(query: str) -> tuple[set[str], dict[str, set[str]]]:
    """The names that a query asks for, and the labels of each."""
    labels = {
        name: set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))
        for name, inside in MATCHING.findall(query)
    }
    grouped = {label for found in GROUPING.findall(query) for label in re.findall(r"\w+", found)}
    bare = re.sub(r'"[^"]*"', "", query)
    bare = GROUPING.sub(" by ", re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare))
    names = set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*", bare)) - WORDS
    for name in names:
        labels.setdefault(name, set()).update(grouped)
    return names, labels


@pytest.mark.parametrize(("place", "query"), list(queries()))
def test_what_is_asked_for_is_there(place: str, query: str, exposed: dict[str, set[str]]) -> None:
    names, labels = asked(query)
    assert names, query
    known = {**exposed, **ADDED}
    for name in names:
        assert name in known, f"{place}: nobody tells {name}"
        assert labels[name] <= known[name], f"{place}: {name} has no {labels[name] - known[name]}"


def test_a_query_for_what_is_not_told_is_noticed() -> None:
    names, labels = asked('sum by (outcome, le) (rate(a_total{kind="full"}[5m])) > 2e9 or b:c')
    assert names == {"a_total", "b:c"}
    assert labels["a_total"] == {"kind", "outcome", "le"}


def test_what_is_told_is_described_and_nothing_else(exposed: dict[str, set[str]]) -> None:
    page = (ROOT / "docs/pages/using/fleet-health.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w, ]*) \|", page, re.M))
    told = {
        re.sub(r"_(bucket|count|sum|created)$", "", name): sorted(labels - {"le"})
        for name, labels in exposed.items()
        if name.startswith("edgehemo_laboratory_") and not name.endswith("_created")
    }
    described = {name: sorted(re.findall(r"\w+", labels)) for name, labels in rows.items()}
    assert described == told


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(text_of(GRAFANA))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["datasource"]["uid"] == "${source}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert {each["name"] for each in board["templating"]["list"]} == {"source", "site"}


def test_the_rules_are_ones_that_prometheus_takes(tmp_path: Path) -> None:
    checker = shutil.which("promtool")
    if checker is None:
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    _, alerts = write_dashboards(tmp_path)
    done = subprocess.run([checker, "check", "rules", str(alerts)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_that_were_changed_are_kept(tmp_path: Path) -> None:
    board, alerts = write_dashboards(tmp_path / "new")
    assert board.read_text("utf-8") == text_of(GRAFANA)
    write_dashboards(tmp_path / "new")
    alerts.write_text("mine\n")
    with pytest.raises(LaboratoryError, match="--force"):
        write_dashboards(tmp_path / "new")
    assert alerts.read_text() == "mine\n"
    write_dashboards(tmp_path / "new", force=True)
    assert alerts.read_text("utf-8") == text_of(ALERTS)
    with pytest.raises(LaboratoryError, match="cannot be written"):
        write_dashboards(alerts / "below")
