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
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Generic, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_text_atomically
from edgehemo_export.nets.logit_net import LogitNet
from edgehemo_export.training.arithmetic import flushed_denormals
from edgehemo_export.training.processes import Processes, agreed, joined_processes, training_device
from edgehemo_export.training.task import (
    BatchT,
    LearningTask,
    LoopConfig,
    Progress,
    Run,
    TaskConfiguration,
    TrainingState,
    check_initial,
)
from edgehemo_export.training.weights import blend, follow, start_from

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 240.0
CURVE_EVERY_STEPS = 50
# Batches drawn ahead of the network.
QUEUE_LENGTH = 6

NetT = TypeVar("NetT", bound=LogitNet)


class LogitsOf(nn.Module):
    """Makes `net.logits` the forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, net: LogitNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.logits(x)


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
            score = agreed(scores["score"], processes, self.place)
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


def schedule(step: int, config: LoopConfig) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to one per cent."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * share)) * 0.99 + 0.01
