"""Which arithmetic a training runs in: bf16 where the processor has it, and no denormal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

# Names the Linux kernel gives the instructions: AVX-512's and AMX's on x86-64, ARM's.
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_CPU_INFO = Path("/proc/cpuinfo")


def mixed_precision(place: torch.device) -> torch.autocast:
    """bf16 autocast on a GPU and on a CPU with bf16 instructions; elsewhere plain float32.

    A CPU without them emulates bf16 several times slower than it computes in float32 (an EPYC of
    family 23: 24 s against 4 s a training step of 128 crops).
    """
    able = place.type != "cpu" or cpu_has_bf16()
    return torch.autocast(place.type, torch.bfloat16, enabled=able)


@cache
def cpu_has_bf16() -> bool:
    """Whether this machine's processor multiplies bf16; False where the system does not tell."""
    try:
        return names_bf16(_CPU_INFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False


def names_bf16(cpu_info: str) -> bool:
    """Whether the flags in a /proc/cpuinfo hold bf16 instructions."""
    lines = (line.partition(":") for line in cpu_info.splitlines())
    flags = (value for key, _, value in lines if key.strip() in ("flags", "Features"))
    return any(_BF16_FLAGS & set(value.split()) for value in flags)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormal numbers count as zero inside: under weight decay they slow a CPU a hundredfold.

    The setting belongs to the thread, and to the threads started from it while it holds.
    """
    before = _flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes() -> bool:
    smallest = torch.finfo(torch.float64).smallest_normal
    return bool((torch.tensor([smallest], dtype=torch.float64) / 2).item() == 0)
