"""Training the cell finder, its configuration, and weights blended and narrowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehemo.errors import UsageError

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')

import torch

from edgehemo_export.configuration import configuration_from
from edgehemo_export.data.canonical_set import CanonicalExample
from edgehemo_export.data.simulated.fields import simulated_example
from edgehemo_export.models.finder.narrowing import narrowed_head
from edgehemo_export.models.finder.training import FinderTask, FinderTrainingConfig, read_config
from edgehemo_export.nets.architectures import CellFinderNet
from edgehemo_export.training.loop import train as train_loop
from edgehemo_export.training.task import Run, check_initial
from edgehemo_export.training.weights import blend
from tests.support.tiny_finder import TINY, tiny_config


@pytest.fixture(scope="module")
def examples() -> list[CanonicalExample]:
    return [simulated_example(i, side_px=128, seed=3) for i in range(4)]


def test_the_finder_learns(examples: list[CanonicalExample], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    losses: list[float] = []
    config = tiny_config(steps=50)
    _, state = train_loop(
        FinderTask(examples, config),
        lambda: CellFinderNet(config.model),
        config,
        tmp_path / "learn",
        Run(progress=lambda _, parts: losses.append(parts["heat"])),
    )
    assert state.step == 50 and losses[-1] < 4.0


def test_configuration_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[loop]\nsteps = 7\n[crop]\nside_px = 64\n")
    config = read_config(own)
    assert config.loop.steps == 7 and config.crop.side_px == 64 and config.crop.zoom_low == 0.75
    own.write_text("[loop]\nstepz = 7\n[crop]\nzide_px = 64\n")
    with pytest.raises(UsageError, match=r"loop.stepz.*crop.zide_px"):
        read_config(own)
    own.write_text("steps = [")
    with pytest.raises(UsageError, match="not a readable TOML"):
        read_config(own)
    with pytest.raises(UsageError, match="loop: field required"):
        configuration_from(FinderTrainingConfig, {})


def test_weights_between_two_networks_are_between_them() -> None:
    before, after = CellFinderNet(TINY), CellFinderNet(TINY)
    old = {name: value.clone() for name, value in before.state_dict().items()}
    new = {name: value.clone() for name, value in after.state_dict().items()}
    blend(after, old, 0.25)
    for name, value in after.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, 0.25 * old[name] + 0.75 * new[name], atol=1e-6)
        else:
            assert torch.equal(value, new[name])
    blend(after, old, 1.0)
    for name, value in after.state_dict().items():
        assert torch.allclose(value.float(), old[name].float(), atol=1e-6)


def test_a_narrowed_head_keeps_the_channels_that_speak() -> None:
    """Channels that nothing reads go first: without them the network answers the same."""
    torch.manual_seed(4)
    wide = CellFinderNet(TINY.model_copy(update={"head": 16})).eval()
    spoken = [1, 2, 5, 7, 8, 11, 14, 15]
    silent = [c for c in range(16) if c not in spoken]
    with torch.no_grad():
        for reader in (wide.merge4[0], wide.head[0], wide.output):
            assert isinstance(reader, torch.nn.Conv2d)
            reader.weight[:, silent] = 0.0
    kept = narrowed_head(wide.state_dict(), len(spoken))
    narrow = CellFinderNet(TINY.model_copy(update={"head": len(spoken)})).eval()
    narrow.load_state_dict(kept)
    light = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        assert torch.allclose(narrow.logits(light), wide.logits(light), atol=1e-5)
    same = narrowed_head(wide.state_dict(), 16)
    assert all(torch.equal(value, wide.state_dict()[name]) for name, value in same.items())


def test_a_share_of_the_first_weights_needs_first_weights() -> None:
    config = read_config(changes={"initial_share": 0.5})
    check_initial(config, begun=True)
    with pytest.raises(UsageError, match="give --init"):
        check_initial(config, begun=False)


def test_weights_of_another_shape_are_not_blended() -> None:
    wide = CellFinderNet(TINY.model_copy(update={"head": 32}))
    with pytest.raises(UsageError, match="of the configured model's own shape"):
        blend(CellFinderNet(TINY), wide.state_dict(), 0.5)
