"""Training of the cell finder, resumable and reproducible from its seed."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from edgehemo.cells.maps import KINDS_IN_MAPS, STRIDE
from edgehemo.errors import UsageError
from edgehemo.field import CELL_DIAMETER_PX
from edgehemo.files import write_text_atomically
from edgehemo_export.architectures import CellFinderConfig, CellFinderNet
from edgehemo_export.canonical_set import CanonicalExample
from edgehemo_export.finder_samples import Batch, SampleOptions, draw_batch, vary_colour

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path(__file__).with_name("configs") / "cell_finder.toml"
CHECKPOINT_EVERY_S = 240.0


@dataclass(frozen=True)
class SimulatedOptions:
    """How many fields of the simulated microscope join the training, and their size."""

    fields: int = 0
    side_px: int = 320


@dataclass(frozen=True)
class FinderTrainingConfig:
    """Everything that decides a run; read from TOML, stored in the checkpoint."""

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    clip_norm: float
    average_decay: float
    box_loss_weight: float
    source_shares: dict[str, float]
    crop: SampleOptions = field(default_factory=SampleOptions)
    model: CellFinderConfig = field(default_factory=CellFinderConfig)
    simulated: SimulatedOptions = field(default_factory=SimulatedOptions)


def read_config(path: Path | None = None) -> FinderTrainingConfig:
    """The shipped configuration, single keys overridden by a TOML file; unknown keys refused."""
    values = tomllib.loads(DEFAULT_CONFIG.read_text(encoding="utf-8"))
    if path is not None:
        try:
            own = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{path}: not a readable TOML configuration ({error})") from error
        for key, value in own.items():
            if isinstance(value, dict) and key != "source_shares":
                values[key] = {**values.get(key, {}), **value}
            else:
                values[key] = value
    return config_from_mapping(values)


def config_from_mapping(values: Mapping[str, Any]) -> FinderTrainingConfig:
    """A configuration from plain values; UsageError names every unknown or missing key."""
    parts = {"crop": SampleOptions, "model": CellFinderConfig, "simulated": SimulatedOptions}
    problems: list[str] = []
    known = {f.name for f in dataclasses.fields(FinderTrainingConfig)}
    problems += [f"unknown key {key}" for key in values if key not in known]
    problems += [f"missing key {key}" for key in sorted(known - set(values) - set(parts))]
    made: dict[str, Any] = dict(values)
    for name, kind in parts.items():
        inner = values.get(name, {})
        allowed = {f.name for f in dataclasses.fields(kind)}
        problems += [f"unknown key {name}.{key}" for key in inner if key not in allowed]
        if not problems:
            made[name] = kind(**inner)
    if problems:
        raise UsageError("training configuration: " + "; ".join(problems))
    return FinderTrainingConfig(**made)


def example_chances(
    examples: Sequence[CanonicalExample], shares: Mapping[str, float]
) -> NDArray[np.float64]:
    """Probability of drawing each example, so that sources come in the stated shares."""
    sources = np.array([example.source for example in examples])
    chances = np.zeros(len(examples))
    for source in np.unique(sources):
        here = sources == source
        chances[here] = shares.get(str(source), 0.0) / here.sum()
    if chances.sum() <= 0:
        raise UsageError("source_shares gives no share to any source that the data root holds")
    return np.asarray(chances / chances.sum())


def finder_loss(raw: Tensor, batch: Batch, box_weight: float) -> tuple[Tensor, dict[str, float]]:
    """Focal loss of the score maps (Zhou et al. 2019) and GIoU with L1 of the boxes.

    raw: float32 (n, 7, r, c) before the sigmoid. Places whose truth is unknown add nothing.
    """
    kinds = len(KINDS_IN_MAPS)
    logits, boxes = raw[:, :kinds], raw[:, kinds:]
    heat, known = batch.heat, batch.known
    score = torch.sigmoid(logits)
    positive = (heat >= 0.9999).float()
    log_yes = torch.nn.functional.logsigmoid(logits)
    log_no = torch.nn.functional.logsigmoid(-logits)
    gain = positive * (1 - score) ** 2 * log_yes
    cost = (1 - positive) * (1 - heat) ** 4 * score**2 * log_no
    found = positive.sum().clamp_min(1.0)
    heat_loss = -((gain + cost) * known).sum() / found

    weight = batch.weight
    total = weight.sum().clamp_min(1.0)
    l1 = ((boxes - batch.box).abs() * weight).sum() / total
    overlap = _giou(boxes, batch.box)[:, None]
    giou = ((1 - overlap) * weight).sum() / total
    loss = heat_loss + box_weight * (0.5 * l1 + giou)
    return loss, {"heat": heat_loss.item(), "l1": l1.item(), "giou": giou.item()}


def _giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of coded boxes (n, 4, r, c) -> (n, r, c)."""
    half = 0.5 * CELL_DIAMETER_PX / STRIDE

    def corners(coded: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        w, h = half * coded[:, 2].clamp(-4, 3).exp(), half * coded[:, 3].clamp(-4, 3).exp()
        return coded[:, 0] - w, coded[:, 1] - h, coded[:, 0] + w, coded[:, 1] + h

    ax0, ay0, ax1, ay1 = corners(a)
    bx0, by0, bx1, by1 = corners(b)
    wide = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp_min(0)
    tall = (torch.minimum(ay1, by1) - torch.maximum(ay0, by0)).clamp_min(0)
    shared = wide * tall
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    hull = (torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)) * (
        torch.maximum(ay1, by1) - torch.minimum(ay0, by0)
    )
    return shared / union.clamp_min(1e-6) - (hull - union) / hull.clamp_min(1e-6)


