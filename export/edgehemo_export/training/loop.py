"""The one training loop: resumable, reproducible from its seed, on one process or several.

A task brings batches, a loss and, if it likes, a score on its tune part; the loop brings the
optimiser, the schedule, the running average of weights, early stopping, checkpoints and the
curve. Under torchrun every process draws its own batches and gradients are averaged.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.version import __version__
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.splits import SPLIT_NAME
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.training.arithmetic import flushed_denormals

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 240.0
CURVE_EVERY_STEPS = 50
# Rows of the curve that a checkpoint keeps.
CURVE_ROWS = 40
# Batches drawn ahead of the network.
QUEUE_LENGTH = 6

BatchT = TypeVar("BatchT")
NetT = TypeVar("NetT", bound=LogitNet)
Progress = Callable[[int, dict[str, float]], None]


class LoopConfig(Configuration):
    """What decides a run beside the task's own settings.

    average_decay: of the running average of weights that is validated and kept. validate_every:
    steps between scores on the tune part, 0 for none. patience: validations without a better
    score after which training stops early, 0 for never.
    """

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    clip_norm: float
    average_decay: float
    validate_every: int = 0
    patience: int = 0


class TaskConfiguration(Configuration):
    """What every task's configuration holds.

    initial_share: of the weights a run began with in those it ends with.
    """

    loop: LoopConfig
    initial_share: float = Field(default=0.0, ge=0.0, le=1.0)


class LearningTask(Protocol[BatchT]):
    """What the loop asks of a task."""

    def batch(self, size: int, rng: np.random.Generator, generator: torch.Generator) -> BatchT:
        """Draw one batch, on the CPU; all chance comes from the two generators."""
        ...

    def loss(
        self, net: nn.Module, batch: BatchT, place: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss and its named parts. ``net`` answers logits (see `LogitsOf`)."""
        ...

    def validate(self, net: LogitNet, place: torch.device) -> dict[str, float]:
        """Scores of the averaged weights on the tune part; ``score`` decides, higher is better.

        ``net`` is the plain network in evaluation mode. Empty where the task has no such score.
        """
        ...


@dataclass
class TrainingState:
    """What a resumed run goes on from; best_* belong to the best validation so far."""

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    stopped_early: bool = False


@dataclass(frozen=True)
class Run:
    """How a run goes; what is learned is the configuration's business.

    resume: from the state in the work folder. initial: a checkpoint to start from. teacher: one
    whose answers are learned from, where the task can. leave_out: a
    source kept out whole, of training and tuning. progress: called with step and figures.
    stop_after: ends at that step, its state stored, so that a long run can be spread over several.
    device: a name of PyTorch's; the GPU where there is one, else the CPU.
    """

    resume: bool = True
    initial: Checkpoint | None = None
    teacher: Checkpoint | None = None
    leave_out: str | None = None
    progress: Progress | None = None
    show_progress: bool = False
    stop_after: int | None = None
    device: str | None = None


class LogitsOf(nn.Module):
    """Makes `net.logits` the forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, net: LogitNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.logits(x)


@dataclass(frozen=True)
class Processes:
    """This process's place among those that torchrun started; one of one without it."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the group that torchrun describes in the environment; alone where there is none."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count <= 1:
        yield Processes()
        return
    import torch.distributed as dist

    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        if ours:
            dist.destroy_process_group()


def training_device(name: str | None = None) -> torch.device:
    """The named device, else this process's GPU, else the CPU."""
    if name is not None:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


