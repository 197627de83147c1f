"""The studies' frame on a study of a few lines: parts taken up, what is written, the page."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the [host] extra")

from edgehemo.errors import UsageError
from edgehemo_export.studies import figures, run
from edgehemo_export.studies.parts import PartStore, relative_name
from edgehemo_export.studies.run import read_study_configuration, run_study, toml_text
from edgehemo_export.studies.study import (
    Comparison,
    Measure,
    Paper,
    PlannedPart,
    Prediction,
    Section,
    Study,
    StudyConfiguration,
    StudyContext,
    StudyFigure,
    StudyResult,
    Table,
)
from tests.support.schemas import schema_of

pytestmark = pytest.mark.host

TOML = """
# A study of a few lines.
seeds = [1, 2]
threads = 1
rounds = 5

[quick]
seeds = [1]
"""


class CoinConfiguration(StudyConfiguration):
    rounds: int


def coin_study(calls: list[str]) -> Study[CoinConfiguration]:
    """Each seed draws numbers; ``calls`` gets the name of each part that was really made."""

    def shares(context: StudyContext[CoinConfiguration], seed: int) -> dict[str, float]:
        calls.append(f"draw-{seed}")
        context.tell("drawing")
        rng = np.random.default_rng(seed)
        return {"share": float(rng.random(context.configuration.rounds).mean()), "odd": np.nan}

    def coin(context: StudyContext[CoinConfiguration]) -> StudyResult:
        context.use(sorted(context.data.glob("*.txt")))
        config = context.configuration
        found = {
            seed: context.part(
                f"draw-{seed}", partial(shares, context, seed), (config.rounds, seed)
            )["share"]
            for seed in config.seeds
        }
        kept = context.arrays("kept", lambda: {"x": np.arange(config.rounds)}, config.rounds)
        work = context.work("kept", config.rounds)
        assert work.is_dir()
        confusion = figures.confusion_figure(np.array([[3, 1], [0, 4]]), ("a", "b"), "coins")
        return StudyResult(
            summary="A share with `code` in it.",
            measures=[Measure.of_seeds("share", found, of="coin", on="all", n=len(kept["x"]))],
            predictions=[
                Prediction("all", "coin", 1, "a.txt", "g", "s", "head", "tail", {"head": 0.25}),
                Prediction("all", "coin", 1, "b.txt", "g", "s", 1.0, 2.0, fold=3, target="hgb"),
            ],
            comparison=[Comparison("share", "0.5", "Table 1", "0.6", False, "Other coins.")],
            not_comparable=["Theirs are <gold>."],
            sections=[
                Section(
                    "Coins",
                    [
                        "They fell.",
                        Table(("seed", "share"), [("1", "0.5")], (1,), "a table"),
                        StudyFigure("confusion", confusion, "both sides"),
                    ],
                )
            ],
            data=Table(("set", "pictures"), [("coins", "2")], (1,)),
            start={"net": "from scratch"},
            tables={"counts": {"a": np.int64(3), "b": [1.23456789, float("nan")]}},
        )

    return Study(
        name="coin",
        title="Coins",
        paper=Paper("Nobody 2026", "10.0/0", "CC0"),
        shape="text files",
        configuration=CoinConfiguration,
        plan=lambda config: [PlannedPart(f"draw-{seed}", 2.0) for seed in config.seeds],
        run=coin,
    )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shipped = tmp_path / "configs"
    shipped.mkdir()
    (shipped / "study_coin.toml").write_text(TOML)
    monkeypatch.setattr(run, "CONFIGS", shipped)
    folder = tmp_path / "data"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.txt").write_text(name)
    return folder


@pytest.fixture
def study_run(data: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs the study into a folder of the name, answers which parts were made."""

    def go(name: str, *, quick: bool = False, override: str = "") -> list[str]:
        calls: list[str] = []
        study = coin_study(calls)
        own = tmp_path / "own.toml"
        own.write_text(override)
        config = read_study_configuration(study, own, quick=quick)
        run_study(study, data, tmp_path / name, config, quick=quick)
        return calls

    return go


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def test_everything_is_written_and_is_of_its_schema(
    study_run: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert study_run("out") == ["draw-1", "draw-2"]
    out = tmp_path / "out"
    found = metrics(out)
    jsonschema.validate(found, schema_of("edgehemo.study/1"))
    measure = found["measures"][0]
    assert set(measure["seeds"]) == {"1", "2"} and measure["sd"] > 0
    assert found["tables"] == {"counts": {"a": 3, "b": [1.23457, None]}}
    assert all((out / name).is_file() for name in found["files"])
    assert not list((out / "parts").glob("*.work"))
    assert tomllib.loads((out / "configuration.toml").read_text()) == found["configuration"]
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert rows[0]["truth"] == "head" and rows[0]["score_head"] == "0.25" and rows[0]["fold"] == ""
    assert rows[1]["predicted"] == "2" and rows[1]["fold"] == "3" and rows[1]["score_head"] == ""
    page = (out / "index.html").read_text()
    assert "QUICK RUN" not in page and "<code>code</code>" in page and "&lt;gold&gt;" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page), "a page loads nothing"


