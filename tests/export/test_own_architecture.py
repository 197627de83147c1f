"""A network of one's own, of an installed package: from cells through int8 gates to `classify`."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytestmark = pytest.mark.host
torch = pytest.importorskip("torch", reason='needs pip install ".[host]"')

from edgehemo.commands.classify import classify
from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import load_checkpoint
from edgehemo_export.commands.export import export
from edgehemo_export.commands.train import train
from edgehemo_export.nets import architecture_table
from edgehemo_export.nets.architecture_table import (
    ARCHITECTURES,
    BY_NAME,
    ENTRY_POINT_GROUP,
    CellNetwork,
    FeatureNetwork,
    StagedNetwork,
    architecture,
    architectures,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture"
CLASSES = {"red_disc": (170, 60, 70), "blue_disc": (80, 60, 160), "not_a_cell": None}
CELLS, SAMPLES, SIDE = 64, 8, 64
# Drawn discs hardly differ: what tells strange cells from them would stand on nothing.
QUICK = """
familiarity = false
coverage = 0.9
mixup_share = 0.0
[loop]
steps = 80
batch_size = 24
learning_rate = 5e-3
warmup_steps = 4
average_decay = 0.8
validate_every = 0
[crop]
side_px = 32
margin_px = 8
um_per_px = 0.5
[augment]
warp_share = 0.2
exchange_share = 0.0
blur_share = 0.0
mixing = 0.0
hue = 0.02
strength = 0.1
noise = 0.01
tone = 0.0
grey_share = 0.0
coarse_share = 0.0
sharpen_share = 0.0
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example package as pip leaves it: its module, and what its pyproject.toml says of it."""
    target = tmp_path / "site"
    told = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))
    (module,) = told["tool"]["setuptools"]["py-modules"]
    about = target / f"{module}-{told['project']['version']}.dist-info"
    about.mkdir(parents=True)
    (target / f"{module}.py").write_bytes((EXAMPLE / f"{module}.py").read_bytes())
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {told['project']['name']}\n"
        f"Version: {told['project']['version']}\n"
    )
    points = told["project"]["entry-points"][ENTRY_POINT_GROUP]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINT_GROUP}]", *lines]))
    monkeypatch.syspath_prepend(str(target))
    architectures.cache_clear()
    yield target
    architectures.cache_clear()
    sys.modules.pop(module, None)


def own_set(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    for name, colour in CLASSES.items():
        (folder / "cells" / name).mkdir(parents=True)
        for number in range(CELLS):
            codes = np.full((SIDE, SIDE, 3), 200.0)
            if colour is not None:
                y, x = np.mgrid[:SIDE, :SIDE]
                codes[np.hypot(y - 31.5, x - 31.5) < rng.uniform(6, 9)] = colour
            codes = np.clip(codes + rng.normal(0, 3, codes.shape), 0, 255).astype(np.uint8)
            file = folder / "cells" / name / f"S{number % SAMPLES}_{number}.png"
            assert cv2.imwrite(str(file), codes[..., ::-1])
    (folder / "dataset.toml").write_text(
        'name = "own_lab"\npixels = "canonical"\num_per_px = 0.5\n'
        f"own_classes = {json.dumps(list(CLASSES))}\n"
    )
    return folder


def test_a_network_of_ones_own_trains_passes_its_gates_and_classifies(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cells = own_set(tmp_path / "cells")
    config = tmp_path / "quick.toml"
    config.write_text(QUICK + (EXAMPLE / "small_shuffle.toml").read_text().partition("\n\n")[2])
    config.write_text(f'init = "scratch"\n{config.read_text()}')
    out, bundle = tmp_path / "ours.safetensors", tmp_path / "bundle"
    for command, line in (
        (train, f"nucleated --data {cells} --config {config} --out {out}"),
        (export, f"{out} --int8 --format onnx --calibration {cells} --out {bundle} --json -"),
    ):
        said = CliRunner().invoke(command, line, catch_exceptions=False)
        assert said.exit_code == 0, said.output
    (row,) = json.loads(said.stdout)["artefacts"]
    assert row["gate"] == "pass" and row["precision"] == "int8"
    assert load_checkpoint(out).record["configuration"]["model"]["architecture"] == "small_shuffle"
    for name in ("red_disc", "blue_disc"):
        picture = next((cells / "cells" / name).iterdir())
        line = f"{picture} --model nucleated --bundle {bundle} --um-per-px 0.5 --json -"
        said = CliRunner().invoke(classify, line, catch_exceptions=False)
        assert said.exit_code == 0, said.output
        (entry,) = json.loads(said.stdout)["images"]
        assert entry["type"] == name
        assert set(entry["probabilities"]) == {"red_disc", "blue_disc"}


@pytest.mark.parametrize("item", [a for a in ARCHITECTURES if a.sgd], ids=lambda item: item.name)
def test_ours_are_what_the_protocol_says(item: architecture_table.Architecture) -> None:
    net = item.builder(3)
    assert isinstance(net, CellNetwork)
    staged = isinstance(net, StagedNetwork)
    assert staged == hasattr(net, "stages")
    if isinstance(net, FeatureNetwork):
        side = item.side_px or 64
        net.eval()
        with torch.inference_mode():
            crops = torch.zeros(1, 3, side, side)
            assert torch.allclose(net.head(net.embed(crops)), net.forward(crops))


class _Point:
    """An entry point of a package that is not there."""

    name, value, dist = "broken", "nowhere:THING", None

    def __init__(self, made: object) -> None:
        self._made = made

    def load(self) -> object:
        if isinstance(self._made, Exception):
            raise self._made
        return self._made


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (ImportError("no torch"), "broken cannot be loaded .*no torch"),
        (3, "is no Architecture"),
        (BY_NAME["compact"], "is called compact already"),
    ],
)
def test_a_package_that_is_broken_is_named(
    made: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def points(*, group: str) -> list[_Point]:
        assert group == ENTRY_POINT_GROUP
        return [_Point(made)]

    monkeypatch.setattr(architecture_table, "entry_points", points)
    architectures.cache_clear()
    try:
        with pytest.raises(UsageError, match=said):
            architecture("compact")
    finally:
        architectures.cache_clear()


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"unknown architecture 'compcat'; there are compact, "):
        architecture("compcat")