@dataclass
class TrainingState:
    """What a resumed run goes on from."""

    step: int
    seconds: float
    curve: list[dict[str, float]]


def train_finder(
    examples: Sequence[CanonicalExample],
    config: FinderTrainingConfig,
    work: Path,
    *,
    resume: bool = True,
    initial: Mapping[str, Tensor] | None = None,
    progress: Callable[[int, dict[str, float]], None] | None = None,
    device: str | None = None,
    stop_after: int | None = None,
) -> tuple[CellFinderNet, TrainingState]:
    """Train to the end of the configuration; ``work`` keeps the state a run resumes from.

    Runs in bf16 with channels_last, on a GPU where one is present. ``initial`` are weights to start
    from in a fresh run; ``stop_after`` ends early at that step, its state stored, so that a long
    run can be spread over several. Returns the averaged weights.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.manual_seed(config.seed)
    net = CellFinderNet(config.model).to(place).to(memory_format=torch.channels_last)
    average = CellFinderNet(config.model).to(place).to(memory_format=torch.channels_last)
    if initial is not None:
        try:
            net.load_state_dict(dict(initial))
        except RuntimeError as error:
            raise UsageError(
                "the weights to start from are of another shape than the configured model"
            ) from error
    average.load_state_dict(net.state_dict())
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )
    state = TrainingState(0, 0.0, [])
    store = work / "state.safetensors"
    fingerprint = json.dumps(dataclasses.asdict(config), sort_keys=True)
    if resume and store.is_file():
        state = _restore(work, fingerprint, net, average, optimiser)
        log.info("resuming at step %d", state.step)
    chances = example_chances(examples, config.source_shares)

    # Drawing and colouring run beside the network; each step's own seeds keep it reproducible.
    batches: Queue[tuple[Batch, Tensor]] = Queue(maxsize=6)
    first_step = state.step
    last_step = config.steps if stop_after is None else min(stop_after, config.steps)

    def produce() -> None:
        for step in range(first_step, last_step):
            rng = np.random.default_rng([config.seed, step])
            batch = draw_batch(examples, chances, config.batch_size, config.crop, rng)
            generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
            batches.put((batch, vary_colour(batch.codes, generator)))

    Thread(target=produce, daemon=True).start()
    started = time.monotonic() - state.seconds
    saved = time.monotonic()
    net.train()
    running: dict[str, float] = {}
    for step in range(first_step, last_step):
        drawn, varied = batches.get()
        batch = _moved(drawn, place)
        light = varied.to(place, memory_format=torch.channels_last)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        with torch.autocast(place.type, torch.bfloat16):
            raw = net.logits(light)
        loss, parts = finder_loss(raw.float(), batch, config.box_loss_weight)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
        optimiser.step()
        _follow(average, net, min(config.average_decay, (1 + step) / (10 + step)))
        for key, value in parts.items():
            running[key] = 0.98 * running.get(key, value) + 0.02 * value
        state.step = step + 1
        state.seconds = time.monotonic() - started
        if step % 50 == 49 or state.step == last_step:
            state.curve.append({"step": state.step, "seconds": state.seconds, **running})
            if progress is not None:
                progress(state.step, running)
        if time.monotonic() - saved > CHECKPOINT_EVERY_S or state.step == last_step:
            _store(work, fingerprint, net, average, optimiser, state)
            saved = time.monotonic()
    average.eval()
    return average, state


def _schedule(step: int, config: FinderTrainingConfig) -> float:
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * share)) * 0.99 + 0.01


def _follow(average: torch.nn.Module, net: torch.nn.Module, decay: float) -> None:
    with torch.no_grad():
        ours, theirs = average.state_dict(), net.state_dict()
        for name, value in ours.items():
            if value.dtype.is_floating_point:
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])


def _moved(batch: Batch, place: torch.device) -> Batch:
    return Batch(*(getattr(batch, f.name).to(place) for f in dataclasses.fields(batch)))


def _store(
    work: Path,
    fingerprint: str,
    net: torch.nn.Module,
    average: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    state: TrainingState,
) -> None:
    """The whole state in safetensors and JSON: a resumed run needs no pickle either."""
    tensors = {f"net.{k}": v.contiguous() for k, v in net.state_dict().items()}
    tensors |= {f"average.{k}": v.contiguous() for k, v in average.state_dict().items()}
    inner = optimiser.state_dict()["state"]
    for index, moments in inner.items():
        for key, value in moments.items():
            tensors[f"optimiser.{index}.{key}"] = value.contiguous()
    work.mkdir(parents=True, exist_ok=True)
    part = work / "state.part"
    save_file(
        tensors,
        part,
        metadata={"config": fingerprint, "state": json.dumps(dataclasses.asdict(state))},
    )
    part.replace(work / "state.safetensors")
    write_text_atomically(work / "curve.json", json.dumps(state.curve))


def _restore(
    work: Path,
    fingerprint: str,
    net: torch.nn.Module,
    average: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
) -> TrainingState:
    from safetensors import safe_open

    store = work / "state.safetensors"
    with safe_open(store, framework="pt") as opened:
        metadata = opened.metadata()
    if metadata["config"] != fingerprint:
        raise UsageError(
            f"{work} holds a run of another configuration; give another --work or --no-resume"
        )
    tensors = load_file(store)

    def of(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    net.load_state_dict(of("net."))
    average.load_state_dict(of("average."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in of("optimiser.").items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = value
    whole = optimiser.state_dict()
    whole["state"] = moments
    optimiser.load_state_dict(whole)
    stored = json.loads(metadata["state"])
    return TrainingState(**stored)