class Training(Generic[BatchT, NetT]):
    """One run of a task; make it, then `run` it."""

    def __init__(
        self,
        task: LearningTask[BatchT],
        make: Callable[[], NetT],
        config: LoopConfig,
        work: Path,
        *,
        fingerprint: Mapping[str, object],
        initial: Mapping[str, Tensor] | None = None,
        strict_initial: bool = True,
        device: str | None = None,
    ) -> None:
        """fingerprint: the whole configuration; a run is resumed only under the same one.

        initial: weights a fresh run starts from; without ``strict_initial`` those whose name and
        shape fit are taken (a sibling task, an ImageNet backbone) and the rest starts fresh.
        """
        self.task, self.config, self.work = task, config, work
        self.place = training_device(device)
        self.fingerprint = json.dumps(fingerprint, sort_keys=True, default=str)
        torch.manual_seed(config.seed)
        self.net = make().to(self.place).to(memory_format=torch.channels_last)
        self.average = make().to(self.place).to(memory_format=torch.channels_last)
        if initial is not None:
            start_from(self.net, initial, strict=strict_initial)
        self.average.load_state_dict(self.net.state_dict())
        self.best: dict[str, Tensor] | None = None
        self.state = TrainingState()
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": [p for p in parameters if p.ndim > 1],
                    "weight_decay": config.weight_decay,
                },
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )

    def run(
        self,
        *,
        resume: bool = True,
        progress: Progress | None = None,
        stop_after: int | None = None,
    ) -> tuple[NetT, TrainingState]:
        """Train to the end of the configuration; the averaged (if validated, best) weights.

        Runs with channels_last, in bf16 where the processor has it (`mixed_precision`).
        ``stop_after`` ends at that step, its state stored, so that a long run can be spread over
        several.
        """
        with flushed_denormals(), joined_processes() as processes:
            return self._run(processes, resume, progress, stop_after)

    def _run(
        self,
        processes: Processes,
        resume: bool,
        progress: Progress | None,
        stop_after: int | None,
    ) -> tuple[NetT, TrainingState]:
        config, state = self.config, self.state
        if resume and (self.work / "state.safetensors").is_file():
            self._restore()
            state = self.state
            log.info("resuming at step %d", state.step)
        answering: nn.Module = LogitsOf(self.net)
        if processes.count > 1:
            answering = nn.parallel.DistributedDataParallel(
                answering,
                device_ids=[self.place.index] if self.place.type == "cuda" else None,
            )
        last_step = config.steps if stop_after is None else min(stop_after, config.steps)
        first_step = state.step
        done = Event()
        batches: Queue[BatchT | Exception] = Queue(maxsize=QUEUE_LENGTH)

        # Drawing runs beside the network; each step's own seeds keep it reproducible.
        def produce() -> None:
            try:
                for step in range(first_step, last_step):
                    if done.is_set():
                        return
                    seeds = [config.seed, step, processes.rank]
                    rng = np.random.default_rng(seeds)
                    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
                    batches.put(self.task.batch(config.batch_size, rng, generator))
            except Exception as error:
                batches.put(error)

        Thread(target=produce, daemon=True).start()
        started = time.monotonic() - state.seconds
        saved = time.monotonic()
        running: dict[str, float] = {}
        self.net.train()
        try:
            for step in range(first_step, last_step):
                if state.stopped_early:
                    break
                drawn = batches.get()
                if isinstance(drawn, Exception):
                    raise drawn
                rate = config.learning_rate * schedule(step, config)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate
                loss, parts = self.task.loss(answering, drawn, self.place)
                self.optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(self.net.parameters(), config.clip_norm)
                self.optimiser.step()
                decay = min(config.average_decay, (1 + step) / (10 + step))
                follow(self.average, self.net, decay)
                for key, value in parts.items():
                    running[key] = 0.98 * running.get(key, value) + 0.02 * value
                state.step = step + 1
                state.seconds = time.monotonic() - started
                whole = state.step == last_step
                if config.validate_every and (
                    state.step % config.validate_every == 0 or state.step == config.steps
                ):
                    running |= self._validated(processes)
                if state.step % CURVE_EVERY_STEPS == 0 or whole:
                    state.curve.append({"step": state.step, "seconds": state.seconds, **running})
                    if progress is not None and processes.first:
                        progress(state.step, running)
                late = time.monotonic() - saved > CHECKPOINT_EVERY_S
                if processes.first and (late or whole or state.stopped_early):
                    self._store()
                    saved = time.monotonic()
        finally:
            done.set()
            while not batches.empty():
                batches.get_nowait()
        self.average.eval()
        if self.best is not None:
            self.average.load_state_dict(self.best)
        return self.average, state

    def _validated(self, processes: Processes) -> dict[str, float]:
        """Score the averaged weights; the best are kept, and too long without a better one ends."""
        state, config = self.state, self.config
        self.average.eval()
        with torch.inference_mode():
            scores = self.task.validate(self.average, self.place)
        if "score" in scores:
            # Every process must take the same decision: the first one's score counts.
            score = _agreed(scores["score"], processes, self.place)
            if state.best_score is None or score > state.best_score:
                state.best_score, state.best_step, state.stale = score, state.step, 0
                self.best = {k: v.detach().clone() for k, v in self.average.state_dict().items()}
            else:
                state.stale += 1
            state.stopped_early = bool(config.patience) and state.stale >= config.patience
        return {f"tune_{name}": value for name, value in scores.items()}

    def _store(self) -> None:
        """The whole state in safetensors and JSON: a resumed run needs no pickle either."""
        tensors = {f"net.{k}": v.contiguous() for k, v in self.net.state_dict().items()}
        tensors |= {f"average.{k}": v.contiguous() for k, v in self.average.state_dict().items()}
        if self.best is not None:
            tensors |= {f"best.{k}": v.contiguous() for k, v in self.best.items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimiser.{index}.{key}"] = value.contiguous()
        self.work.mkdir(parents=True, exist_ok=True)
        part = self.work / "state.part"
        metadata = {
            "config": self.fingerprint,
            "state": json.dumps(dataclasses.asdict(self.state)),
        }
        save_file(tensors, part, metadata=metadata)
        part.replace(self.work / "state.safetensors")
        write_text_atomically(self.work / "curve.json", json.dumps(self.state.curve))

    def _restore(self) -> None:
        store = self.work / "state.safetensors"
        with safe_open(store, framework="pt") as opened:
            metadata = opened.metadata()
        if metadata["config"] != self.fingerprint:
            raise UsageError(
                f"{self.work} holds a run of another configuration; "
                "give another --work or --no-resume"
            )
        tensors = load_file(store)

        def of(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.net.load_state_dict(of("net."))
        self.average.load_state_dict(of("average."))
        self.best = of("best.") or None
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in of("optimiser.").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        whole = self.optimiser.state_dict()
        whole["state"] = moments
        self.optimiser.load_state_dict(whole)
        self.state = TrainingState(**json.loads(metadata["state"]))


def train(
    task: LearningTask[BatchT],
    make: Callable[[], NetT],
    config: TaskConfiguration,
    work: Path,
    run: Run | None = None,
    *,
    weights: Mapping[str, Tensor] | None = None,
    strict: bool = False,
) -> tuple[NetT, TrainingState]:
    """Train to the end of the configuration; ``work`` keeps the state a run resumes from.

    weights: to start from, those of ``run.initial`` by default; ``strict`` as in `Training`. The
    configured share of them is blended into what was trained.
    """
    run = run or Run()
    if weights is None and run.initial is not None:
        weights = run.initial.weights
    check_initial(config, begun=weights is not None)
    training = Training(
        task,
        make,
        config.loop,
        work,
        fingerprint=config.model_dump(),
        initial=weights,
        strict_initial=strict,
        device=run.device,
    )
    net, state = training.run(resume=run.resume, progress=run.progress, stop_after=run.stop_after)
    if weights is not None and config.initial_share > 0:
        blend(net, weights, config.initial_share)
    return net, state


def check_initial(config: TaskConfiguration, *, begun: bool) -> None:
    """Raise UsageError where a share of the first weights is wanted and there are none."""
    if config.initial_share > 0 and not begun:
        raise UsageError("initial_share is of the weights a run begins with: give --init EARLIER")


def run_record(config: TaskConfiguration, state: TrainingState, run: Run) -> dict[str, Any]:
    """What every checkpoint tells of its run: settings, origin, split, course, software."""
    return {
        "configuration": config.model_dump(),
        "initialised_from": None if run.initial is None else origin(run.initial),
        "taught_by": None if run.teacher is None else taught_by(run.teacher),
        "left_out": run.leave_out,
        "split": SPLIT_NAME,
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "curve": state.curve[:: max(1, len(state.curve) // CURVE_ROWS)],
        "run": {
            "software_version": __version__,
            "torch": torch.__version__,
            "machine": platform.machine(),
        },
    }


def origin(initial: Checkpoint) -> dict[str, Any]:
    """What a run's first weights, or its teacher's, were trained for and on."""
    known = ("images", "left_out", "steps", "run", "initialised_from")
    return {"task": initial.task, **{key: initial.record.get(key) for key in known}}


def taught_by(teacher: Checkpoint) -> dict[str, Any]:
    """A teacher's origin, and how it was trained: its network is not the pupil's."""
    return {**origin(teacher), "configuration": teacher.record.get("configuration")}


def schedule(step: int, config: LoopConfig) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to one per cent."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * share)) * 0.99 + 0.01


def follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the running average towards the network's weights; counters are copied."""
    with torch.no_grad():
        ours, theirs = average.state_dict(), net.state_dict()
        for name, value in ours.items():
            if value.dtype.is_floating_point:
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])


def blend(net: nn.Module, initial: Mapping[str, Tensor], share: float) -> None:
    """Move a network's weights this share of the way back to those it began with, in place.

    Between the two lie networks that keep most of what each of them reads better (Wortsman et al.
    2022, "Robust fine-tuning of zero-shot models"). Raises UsageError where the two differ in
    shape.
    """
    weights = net.state_dict()
    floats = {name: value for name, value in weights.items() if value.is_floating_point()}
    if any(name not in initial or initial[name].shape != v.shape for name, v in floats.items()):
        raise UsageError("initial_share wants first weights of the configured model's own shape")
    with torch.no_grad():
        for name, value in floats.items():
            value.lerp_(initial[name].to(value), share)


def start_from(net: nn.Module, weights: Mapping[str, Tensor], *, strict: bool) -> list[str]:
    """Load weights to start from; returns the names that started fresh instead."""
    own = net.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    fresh = sorted(set(own) - set(fitting))
    if strict and (fresh or len(fitting) != len(weights)):
        raise UsageError("the weights to start from are of another shape than the configured model")
    if not fitting:
        raise UsageError("the weights to start from share no layer with the configured model")
    net.load_state_dict({**own, **fitting})
    return fresh


def _agreed(score: float, processes: Processes, place: torch.device) -> float:
    if processes.count <= 1:
        return score
    import torch.distributed as dist

    shared = torch.tensor([score], dtype=torch.float64, device=place)
    dist.broadcast(shared, 0)
    return float(shared.item())
