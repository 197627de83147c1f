"""`edgehemo config show`: what a training has in force; a key that is not known is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')

from edgehemo.errors import UsageError
from edgehemo_export.commands.config import config
from edgehemo_export.models.registry import BY_NAME


def test_config_show_tells_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("class_balance = 0.25\n[loop]\nsteps = 7\n")
    said = CliRunner().invoke(config, ["show", "nucleated", "--config", str(file), "--json", "-"])
    assert said.exit_code == 0, said.output
    values = {v["key"]: v for v in json.loads(said.stdout)["values"]}
    assert values["loop.steps"] == {"key": "loop.steps", "value": 7, "origin": "mine.toml"}
    assert values["class_balance"]["value"] == 0.25
    assert values["coverage"]["origin"] == "nucleated.toml"
    assert values["learn"] == {"key": "learn", "value": "auto", "origin": "default"}


@pytest.mark.parametrize("task", list(BY_NAME))
def test_what_config_show_prints_is_a_configuration(task: str, tmp_path: Path) -> None:
    said = CliRunner().invoke(config, ["show", task])
    assert said.exit_code == 0, said.output
    file = tmp_path / "printed.toml"
    file.write_text(said.stdout)
    module = BY_NAME[task].load()
    assert module.read_config(file) == module.read_config()
    assert BY_NAME[task].shipped_config.is_file()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[loop]\nstpes = 3\n", "loop.stpes: there is no such key; did you mean steps"),
        ("clas_balance = 1\n", "clas_balance: there is no such key; did you mean class_balance"),
        ("[augment]\nqqq = 1\n", "augment.qqq: there is no such key; there are aspect, "),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        BY_NAME["nucleated"].load().read_config(file)
