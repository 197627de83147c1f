"""`edgehemo monitor`, on results that were screened and stored."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgehemo.cli import run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD
from edgehemo.images.frame import Frame
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.measured import Measured, catch_up, measured_of, unmeasured
from edgehemo.records.results import result_of
from edgehemo.records.store import Store, Writer
from edgehemo.records.verifying import verify
from tests.support.device_days import drawn_days, fill
from tests.support.pages import faults_of_page
from tests.support.schemas import validate
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file, stored

FAKES = TruthFinder()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=2)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device_file(tmp_path / "data")))
    return tmp_path / "data"


def rows_of(writer: Writer) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for table in ("measured", "measured_refusal")
        for row in writer.rows(f"SELECT * FROM {table}")
    ]


def test_what_drift_is_told_by_is_kept_with_the_result_and_can_be_made_anew(
    data: Path, frames: list[Frame]
) -> None:
    with Writer(RecordsFolder.below(data)) as writer:
        done = stored(writer, frames, FAKES)
        assert done is not None
        kept = rows_of(writer)
        assert len(kept) >= 1 and unmeasured(writer) == []
        images = result_of(writer, done.result_id).document(writer).images()
        found = measured_of(images)
        assert found.readable == 2
        assert found.background_green is not None and 0 < found.background_green <= 255
        assert found.cell_od_green is not None and found.red_cells_a_field
        assert found.focus is None or found.focus > 0
        row = writer.rows("SELECT background_green, hgb_index FROM measured")[0]
        assert tuple(row) == (found.background_green, found.hgb_index)
        with writer.transaction() as connection:
            connection.execute("DELETE FROM measured_refusal")
            connection.execute("DELETE FROM measured")
        assert len(unmeasured(writer)) == 1
        seen: list[tuple[int, int]] = []
        assert catch_up(writer, lambda *progress: seen.append(progress)) == 1
        assert seen == [(1, 1)]
        assert rows_of(writer) == kept
        assert verify(writer).whole


def test_a_reading_that_is_gone_is_tried_once(data: Path, frames: list[Frame]) -> None:
    with Writer(RecordsFolder.below(data)) as writer:
        done = stored(writer, frames, FAKES)
        assert done is not None
        writer.contents.remove(result_of(writer, done.result_id).reading_sha256)
        with writer.transaction() as connection:
            connection.execute("DELETE FROM measured_refusal")
            connection.execute("DELETE FROM measured")
        assert catch_up(writer) == 1 and unmeasured(writer) == []
        assert writer.rows("SELECT readable, background_green FROM measured")[0][:] == (0, None)


def test_an_empty_reading_has_no_means() -> None:
    found = measured_of(())
    assert isinstance(found, Measured)
    assert (found.readable, found.background_green, found.refusals) == (0, None, {})
    assert not measured_of((), ["something else"]).unfamiliar


def json_of(
    arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = EXIT_DONE
) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["monitor", "report", *arguments, "--json", "-"]) == code
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    validate(value)
    return value


def test_simulated_results_are_not_taken_for_real_ones(
    data: Path, tmp_path: Path, frames: list[Frame], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["monitor", "report"]) == EXIT_BAD_INPUT
    assert "there are no records yet" in capsys.readouterr().err
    with Writer(RecordsFolder.below(data)) as writer:
        for day in range(12):
            at = datetime(2026, 11, 2, 9, tzinfo=UTC) + timedelta(days=day)
            stored(writer, frames[:1], FAKES, f"S-{day}", made_at=at)
    assert run(["monitor", "report"]) == EXIT_DONE
    assert "see --simulated: " in capsys.readouterr().out
    page = tmp_path / "page.html"
    seen = json_of(["--simulated", "--out", str(page)], capsys)
    assert seen["simulated"] and seen["results"] == 12 and seen["device"] == "test device"
    assert seen["findings"] == []
    (light,) = [item for item in seen["series"] if item["name"] == "brightness"]
    assert len(light["points"]) == 12 and light["baseline"]["days"] == 10
    assert [point["ewma"] is None for point in light["points"]] == [True] * 10 + [False] * 2
    text = page.read_text("utf-8")
    assert "SIMULATED" in text and not faults_of_page(text)


@pytest.fixture
def drifted(data: Path) -> Path:
    """A store of real results, drawn, whose lamp fades."""
    with Writer(RecordsFolder.below(data)) as writer:
        writer.connection.execute("PRAGMA foreign_keys = OFF")
        fill(
            writer.connection,
            drawn_days(
                random.Random(1),
                150,
                drift=lambda day: {"brightness": 0.88} if day >= 90 else {},
            ),
        )
    return data


def test_a_finding_is_told_with_what_to_do_and_the_exit_code_says_so(
    drifted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert run(["monitor", "report", "--out", str(page)]) == EXIT_WITHHELD
    said = capsys.readouterr().out
    assert "LIGHT_FADED: the light has lost 12 % since" in said
    assert "Clean the lamp's glass" in said and str(page) in said
    assert "LIGHT_FADED" in page.read_text("utf-8")
    seen = json_of([], capsys, EXIT_WITHHELD)
    (found,) = seen["findings"]
    assert found["series"] == "brightness" and found["change"] == pytest.approx(-0.12, abs=0.02)
    assert found["since"] < found["noticed"]
    states = {item["name"]: item["state"] for item in seen["series"]}
    assert states["brightness"] == "found" and states["against_analyser"] == "no baseline"
    assert seen["audit"]["digits"]
    early = json_of(["--until", "2026-03-31"], capsys)
    assert early["findings"] == [] and early["until"] <= "2026-03-31"
    weekly = json_of(["--every", "week"], capsys, EXIT_WITHHELD)
    assert weekly["by"] == "week" and weekly["findings"][0]["code"] == "LIGHT_FADED"
    stated = json_of(["--baseline", "2026-04-06..2026-05-15"], capsys)
    assert stated["findings"] == [] and stated["baseline_since"] == "2026-04-06"


def test_what_was_done_is_noted_and_a_baseline_is_stated(
    drifted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = ["note", "bulb changed to LED", "--kind", "lamp", "--on", "2026-04-05", "--by", "sup"]
    assert run(["monitor", *noted]) == EXIT_DONE
    (found,) = json_of([], capsys, EXIT_WITHHELD)["findings"]
    assert found["causes"] == ["2026-04-05: bulb changed to LED"]
    stated = ["monitor", "baseline", "2026-04-06..2026-05-15", "--reason", "LED", "--by", "sup"]
    assert run(stated) == EXIT_DONE
    seen = json_of([], capsys)
    assert seen["baseline_reason"] == "LED" and seen["findings"] == []
    assert run(["monitor", "baseline", "--usual", "--by", "sup"]) == EXIT_DONE
    assert json_of([], capsys, EXIT_WITHHELD)["baseline_since"] is None
    with Store.below(drifted).reader() as reader:
        actions = [row[0] for row in reader.rows("SELECT action FROM audit")]
    assert actions.count("setting changed") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "--since", "soon"], "no date"),
        (["report", "--baseline", "2026-01-01"], "no period"),
        (["report", "--baseline", "2026-02-01..2026-01-01"], "ends before it begins"),
        (["report", "--since", "2026-03-01", "--until", "2026-02-01"], "lies before"),
        (["report", "--device", "kiosk 9"], "no device"),
        (["note", "x", "--kind", "rumour", "--by", "a"], "rumour"),
        (["note", " ", "--kind", "lamp", "--by", "a"], "say what happened"),
        (["baseline", "--by", "a"], "give the days"),
        (["baseline", "2026-01-01..2026-02-01", "--by", "a"], "say why"),
    ],
)
def test_mistakes_are_one_line(
    drifted: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["monitor", *arguments]) == EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_newest_device_is_looked_at_and_the_others_are_named(
    drifted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Writer(RecordsFolder.below(drifted)) as writer:
        writer.connection.execute("PRAGMA foreign_keys = OFF")
        days = drawn_days(random.Random(2), 20, first=date(2026, 8, 3))
        fill(writer.connection, days, device="kiosk 2")
    assert json_of([], capsys)["device"] == "kiosk 2"
    assert json_of(["--device", "kiosk 1"], capsys, EXIT_WITHHELD)["device"] == "kiosk 1"
