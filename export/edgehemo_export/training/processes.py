"""This process among those that torchrun started, and the device it computes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


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


def agreed(score: float, processes: Processes, place: torch.device) -> float:
    """The first process's score, in every process."""
    if processes.count <= 1:
        return score

    shared = torch.tensor([score], dtype=torch.float64, device=place)
    dist.broadcast(shared, 0)
    return float(shared.item())
