"""The training loop: reproducible, resumable, stopped in time, the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgehemo.errors import UsageError

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from edgehemo_export.configuration import configuration_from
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.training.loop import Training, schedule
from edgehemo_export.training.task import LoopConfig, TrainingState
from edgehemo_export.training.weights import start_from

LOOP = LoopConfig(
    seed=5,
    steps=12,
    batch_size=8,
    learning_rate=0.05,
    weight_decay=0.01,
    warmup_steps=2,
    clip_norm=5.0,
    average_decay=0.9,
)


class Small(LogitNet):
    """A network with batch norm, whose running statistics must be resumed as well."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 1)

    def logits(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x).mean(dim=(2, 3)))
        return out


class Brightness:
    """Tell the mean of a picture; ``scores`` are what each validation is made to say."""

    def __init__(self, scores: list[float] | None = None) -> None:
        self.scores = list(scores or [])
        self.seen: list[np.ndarray] = []

    def batch(
        self, size: int, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        level = rng.random((size, 1, 1, 1))
        self.seen.append(level)
        noise = torch.rand((size, 1, 6, 6), generator=generator) * 0.1
        return torch.from_numpy(level).float() + noise, torch.from_numpy(level[:, :, 0, 0]).float()

    def loss(
        self, net: nn.Module, batch: tuple[Tensor, Tensor], place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        pictures, wanted = batch
        loss = ((net(pictures) - wanted) ** 2).mean()
        return loss, {"loss": float(loss.detach())}

    def validate(self, net: nn.Module, place: torch.device) -> dict[str, float]:
        return {"score": self.scores.pop(0)} if self.scores else {}


def trained(
    work: Path,
    config: LoopConfig = LOOP,
    task: Brightness | None = None,
    *,
    stop_after: int | None = None,
    resume: bool = True,
) -> tuple[dict[str, Tensor], TrainingState]:
    training = Training(
        task or Brightness(), Small, config, work, fingerprint=config.model_dump(), device="cpu"
    )
    net, state = training.run(resume=resume, stop_after=stop_after)
    return net.state_dict(), state


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_run_follows_from_its_seed(tmp_path: Path) -> None:
    first, _ = trained(tmp_path / "a")
    again, _ = trained(tmp_path / "b")
    other, _ = trained(tmp_path / "c", LOOP.model_copy(update={"seed": 6}))
    assert same(first, again) and not same(first, other)


def test_it_learns(tmp_path: Path) -> None:
    config = LOOP.model_copy(update={"steps": 200})
    _, state = trained(tmp_path, config)
    # Always saying the mean would leave the variance of a level drawn from 0 to 1.
    assert state.curve[-1]["loss"] < 0.4 / 12


@pytest.mark.parametrize("stops", [(5,), (1, 11), (12,)])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, stops: tuple[int, ...]) -> None:
    straight, whole = trained(tmp_path / "straight")
    for stop in stops:
        _, state = trained(tmp_path / "parts", stop_after=stop)
        assert state.step == stop
    resumed, state = trained(tmp_path / "parts")
    assert state.step == whole.step == 12
    assert same(straight, resumed)


def test_a_resumed_run_draws_only_what_is_left(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=9)
    task = Brightness()
    trained(tmp_path, task=task)
    assert len(task.seen) == 3


def test_a_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, stop_after=3)
    other = LOOP.model_copy(update={"learning_rate": 0.01})
    with pytest.raises(UsageError, match="another configuration"):
        trained(tmp_path, other)
    _, state = trained(tmp_path, other, resume=False)
    assert state.step == 12


def test_the_best_validation_is_kept_and_too_many_worse_ones_end_the_run(tmp_path: Path) -> None:
    config = LOOP.model_copy(update={"steps": 40, "validate_every": 4, "patience": 2})
    task = Brightness([0.1, 0.7, 0.5, 0.6, 0.9])
    best, state = trained(tmp_path / "early", config, task)
    assert state.stopped_early and state.step == 16
    assert (state.best_step, state.best_score) == (8, 0.7)
    at_best, _ = trained(tmp_path / "whole", config, Brightness([0.1, 0.7]), stop_after=8)
    assert same(best, at_best)
    # Called again, it stays ended.
    again, state = trained(tmp_path / "early", config, Brightness([1.0]))
    assert state.step == 16 and same(best, again)


def test_an_error_in_a_batch_ends_the_run_with_it(tmp_path: Path) -> None:
    class Broken(Brightness):
        def batch(
            self, size: int, rng: np.random.Generator, generator: torch.Generator
        ) -> tuple[Tensor, Tensor]:
            raise ValueError("no such picture")

    with pytest.raises(ValueError, match="no such picture"):
        trained(tmp_path, task=Broken())


def test_the_rate_warms_up_and_falls() -> None:
    rates = [schedule(step, LOOP) for step in range(LOOP.steps)]
    assert rates[0] == pytest.approx(0.5) and max(rates) == 1.0
    assert rates[2:] == sorted(rates[2:], reverse=True) and 0 < rates[-1] < 0.1


def test_weights_to_start_from_must_fit() -> None:
    weights = Small().state_dict()
    net = Small()
    assert start_from(net, weights, strict=True) == []
    assert same(net.state_dict(), weights)
    odd = {**weights, "head.weight": torch.zeros(2, 4)}
    with pytest.raises(UsageError, match="another shape"):
        start_from(Small(), odd, strict=True)
    assert start_from(Small(), odd, strict=False) == ["head.weight"]
    with pytest.raises(UsageError, match="no layer"):
        start_from(Small(), {"elsewhere": torch.zeros(1)}, strict=False)


def test_unknown_keys_are_refused_with_their_names() -> None:
    values = {**LOOP.model_dump(), "stepz": 4}
    del values["seed"]
    with pytest.raises(UsageError, match=r"seed: field required.*stepz: .*mean steps"):
        configuration_from(LoopConfig, values)


TWO_PROCESSES = """
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from edgehemo_export.nets.architectures import CellFinderNet
from edgehemo_export.models.finder.training import FinderTask, read_config
from edgehemo_export.data.simulated.fields import simulated_examples
from edgehemo_export.training.loop import Run, train

out = Path(sys.argv[1])
torch.set_num_threads(1)
dist.init_process_group("gloo")
examples = simulated_examples(2, side_px=96, seed=3, cache=out / f"cache-{dist.get_rank()}")
changes = {
    "loop": {"steps": 3, "batch_size": 2, "warmup_steps": 1},
    "source_shares": {"simulated": 1.0},
    "crop": {"side_px": 64},
    "model": {"stride4": 16, "stride8": 16, "stride16": 16, "head": 16, "blocks": 1},
}
config = read_config(changes=changes)
net, state = train(
    FinderTask(examples, config),
    lambda: CellFinderNet(config.model),
    config,
    out / "work",
    Run(resume=False, device="cpu"),
)
assert state.step == 3
parameters = {name: value.detach().contiguous() for name, value in net.named_parameters()}
save_file(parameters, out / f"rank{dist.get_rank()}.safetensors")
dist.destroy_process_group()
"""


def test_two_processes_under_torchrun_come_to_the_same_weights(tmp_path: Path) -> None:
    """The finder on simulated fields: each process draws its own crops, the gradients are one."""
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    assert same(ours, theirs)
    assert (tmp_path / "work" / "state.safetensors").is_file()
