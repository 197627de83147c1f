"""Reference figures against the records they come from."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from edgehemo.errors import UsageError
from edgehemo_export.reference.figures import (
    DECIMALS,
    MODELS_FILE,
    Measurement,
    all_figures,
    as_toml,
    differences,
    read_measurements,
    renewed,
    stored_record,
)

CHECKPOINTS = Path(__file__).resolve().parents[2] / "export" / "checkpoints"


def of_models() -> list[Measurement]:
    return read_measurements(MODELS_FILE)


@pytest.mark.parametrize("measurement", of_models(), ids=lambda item: str(item.checkpoint))
def test_the_models_figures_are_those_of_their_checkpoints(measurement: Measurement) -> None:
    """To the last digit kept: after an evaluation, run python -m edgehemo_export.reference."""
    record = stored_record(CHECKPOINTS / f"{measurement.checkpoint}.safetensors")
    exact = renewed(measurement, record, machine="another", today=date(2000, 1, 1))
    assert exact == measurement
    assert list(differences(measurement, record["metrics"])) == []


@pytest.mark.parametrize("measurement", of_models(), ids=lambda item: str(item.checkpoint))
def test_the_models_figures_stand_in_their_cards(measurement: Measurement) -> None:
    card = (CHECKPOINTS / f"{measurement.checkpoint}.md").read_text(encoding="utf-8")
    for name, figure in measurement.figures.items():
        # A card rounds the whole number to three digits; here four are kept of it.
        values = {f"{figure.value + shift:.3f}" for shift in (0.0, 5e-5, -5e-5)}
        rows = [f"| {figure.source} | {figure.metric} | {value} " for value in values]
        assert any(row in card for row in rows), name


def test_a_figure_beyond_its_tolerance_is_told() -> None:
    first = of_models()[0]
    name, figure = next(iter(first.figures.items()))
    moved = {
        "name": figure.metric,
        "source": figure.source,
        "value": figure.value - 2 * figure.tolerance,
    }
    told = {item.name: item for item in differences(first, [moved])}
    assert told[name].found == pytest.approx(figure.value - 2 * figure.tolerance)
    others = set(first.figures) - {name}
    assert others and all(told[other].found is None for other in others)
    assert "missing" in str(told[others.pop()])


def test_the_file_is_written_as_it_is_read(tmp_path: Path) -> None:
    assert as_toml(of_models()) == MODELS_FILE.read_text(encoding="utf-8")


def test_a_record_without_the_metric_is_refused() -> None:
    with pytest.raises(UsageError, match="the record has no"):
        renewed(of_models()[0], {"metrics": []}, machine="any", today=date(2000, 1, 1))


def test_every_figure_lies_in_its_interval_and_has_a_tolerance() -> None:
    figures = all_figures()
    assert len(figures) > 60
    for name, figure in figures.items():
        if figure.low is not None and figure.high is not None:
            assert figure.low <= figure.value <= figure.high, name
        assert round(figure.value, DECIMALS) == figure.value, name


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "figures.toml"
    file.write_text('schema = "other/1"\nmeasurement = []\n', encoding="utf-8")
    with pytest.raises(UsageError, match="other/1"):
        read_measurements(file)
    file.write_text('schema = "edgehemo.reference/1"\nwrong = 1\n', encoding="utf-8")
    with pytest.raises(UsageError, match="wrong"):
        read_measurements(file)