def test_a_second_run_has_the_same_bytes(
    study_run: Callable[..., list[str]], tmp_path: Path
) -> None:
    study_run("one")
    study_run("two")
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert one["numbers_sha256"] == two["numbers_sha256"]
    for name in one["files"]:
        if name != "index.html":
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_run_is_taken_up_and_only_what_is_stale_is_made_again(
    study_run: Callable[..., list[str]], data: Path, tmp_path: Path
) -> None:
    study_run("out")
    first = metrics(tmp_path / "out")["numbers_sha256"]
    assert study_run("out") == []
    assert metrics(tmp_path / "out")["numbers_sha256"] == first
    assert study_run("out", override="seeds = [1, 2, 3]") == ["draw-3"]
    assert study_run("out", override="rounds = 6") == ["draw-1", "draw-2"]
    (data / "b.txt").write_text("other")
    assert study_run("out", override="rounds = 6") == ["draw-1", "draw-2"]
    (tmp_path / "out" / "parts" / "draw-2.json").write_text("{}")
    assert study_run("out", override="rounds = 6") == ["draw-2"]


def test_damaged_arrays_are_made_again(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    made: list[int] = []
    taken_up: list[bool] = []

    def make() -> dict[str, NDArray[np.int_]]:
        made.append(1)
        return {"values": np.arange(3)}

    for damage in (False, False, True):
        store = PartStore(tmp_path / "out")
        store.use(tmp_path, [tmp_path / "x"])
        if damage:
            (tmp_path / "out" / "parts" / "numbers.npz").write_bytes(b"no")
        assert store.arrays("numbers", make, 1)["values"].tolist() == [0, 1, 2]
        taken_up.append(store.done[0].taken_up)
    assert taken_up == [False, True, False] and len(made) == 2


def test_a_quick_run_says_so_and_keeps_out_of_the_full_ones_folder(
    study_run: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert study_run("quick", quick=True) == ["draw-1"]
    assert "QUICK RUN" in (tmp_path / "quick" / "index.html").read_text()
    assert metrics(tmp_path / "quick")["quick"] is True
    with pytest.raises(UsageError, match="holds the quick run of coin"):
        study_run("quick")


def test_unknown_keys_and_files_that_are_no_toml_are_refused(
    study_run: Callable[..., list[str]],
) -> None:
    with pytest.raises(UsageError, match="roundz"):
        study_run("out", override="roundz = 1")
    with pytest.raises(UsageError, match=r"own\.toml: not a readable TOML"):
        study_run("out", override="rounds = ")


def test_parts_have_names_and_data_before_them(tmp_path: Path) -> None:
    store = PartStore(tmp_path)
    with pytest.raises(ValueError, match="which files it uses"):
        store.part("a", dict, 1)
    (tmp_path / "x").write_text("x")
    store.use(tmp_path, [tmp_path / "x"])
    with pytest.raises(ValueError, match="no name of a part"):
        store.part("../a", dict, 1)
    with pytest.raises(ValueError, match="once"):
        store.use(tmp_path, [])
    with pytest.raises(UsageError, match="cannot be read"):
        PartStore(tmp_path).use(tmp_path, [tmp_path / "missing"])
    assert relative_name(Path("/a"), Path("/a/b/c")) == "b/c"


def test_what_a_part_stored_on_its_way_stays_until_it_depends_on_something_else(
    tmp_path: Path,
) -> None:
    (tmp_path / "x").write_text("x")
    store = PartStore(tmp_path / "out")
    store.use(tmp_path, [tmp_path / "x"])
    (store.work("long", 1) / "state").write_text("half")
    assert (store.work("long", 1) / "state").is_file()
    assert not (store.work("long", 2) / "state").exists()


def test_two_drawings_of_one_name_are_refused() -> None:
    drawn = figures.curves_figure({"a": [1, 2]}, "t", x_label="x", y_label="y")
    one = StudyFigure("one", drawn, "c")
    result = StudyResult("s", [], [], [], [], [Section("t", [one, (one,)])], Table((), ()))
    with pytest.raises(ValueError, match="two drawings"):
        result.figures()


def test_toml_is_read_back_as_it_was() -> None:
    values = {"a": 1, "b": [1.5, 2.0], "c": {"d": "ü\"'", "e": {"f": True}, "g": [[1], []]}}
    assert tomllib.loads(toml_text(values)) == values


def test_intervals_are_drawn_with_and_without_bounds() -> None:
    drawn = figures.intervals_figure(
        [("a", 0.5, 0.4, 0.6), ("b", 0.9, None, None)],
        "t",
        x_label="x",
        references={"chance": 0.33},
        beside={"a": 0.7},
    )
    png, svg = figures.png_and_svg(drawn, "intervals")
    assert png.startswith(b"\x89PNG") and b"<dc:date>" not in svg
    assert svg == figures.png_and_svg(drawn, "intervals")[1]
